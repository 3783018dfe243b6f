"""LoRA on CPUs, row by row what it is meant to be. Imports vLLM: import it where it is needed.

vLLM 0.32 marks a row without an adapter by slot -1, and its kernels for CPUs take that for an
index: the last slot's, so that whichever adapter lies there answers (`bgmv_shrink` and others in
`lora/ops/torch_ops/lora_ops.py`). They also copy an adapter's weights once for every row.
"""

from typing import Any

import torch
from vllm.lora.punica_wrapper.punica_cpu import PunicaWrapperCPU

_Rows = list[tuple[int, torch.Tensor]]


class PlainRowsKept(PunicaWrapperCPU):
    """Multiplies each adapter with the rows that have it, and touches no other row.

    Where no row of a batch has one, nothing is computed.
    """

    _tokens: _Rows = []  # noqa: RUF012  (replaced, never changed)
    _sampled: _Rows = []  # noqa: RUF012

    def update_metadata(self, mapping: Any, *args: Any, **kwargs: Any) -> None:
        """Notes which rows of the next batch have which adapter."""
        super().update_metadata(mapping, *args, **kwargs)
        self._tokens = _by_slot(self.token_lora_indices)
        self._sampled = _by_slot(self.sampler_indices)

    def add_lora_linear(self, y: torch.Tensor, x: torch.Tensor, *args: Any, **kwargs: Any) -> None:
        """Adds B A x; vLLM's own would make buffers first, whatever there is to do."""
        if self._tokens:
            super().add_lora_linear(y, x, *args, **kwargs)

    def _apply_shrink(
        self, y: torch.Tensor, x: torch.Tensor, w_t_all: torch.Tensor, scale: float
    ) -> None:
        y = y.view(-1, y.shape[-1])
        for slot, rows in self._tokens:
            product = _product(x[rows], w_t_all[slot], y.dtype)
            y[rows, : product.shape[1]] = scale * product

    def _apply_expand(
        self,
        y: torch.Tensor,
        x: torch.Tensor,
        w_t_all: torch.Tensor,
        y_offset: int,
        y_slice_size: int,
        add_inputs: bool = True,
    ) -> None:
        place = y[:, y_offset : y_offset + y_slice_size]
        for slot, rows in self._tokens:
            _put(place, rows, _product(x[rows], w_t_all[slot], y.dtype), add_inputs)

    def add_lora_embedding(
        self,
        y: torch.Tensor,
        x: torch.Tensor,
        lora_b_stacked: torch.Tensor,
        add_inputs: bool = True,
        **kwargs: Any,
    ) -> None:
        """Adds B x, x being rows of A."""
        # Beside prompts that are embeddings vLLM looks up some of a batch's tokens, and does not
        # say which: no adapter of the embeddings then. Those that the guard serves have none.
        if len(y) != len(self.token_lora_indices):
            return
        for slot, rows in self._tokens:
            _put(y, rows, _product(x[rows], lora_b_stacked[slot], y.dtype), add_inputs)

    def add_lora_logits(
        self,
        y: torch.Tensor,
        x: torch.Tensor,
        lora_a_stacked: torch.Tensor,
        lora_b_stacked: torch.Tensor,
        scale: float,
        **kwargs: Any,
    ) -> None:
        """Adds B A x to the logits."""
        y, x = y.view(-1, y.shape[-1]), x.view(-1, x.shape[-1])
        for slot, rows in self._sampled:
            low = scale * _product(x[rows], lora_a_stacked[slot], torch.float32)
            _put(y, rows, _product(low, lora_b_stacked[slot], y.dtype), add=True)


def _by_slot(indices: torch.Tensor) -> _Rows:
    """Every slot of a batch, with its rows; -1 is none."""
    slots = sorted({int(slot) for slot in indices.tolist()} - {-1})
    return [(slot, (indices == slot).nonzero().flatten()) for slot in slots]


def _product(x: torch.Tensor, weights: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """X [n, in] times weights [1, out, in] or [out, in], in a type of number."""
    weights = weights.reshape(weights.shape[-2:])
    return x.to(dtype) @ weights.to(dtype).T


def _put(y: torch.Tensor, rows: torch.Tensor, product: torch.Tensor, add: bool) -> None:
    """Adds to some rows, or writes them; either side may be padded at the end of a row."""
    width = min(product.shape[1], y.shape[1])
    if add:
        y[rows, :width] += product[:, :width]
    else:
        y[rows, :width] = product[:, :width]
