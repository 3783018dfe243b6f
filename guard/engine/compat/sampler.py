"""vLLM's sampler as the place where answers are steered: both of its interfaces, one class.

What was read in vLLM 0.32, and is relied on:

* Runner V1 (`v1/sample/sampler.py`): grammar, allowed tokens, bad words, least length and the
  client's logit bias come before; repetition and other penalties come after, and leave minus
  infinity as it is. A request's list of output tokens is the engine's own and goes on growing.
  Under asynchronous scheduling its last token is -1 until it is known, and is filled in before
  the logits are processed, for a processor that is named in the engine's arguments.
* Runner V2 (`v1/worker/gpu/sample/sampler.py`): grammar, bias, penalties and bad words come before;
  nothing comes after but the end of a thinking budget. Tokens lie on the device, up to
  ``total_len``; places are recycled, and a request that was preempted is added again.
* With speculative decoding V1 takes no processor, and V2 asks for the logits behind tokens that
  are only proposed: see `guard.engine.compat.steering`.

The module imports vLLM: name it, do not import it, where vLLM may be missing.
"""

from typing import Any

from vllm.v1.sample.logits_processor.interface import LogitsProcessor, MoveDirectionality
from vllm.v1.worker.gpu.sample.logits_processor.interface import (
    LogitsProcessor as LogitsProcessorV2,
)

from guard.bundle import load_bundle
from guard.engine import verdict
from guard.engine.compat.process import served_folder, served_tokenizer
from guard.engine.compat.prompts import extra_args
from guard.engine.settings import from_config
from guard.identity import model_folder
from guard.steering import STEERINGS
from guard.steering.base import Engine
from guard.steering.replay import KIND as REPLAY
from guard.steering.rows import Rows


class GuardProcessor(LogitsProcessor, LogitsProcessorV2):
    """Steers the answers to requests that carry a plan.

    Args:
        vllm_config: The engine's configuration.
        *where: V1: the device, and whether memory is pinned. V2: the state of the requests.
    """

    def __init__(self, vllm_config: Any, *where: Any) -> None:
        self._states = where[0] if hasattr(where[0], "all_token_ids") else None
        device = where[0] if self._states is None else self._states.device
        engine = _engine(vllm_config, str(device))
        self.rows = Rows(engine)
        for kind, parts in _asked(vllm_config).items():
            STEERINGS.get(kind).warm(engine, parts)

    def is_argmax_invariant(self) -> bool:
        """Greedy answers are steered too."""
        return False

    def update_state(self, batch_update: Any) -> None:
        """V1: follows the requests through the batch."""
        if batch_update is None:
            return
        for place in batch_update.removed:
            self.rows.remove(place)
        for place, params, prompt, output in batch_update.added:
            self._add(place, params, prompt or (), output)
        for source, place, direction in batch_update.moved:
            if direction == MoveDirectionality.SWAP:
                self.rows.swap(source, place)
            else:
                self.rows.move(source, place)

    def add_request(self, req_idx: int, sampling_params: Any) -> bool:
        """V2: takes a request in, and says whether its logits will be changed."""
        self._add(req_idx, sampling_params, (), ())
        return req_idx in self.rows

    def apply(self, logits: Any, ctx: Any = None) -> Any:
        """Steers the planned rows; in place, float32 [rows, vocabulary]."""
        if not len(self.rows):
            return logits
        if ctx is None:
            self.rows.apply(logits)
        elif any(int(place) in self.rows for place in ctx.idx_mapping_np):
            places = ctx.expanded_idx_mapping.tolist()
            for place in set(places):
                if place in self.rows:
                    self._tell(place)
            self.rows.apply(logits, places)
        return logits

    def _add(self, place: int, params: Any, prompt: Any, output: Any) -> None:
        plans = extra_args(params).get(verdict.PLAN)
        self.rows.add(place, plans, prompt, output, params.eos_token_id)

    def _tell(self, place: int) -> None:
        """V2: reads a request's tokens from the device."""
        states: Any = self._states
        start, end = int(states.prompt_len.np[place]), int(states.total_len.gpu[place])
        tokens = states.all_token_ids.gpu[place, :end].tolist()
        self.rows.tokens(place, tokens[:start], tokens[start:])


def _engine(vllm_config: Any, device: str) -> Engine:
    model = vllm_config.model_config
    tokenizer = served_tokenizer(vllm_config)
    eos = getattr(tokenizer, "eos_token_id", None)
    return Engine(
        folder=str(model_folder(served_folder(vllm_config))),
        vocabulary=int(model.get_vocab_size()),
        eos=() if eos is None else (int(eos),),
        device=device,
        tokenizer=tokenizer,
    )


def _asked(vllm_config: Any) -> dict[str, list[dict[str, Any]]]:
    """The kinds of steering that the engine's bundle asks for, and with what; see `warm`."""
    settings = from_config(vllm_config.additional_config)
    known, asked = set(STEERINGS.kinds()), dict[str, list[dict[str, Any]]]()
    targets = () if settings is None else load_bundle(settings.bundle).manifest.targets
    for target in targets:
        for record in (one for band in target.bands for one in band):
            if record.kind in known:  # a plan's kind is that of the intervention that writes it
                asked.setdefault(record.kind, []).append({**record.options, **record.data})
        if target.output is not None:
            asked.setdefault(REPLAY, [])
    return asked
