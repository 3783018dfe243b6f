"""LoRA kernels for CPUs against a naive reference, and what vLLM is asked for."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from guard.engine import compat, hooks
from guard.engine.compat import lora
from guard.errors import EngineError
from guard.interventions.base import Adapter

SLOTS, WIDTH, RANK = 3, 5, 2
WIDE = (4, 3)  # how much comes out of each of two layers that are computed as one
IDS = [7, None, 9]  # which adapter lies in which slot

Ids = list[int]


def kernel(ids: Ids, kept: bool = True) -> Any:
    """A kernel that is told which adapter each row of a batch has; 0 is none."""
    from vllm.lora.layers import LoRAMapping
    from vllm.lora.punica_wrapper.punica_cpu import PunicaWrapperCPU

    made: Any = PunicaWrapperCPU(64, 64, "cpu")
    if kept:
        lora.keep_plain_rows([made])
    mapping = LoRAMapping(tuple(ids), tuple(ids), is_prefill=True)
    made.update_metadata(mapping, IDS, SLOTS + 1, 100)
    return made


def stacks(shape: tuple[int, int], seed: int) -> torch.Tensor:
    """Weights of all slots [slots, 1, out, in], the unused ones and the last too."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(SLOTS, 1, *shape, generator=generator)


A = tuple(stacks((RANK, WIDTH), seed) for seed in (1, 2))
B = tuple(stacks((wide, RANK), 3 + seed) for seed, wide in enumerate(WIDE))


def batch(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(count)
    x = torch.randn(count, WIDTH, generator=generator)
    return x, torch.randn(count, sum(WIDE), generator=generator)


def expected(ids: Ids, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Row by row, as LoRA is written."""
    rows = []
    for number, one in zip(range(len(ids)), ids, strict=True):
        row = y[number].clone()
        if one:
            slot = IDS.index(one)
            deltas = [b[slot, 0] @ (a[slot, 0] @ x[number]) for a, b in zip(A, B, strict=True)]
            row += torch.cat(deltas)
        rows.append(row)
    return torch.stack(rows)


MIXES = st.lists(st.sampled_from([0, 7, 9]), min_size=1, max_size=12)


@given(MIXES)
def test_each_row_has_its_own_adapter_and_plain_rows_stay(ids: Ids) -> None:
    x, before = batch(len(ids))
    after = before.clone()
    kernel(ids).add_lora_linear(after, x, A, B, 1.0, WIDE)
    torch.testing.assert_close(after, expected(ids, x, before))
    plain = [number for number, one in enumerate(ids) if not one]
    assert torch.equal(after[plain], before[plain]), "not by a bit"


@given(MIXES)
def test_logits_and_embeddings_likewise(ids: Ids) -> None:
    x, before = batch(len(ids))
    plain = [number for number, one in enumerate(ids) if not one]
    logits, embedded = before.clone(), before.clone()
    wide = stacks((sum(WIDE), RANK), 9)
    kernel(ids).add_lora_logits(logits, x, A[0], wide, 1.0)
    kernel(ids).add_lora_embedding(embedded, x[:, :RANK], wide)
    for number, one in enumerate(ids):
        if one:
            slot = IDS.index(one)
            delta = wide[slot, 0] @ (A[0][slot, 0] @ x[number])
            torch.testing.assert_close(logits[number], before[number] + delta)
            delta = wide[slot, 0] @ x[number, :RANK]
            torch.testing.assert_close(embedded[number], before[number] + delta)
    assert torch.equal(logits[plain], before[plain])
    assert torch.equal(embedded[plain], before[plain])


@given(MIXES)
def test_sharded_layers_call_both_halves_themselves(ids: Ids) -> None:
    x, before = batch(len(ids))
    after, made = before.clone(), kernel(ids)
    buffers = tuple(torch.zeros(len(ids), RANK) for _ in A)
    made.add_shrink(buffers, x, A, 1.0)
    made.add_expand(after, buffers, B, WIDE, add_inputs=True)
    torch.testing.assert_close(after, expected(ids, x, before))


def test_a_batch_without_adapters_is_not_computed() -> None:
    """Not even read: what is no tensor does not matter."""
    made: Any = kernel([0, 0, 0])
    made.add_lora_linear(None, None, A, B, 1.0, WIDE)
    x, before = batch(3)
    made.add_lora_logits(before, x, None, None, 1.0)


def test_some_of_a_batchs_tokens_cannot_be_looked_up_with_an_adapter() -> None:
    """vLLM does that beside prompts that are embeddings, and its own kernels fail of it."""
    x, before = batch(2)
    after = before.clone()
    kernel([7, 0, 9]).add_lora_embedding(after, x[:, :RANK], stacks((sum(WIDE), RANK), 9))
    assert torch.equal(after, before)


def test_vllms_own_kernels_still_need_this() -> None:
    """When this fails, vLLM is mended: `lora_cpu.py` can go."""
    x, before = batch(2)
    after = before.clone()
    kernel([7, 0], kept=False).add_lora_linear(after, x, A, B, 1.0, WIDE)
    assert not torch.equal(after[1], before[1])


def test_kernels_of_other_devices_stay_as_they_are() -> None:
    other = SimpleNamespace()
    lora.keep_plain_rows([other])
    assert type(other) is SimpleNamespace


@pytest.mark.parametrize(("guarded", "name"), [(True, "PlainRowsKept"), (False, None)])
def test_only_guarded_engines_have_them(
    guarded: bool, name: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vllm.lora.punica_wrapper.punica_cpu import PunicaWrapperCPU

    monkeypatch.delenv("GUARD_BUNDLE", raising=False)
    manager = SimpleNamespace()

    def original(self: Any, max_num_batched_tokens: int, vllm_config: Any) -> None:
        self.punica_wrapper_mapping = {"language_model": PunicaWrapperCPU(8, 8, "cpu")}

    config = SimpleNamespace(
        additional_config={"guard": {"bundle": "somewhere"}} if guarded else {}
    )
    hooks.init_lora_kernels(original)(manager, 8, config)
    found = type(manager.punica_wrapper_mapping["language_model"]).__name__
    assert found == (name or "PunicaWrapperCPU")


# What vLLM is asked for.


@pytest.mark.parametrize(("rank", "allowed"), [(1, 1), (2, 8), (8, 8), (9, 16), (300, 320)])
def test_ranks_are_rounded_up_to_those_that_vllm_takes(rank: int, allowed: int) -> None:
    assert lora.lora_rank(rank) == allowed


def test_a_rank_that_vllm_does_not_take_is_named() -> None:
    with pytest.raises(EngineError, match="has rank 513; vLLM serves up to 512"):
        lora.lora_rank(513)


def test_lora_is_forced_for_every_module() -> None:
    from vllm.engine.arg_utils import EngineArgs

    held = {"enable_lora": False, "lora_target_modules": ["o_proj"]}
    args = SimpleNamespace(max_lora_rank=16, max_loras=9, **held)
    assert set(vars(args)) <= set(EngineArgs.__dataclass_fields__)
    needed = {"enable_lora": True, "max_loras": 4, "max_lora_rank": 24, "lora_target_modules": None}
    compat.force_engine_args(args, needed)
    assert (args.enable_lora, args.max_loras, args.max_lora_rank) == (True, 9, 32)
    assert args.lora_target_modules is None


def test_an_engine_that_leaves_modules_out_is_refused() -> None:
    """vLLM would drop those of an adapter without a word, and the model would remember."""
    model = SimpleNamespace(
        enable_prompt_embeds=False, logits_processors=None, logprobs_mode="raw_logprobs"
    )
    held = SimpleNamespace(max_loras=4, max_lora_rank=32, target_modules=["o_proj"])
    config = SimpleNamespace(model_config=model, lora_config=held)
    needed = {"enable_lora": True, "max_lora_rank": 24, "lora_target_modules": None}
    assert compat.missing_engine_args(config, needed) == ["lora_target_modules=None"]
    held.target_modules = None
    assert compat.missing_engine_args(config, needed) == []
    scoring = {"logprobs_mode": "processed_logprobs"}
    assert compat.missing_engine_args(config, scoring) == ["logprobs_mode=processed_logprobs"]


class Engine:
    """Loads adapters, but for one folder."""

    def __init__(self) -> None:
        self.loaded: list[str] = []

    def add_lora(self, request: Any) -> bool:
        if request.lora_path == "/broken":
            raise ValueError("no such\nmodule")
        self.loaded.append(request.lora_name)
        return True


class AsyncEngine(Engine):
    async def add_lora(self, request: Any) -> bool:  # type: ignore[override]
        return super().add_lora(request)


GOOD, BROKEN = Adapter("a@1", "/good"), Adapter("b@1", "/broken")
WHY = "vLLM cannot load the adapter in /broken: no such module"


async def test_every_adapter_is_loaded_once_at_the_start() -> None:
    engines = Engine(), AsyncEngine()
    lora.load_adapters_sync(engines[0], [GOOD, GOOD])
    await lora.load_adapters(engines[1], [GOOD, GOOD])
    assert [engine.loaded for engine in engines] == [["guard:a@1"] * 2] * 2
    with pytest.raises(EngineError, match=WHY):
        lora.load_adapters_sync(engines[0], [GOOD, BROKEN])
    with pytest.raises(EngineError, match=WHY):
        await lora.load_adapters(engines[1], [BROKEN])
