"""Both of vLLM's sampler interfaces lead to the same steering; no engine is started."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from guard.engine import compat, verdict
from guard.engine.compat import steering as limits
from guard.errors import InterventionError
from guard.steering import STEERINGS
from guard.steering.base import Engine, Steering
from guard.steering.replay import KIND as REPLAY

SIZE, END = 6, 5


class Told(Steering):
    """Writes down what it is told; bans token 0."""

    kind = "told"
    seen: ClassVar[list[tuple[list[int], list[int]]]] = []

    def __call__(self, prompt: Sequence[int], output: Sequence[int], logits: torch.Tensor) -> None:
        self.seen.append((list(prompt), list(output)))
        logits[0] = float("-inf")


@pytest.fixture(autouse=True)
def told(monkeypatch: pytest.MonkeyPatch) -> None:
    from guard.engine.compat import sampler

    Told.seen.clear()
    monkeypatch.setitem(STEERINGS._loaded, "told", Told)
    monkeypatch.setattr(sampler, "_engine", lambda config, device: Engine("", SIZE, (END,), device))


def params(planned: bool, **more: Any) -> Any:
    from vllm import SamplingParams

    args = {verdict.PLAN: {"told": [{}]}} if planned else {"client": 1}
    made = SamplingParams(extra_args=args, **more)
    made.update_from_generation_config({}, END)
    return made


CONFIG = SimpleNamespace(additional_config={})


def first() -> Any:
    """The processor as runner V1 makes it."""
    from vllm.v1.sample.logits_processor import build_logitsprocs

    found = build_logitsprocs(
        SimpleNamespace(
            speculative_config=None,
            scheduler_config=SimpleNamespace(max_num_seqs=4),
            additional_config={},
        ),
        torch.device("cpu"),
        False,
        False,
        ["guard.engine.compat.sampler:GuardProcessor"],
    )
    own = [one for one in found.non_argmax_invariant if hasattr(one, "rows")]
    assert found.non_argmax_invariant[-1:] == own, "after what a client may ask for"
    return own[0]


def update(**changes: Any) -> Any:
    from vllm.v1.sample.logits_processor import BatchUpdate

    return BatchUpdate(**{"batch_size": 2, "removed": [], "added": [], "moved": [], **changes})


def test_v1_follows_a_request_through_the_batch() -> None:
    from vllm.v1.sample.logits_processor import MoveDirectionality as Way

    processor, output = first(), [7]
    processor.update_state(
        update(added=[(0, params(False), [1], []), (1, params(True), [2], output)])
    )
    processor.update_state(None)
    output.append(8)
    logits = processor.apply(torch.ones(2, SIZE))
    assert logits[0].tolist() == [1.0] * SIZE and logits[1, 0] == float("-inf")
    assert Told.seen == [([2], [7, 8])]
    processor.update_state(update(moved=[(0, 1, Way.SWAP)]))
    assert processor.apply(torch.ones(2, SIZE))[0, 0] == float("-inf")
    processor.update_state(update(moved=[(0, 1, Way.UNIDIRECTIONAL)]))
    assert processor.apply(torch.ones(2, SIZE))[1, 0] == float("-inf")
    processor.update_state(update(added=[(1, params(False), None, [])]))
    assert torch.equal(processor.apply(torch.ones(2, SIZE)), torch.ones(2, SIZE))
    processor.update_state(update(added=[(1, params(True), None, [])]))
    processor.update_state(update(removed=[1]))
    assert torch.equal(processor.apply(torch.ones(2, SIZE)), torch.ones(2, SIZE))


def test_v1_greedy_answers_are_steered() -> None:
    assert first().is_argmax_invariant() is False


class States:
    """A V2 runner's state of its requests; token history is on the device, lengths staged."""

    def __init__(self) -> None:
        self.device = torch.device("cpu")
        self.all_token_ids = SimpleNamespace(gpu=torch.full((4, 9), 99, dtype=torch.int32))
        self.prompt_len = SimpleNamespace(np=np.zeros(4, np.int32))
        self.total_len = SimpleNamespace(gpu=torch.zeros(4, dtype=torch.int32))

    def hold(self, place: int, prompt: list[int], output: list[int]) -> None:
        tokens = torch.tensor([*prompt, *output], dtype=torch.int32)
        self.all_token_ids.gpu[place, : len(tokens)] = tokens
        self.prompt_len.np[place], self.total_len.gpu[place] = len(prompt), len(tokens)


def context(places: list[int]) -> Any:
    return SimpleNamespace(
        idx_mapping_np=np.array(places), expanded_idx_mapping=torch.tensor(places)
    )


def second(states: States) -> Any:
    """The processor as runner V2 makes it."""
    from vllm.v1.worker.gpu.sample.logits_processor.loader import _load_v2_logitsprocs_by_fqcns

    (made,) = _load_v2_logitsprocs_by_fqcns(["guard.engine.compat.sampler:GuardProcessor"])
    return made(CONFIG, states)


def test_v2_reads_tokens_from_the_device_and_slots_are_recycled() -> None:
    states = States()
    processor = second(states)
    states.hold(2, [1, 2], [7])
    states.hold(0, [4], [])
    assert processor.add_request(2, params(True)) is True
    assert processor.add_request(0, params(False)) is False
    logits = processor.apply(torch.ones(2, SIZE), context([0, 2]))
    assert logits[0].tolist() == [1.0] * SIZE and logits[1, 0] == float("-inf")
    assert Told.seen == [([1, 2], [7])]
    states.hold(2, [1, 2], [7, 8])
    processor.apply(torch.ones(1, SIZE), context([2]))
    assert Told.seen[-1] == ([1, 2], [7, 8])
    assert torch.equal(processor.apply(torch.ones(1, SIZE), context([0])), torch.ones(1, SIZE))
    states.hold(2, [3], [])
    processor.add_request(2, params(False))
    assert torch.equal(processor.apply(torch.ones(1, SIZE), context([2])), torch.ones(1, SIZE))
    assert len(Told.seen) == 2


@pytest.mark.parametrize("plans", [{}, {"unknown": [{}]}, "told", 3, []])
def test_a_plan_that_is_none_ends_its_request_with_its_own_end(plans: Any) -> None:
    processor, odd = first(), params(True)
    odd.extra_args = {verdict.PLAN: plans}
    odd._eos_token_id = 3
    processor.update_state(update(added=[(0, odd, [1], [])]))
    row = processor.apply(torch.ones(1, SIZE))[0]
    assert torch.isfinite(row).nonzero().flatten().tolist() == [3]


def test_a_planned_request_can_be_ended() -> None:
    from vllm import SamplingParams

    tokenizer = SimpleNamespace(eos_token_id=END)
    asked = SamplingParams(ignore_eos=True, min_tokens=4, extra_args={"client": 1})
    planned = compat.planned(asked, {"told": ({"a": 1},)}, tokenizer)
    assert planned.extra_args == {"client": 1, verdict.PLAN: {"told": [{"a": 1}]}}
    assert planned.ignore_eos is False
    assert asked.ignore_eos is True and asked.extra_args == {"client": 1}
    assert compat.planned(asked, {}, tokenizer) is asked
    with pytest.raises(InterventionError, match="no token that ends"):
        compat.planned(asked, {"told": [{}]}, SimpleNamespace(eos_token_id=None))


def config(**more: Any) -> Any:
    model = SimpleNamespace(runner_type="generate", is_diffusion=False, return_sampling_mask=False)
    for name in [name for name in more if hasattr(model, name)]:
        setattr(model, name, more.pop(name))
    device = SimpleNamespace(device_type=more.pop("device", "cpu"))
    return SimpleNamespace(
        **{"model_config": model, "device_config": device, "speculative_config": None, **more}
    )


def test_what_cannot_be_steered_is_said() -> None:
    assert limits.unsupported_with_steering(config()) is None
    for wrong, word in (
        ({"speculative_config": object()}, "speculative"),
        ({"runner_type": "pooling"}, "pooling"),
        ({"is_diffusion": True}, "diffusion"),
        ({"return_sampling_mask": True}, "sampling-mask"),
        ({"device": "tpu"}, "TPU"),
    ):
        reason = limits.unsupported_with_steering(config(**wrong))
        assert reason is not None and word in reason and "\n" not in reason


@pytest.mark.parametrize("planned", [True, False])
@pytest.mark.parametrize("finished", [True, False])
def test_only_a_steered_answer_that_is_over_passes_its_grammar(
    planned: bool, finished: bool
) -> None:
    request = SimpleNamespace(is_finished=lambda: finished, sampling_params=params(planned))
    accept = limits.accept_tokens(lambda self, request, tokens: False)
    assert accept(None, request, [END]) is (planned and finished)


def test_what_the_bundle_asks_for_is_loaded_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    from guard.engine.compat import sampler

    warmed: list[Any] = []
    monkeypatch.setattr(STEERINGS, "kinds", lambda: ["told"])
    monkeypatch.setattr(Told, "warm", lambda engine, parts: warmed.append(parts))
    one = SimpleNamespace(kind="told", options={"a": 1}, data={"b": 2})
    other = SimpleNamespace(kind="refuse", options={}, data={})
    checked = SimpleNamespace(on_hit="rollback")
    targets = [
        SimpleNamespace(bands=[[other, one]], output=None),
        SimpleNamespace(bands=[[other], [one]], output=checked),
    ]
    bundle = SimpleNamespace(manifest=SimpleNamespace(targets=targets))
    again = STEERINGS.get(REPLAY)
    monkeypatch.setattr(again, "warm", lambda engine, parts: warmed.append(REPLAY))
    monkeypatch.setattr(sampler, "load_bundle", lambda path: bundle)
    first()
    assert warmed == [], "no bundle"
    monkeypatch.setenv("GUARD_BUNDLE", "somewhere")
    first()
    assert warmed == [[{"a": 1, "b": 2}] * 2, REPLAY]


def test_what_is_relied_on_is_there() -> None:
    for place, wanted in limits.RELIED_ON.items():
        assert set(wanted) <= set(compat.parameters(compat.resolve(place))), place
