"""Every objective: what it asks for, which way a step of it goes, and what it leaves alone."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from adapters.objectives import OBJECTIVES
from adapters.objectives.base import Objective, Step
from adapters.objectives.retain import RETAIN
from adapters.settings import settings_for
from tests.adapters.objectives.fake import FakeStep, FakeWorkshop, Said, full_step, said

KINDS = OBJECTIVES.kinds()


def nll(step: Step, rows: str) -> float:
    """In nats a token."""
    return float(step.answers(getattr(step, rows)).nll.mean())


def likelier(rows: str) -> Callable[[Step], float]:
    return lambda step: -nll(step, rows)


def less_likely(rows: str) -> Callable[[Step], float]:
    return lambda step: nll(step, rows)


def steered(step: Step) -> float:
    """States of forget rows lie in one direction."""
    states = step.states(step.forget, step.layer)
    return float(torch.cosine_similarity(states, states.new_ones(4), dim=-1).mean())


def moved(step: Step) -> float:
    """The last state before an answer is further along what the workshop says of questions."""
    before = step.reference_states(step.forget, step.layer)
    change = (step.states(step.forget, step.layer) - before)[range(3), [1, 2, 0]]
    return float(change[:, 0].mean())


def flat(step: Step) -> float:
    logits = step.answers(step.forget).logits
    return -float((logits.amax(-1) - logits.mean(-1)).mean())


def uniform(step: Step) -> float:
    assert step.retain is not None
    return float(step.answers(step.retain).logits.log_softmax(-1).mean())


# What there is more of after a step. An objective that is added says here what it is for.
FORGETS = less_likely("forget")
EFFECTS: dict[str, list[Callable[[Step], float]]] = {
    "blur": [FORGETS],
    "ceu": [FORGETS],
    "flat": [FORGETS, likelier("alternative")],
    "ga": [FORGETS],
    "graddiff": [FORGETS],
    "idk": [likelier("alternative")],
    "idk_dpo": [FORGETS, likelier("alternative")],
    "kl": [FORGETS],
    "lunar": [moved],
    "negate": [likelier("forget")],
    "npo": [FORGETS],
    "pdu": [flat],
    "random_label": [likelier("alternative")],
    "relearn": [likelier("alternative")],
    "rmu": [steered],
    "satimp": [FORGETS],
    "simnpo": [FORGETS],
    "spul": [likelier("alternative")],
    "uld": [likelier("forget"), uniform],
    "undial": [FORGETS],
    "wga": [FORGETS],
    "whp": [FORGETS],
}
BY_STATES = ("lunar", "rmu")
# Their weights or targets move with the model, without a gradient.
MOVING = ("ceu", "satimp", "wga")


def ready(kind: str, step: FakeStep, **options: Any) -> Objective:
    """An objective with its options, prepared."""
    made = OBJECTIVES.get(kind)
    objective = made(made.Options(**options))
    objective.prepare(FakeWorkshop(step))
    return objective


def known(step: FakeStep) -> FakeStep:
    """The same, with forget answers that the model knows, as it does before it forgets them."""
    batch = step.forget
    assert isinstance(batch, Said)
    token = torch.nn.functional.one_hot(batch.labels[:, 1:].clamp(min=0), batch.now.shape[-1])
    with torch.no_grad():
        batch.now[:, :-1] += 3 * token
        batch.before[:, :-1] += 3 * token
        batch.reinforced[:, :-1] += 6 * token
    return step


def leaves(step: FakeStep) -> list[torch.Tensor]:
    batches = [step.forget, step.retain, step.alternative]
    held = [batch for batch in batches if isinstance(batch, Said)]
    return [tensor for batch in held for tensor in (batch.now, batch.states)]


def descend(loss: torch.Tensor, step: FakeStep, rate: float = 0.1) -> None:
    """Goes a step along the gradient of everything that a model in training says."""
    tensors = leaves(step)
    found = torch.autograd.grad(loss, tensors, allow_unused=True)
    assert any(gradient is not None and gradient.any() for gradient in found)
    with torch.no_grad():
        for tensor, gradient in zip(tensors, found, strict=True):
            if gradient is not None:
                tensor -= rate * gradient


def measured(kind: str, step: FakeStep) -> list[float]:
    with torch.no_grad():
        return [effect(step) for effect in EFFECTS[kind]]


def test_every_objective_is_in_the_matrix() -> None:
    assert sorted(EFFECTS) == KINDS


@pytest.mark.parametrize("kind", KINDS)
def test_an_objective_is_what_it_is_registered_as(kind: str) -> None:
    made = OBJECTIVES.get(kind)
    assert made.kind == kind
    assert made.__doc__
    settings = settings_for(made, {})
    assert settings.retain == "none" or settings.retain in RETAIN
    if made.needs_retain:
        assert settings.retain != "none" or kind == "uld"  # which trains on them itself


def test_each_has_the_retain_term_and_the_weights_of_its_source() -> None:
    found = {kind: settings_for(OBJECTIVES.get(kind), {}) for kind in KINDS}
    terms = {kind: settings.retain for kind, settings in found.items()}
    assert {kind for kind, term in terms.items() if term == "none"} == {
        *("ceu", "flat", "ga", "idk", "negate", "random_label", "uld", "undial", "whp"),
    }
    assert {kind for kind, term in terms.items() if term not in ("none", "nll")} == {
        *("kl", "lunar", "relearn", "rmu", "spul"),
    }
    assert terms["kl"] == "kl" and terms["lunar"] == terms["rmu"] == "states"
    assert terms["relearn"] == terms["spul"] == "nll+kl"
    weights = {kind: (each.forget_weight, each.retain_weight) for kind, each in found.items()}
    assert {kind: pair for kind, pair in weights.items() if pair != (1, 1)} == {
        "satimp": (100.0, 1.0),  # its source: 0.1; see there
        "simnpo": (0.125, 1.0),
        "spul": (1.0, 0.5),
    }
    assert [kind for kind, each in found.items() if each.combine == "blur"] == ["blur"]


@pytest.mark.parametrize("kind", KINDS)
def test_an_unknown_option_is_refused(kind: str) -> None:
    with pytest.raises(ValueError, match="unknown field"):
        OBJECTIVES.get(kind).Options.model_validate({"betta": 1})


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_goes_where_the_objective_says(kind: str) -> None:
    step = known(full_step())
    objective = ready(kind, step)
    before = measured(kind, step)
    loss = objective.forget(step)
    assert loss.shape == () and torch.isfinite(loss)
    descend(loss, step)
    after = measured(kind, step)
    assert all(new > old for new, old in zip(after, before, strict=True))
    if kind not in MOVING:
        assert objective.forget(step) < loss


@pytest.mark.parametrize("kind", KINDS)
def test_an_objective_asks_for_no_more_than_it_says(kind: str) -> None:
    made = OBJECTIVES.get(kind)
    step = known(full_step())
    if made.alternative is None:
        step.alternative = None
    if not made.needs_retain:
        step.retain = None
    objective = ready(kind, step)
    assert torch.isfinite(objective.forget(step))
    objective.after(step, {"forget": 1.0})


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in BY_STATES])
@given(
    starts=st.lists(st.integers(1, 3), min_size=3, max_size=3),
    lengths=st.lists(st.integers(5, 7), min_size=3, max_size=3),
)
def test_no_prompt_and_no_padding_counts(kind: str, starts: list[int], lengths: list[int]) -> None:
    step = FakeStep(*(said(number, starts, lengths) for number in range(3)))
    loss = float(ready(kind, step).forget(step).detach())
    with torch.no_grad():
        for batch in (step.forget, step.retain, step.alternative):
            assert isinstance(batch, Said)
            silent = torch.ones_like(batch.now[..., 0], dtype=torch.bool)
            silent[:, :-1] = batch.labels[:, 1:] < 0
            for logits in (batch.now, batch.before, batch.reinforced):
                logits[silent] += 50
    assert float(ready(kind, step).forget(step).detach()) == loss


@pytest.mark.parametrize("kind", KINDS)
def test_the_order_of_rows_does_not_matter(kind: str) -> None:
    step, turned = known(full_step()), known(full_step())
    for batch in (turned.forget, turned.retain, turned.alternative):
        assert isinstance(batch, Said)
        for name, tensor in vars(batch).items():
            setattr(batch, name, tensor.detach().flip(0))
    one, other = (float(ready(kind, each).forget(each).detach()) for each in (step, turned))
    assert one == pytest.approx(other, rel=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_state_is_taken_up_where_it_was_left(kind: str) -> None:
    step = known(full_step())
    one = ready(kind, step)
    one.forget(step)
    one.after(step, {"forget": 1.0, "retain": 9.0})
    other = ready(kind, step)
    other.load(one.state())
    assert torch.equal(other.forget(step), one.forget(step))
    assert other.retain_factor() == one.retain_factor()


@pytest.mark.parametrize("kind", BY_STATES)
def test_where_states_are_moved_depends_on_the_depth(kind: str) -> None:
    objective = ready(kind, full_step())
    for depth in (1, 2, 3, 6, 16, 30, 32, 80):
        layers = objective.layers(depth)
        assert layers and sorted(set(layers)) == layers
        assert 0 <= layers[0] <= layers[-1] < depth
    published = {"lunar": [22], "rmu": [5, 6, 7]}
    assert objective.layers(32) == published[kind]


def test_all_others_adapt_every_layer() -> None:
    step = full_step()
    assert all(ready(kind, step).layers(9) is None for kind in KINDS if kind not in BY_STATES)
