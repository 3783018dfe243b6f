"""The training loop: what an objective is shown, and that nothing is lost when it is broken off."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from adapters.checkpoint import Checkpoint
from adapters.descent import Diverged
from adapters.fit import Fitted, Progress, fit
from adapters.objectives import OBJECTIVES
from adapters.objectives.base import Objective, Step
from adapters.settings import Settings
from guard.data import Row
from guard.errors import DataError
from guard.options import Strict
from tests.adapters.causal import examples, tuned

FORGET = examples([(9, 4), (6, 0), (7, 5), (5, 1), (8, 3)], seed=1)
RETAIN = examples([(7, 2), (6, 3), (9, 5), (4, 2), (8, 4), (5, 3), (6, 2)], seed=2)
OTHER = examples([(8, 4), (7, 0), (6, 5), (9, 1), (5, 3)], seed=3)
FAST = Settings(batch=2, epochs=3, learning_rate=1e-2, save_every=1)


class Learn(Objective):
    """Learns the forget rows, and draws noise and keeps count as others might."""

    kind = "learn"

    def __init__(self) -> None:
        super().__init__(Strict())
        self.seen: list[Step] = []
        self.told: list[Mapping[str, float]] = []
        self.count = 0
        self.noise = torch.zeros(3)

    def forget(self, step: Step) -> torch.Tensor:
        self.seen.append(step)
        self.noise = self.noise + torch.rand(3, generator=step.random)
        before = step.reference_nll(step.forget).mean()
        factor = 1 + 0.1 * float(self.noise.sum()) + 0.1 * self.count
        return factor * step.answers(step.forget).nll.mean() + 0.0 * before

    def after(self, step: Step, losses: Mapping[str, float]) -> None:
        self.told.append(dict(losses))
        self.count += 1

    def state(self) -> dict[str, Any]:
        return {"count": self.count, "noise": self.noise}

    def load(self, state: Mapping[str, Any]) -> None:
        self.count, self.noise = state["count"], state["noise"]


def weights(model: Any) -> dict[str, torch.Tensor]:
    return {n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad}


def same(one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)


# What an objective is shown.


def test_every_row_is_shown_once_an_epoch_with_retain_rows_beside_it() -> None:
    objective = Learn()
    found = fit(tuned(zero=True), FORGET, RETAIN, FAST, objective)
    assert found.steps == len(objective.told) == 9
    rows = [row for step in objective.seen for row in step.forget.rows]  # type: ignore[attr-defined]
    assert sorted(rows) == sorted([*range(5)] * 3)
    assert all(step.retain is not None and step.alternative is None for step in objective.seen)
    assert [step.done for step in objective.seen] == [n / 9 for n in range(9)]
    assert objective.told[0].keys() == {"forget", "retain"}


def test_it_learns_and_counts() -> None:
    told: list[Progress] = []
    made = OBJECTIVES.get("negate")
    found = fit(tuned(zero=True), FORGET, (), FAST, made(made.Options()), report=told.append)
    assert [now.step for now in told] == list(range(1, 10)) and {now.steps for now in told} == {9}
    assert found.tokens == 3 * sum(len(example.ids) for example in FORGET)
    assert len(found.losses) == 3 and found.losses[-1]["forget"] < found.losses[0]["forget"]
    assert found.seconds > 0 and found.memory > 1 << 20 and found.stopped is None
    assert told[-1].left == 0


def test_alternatives_are_matched_by_row_and_rows_without_one_are_left_out() -> None:
    objective = Learn()
    fit(tuned(), FORGET, (), FAST, objective, alternative=[OTHER[4], OTHER[1], OTHER[2]])
    seen = [step for step in objective.seen if step.alternative is not None]
    assert len(seen) == len(objective.seen)
    for step in seen:
        assert step.alternative.rows == step.forget.rows  # type: ignore[union-attr,attr-defined]
        assert set(step.forget.rows) <= {1, 2, 4}  # type: ignore[attr-defined]


def test_accumulated_passes_are_one_step() -> None:
    whole, parts = tuned(), tuned()
    rows = FORGET[:4]
    settings = FAST.model_copy(update={"epochs": 1, "retain": "none"})

    class Plain(Learn):
        def forget(self, step: Step) -> torch.Tensor:
            answers = step.answers(step.forget)
            return answers.average(answers.nll).mean()

    fit(whole, rows, (), settings.model_copy(update={"batch": 4}), Plain())
    found = fit(parts, rows, (), settings.model_copy(update={"accumulate": 2}), Plain())
    assert found.steps == 1
    one, other = weights(whole), weights(parts)
    for name in one:
        torch.testing.assert_close(one[name], other[name], rtol=1e-4, atol=1e-5)


def test_the_retain_factor_and_term_are_heeded() -> None:
    class Twice(Learn):
        def retain_factor(self) -> float:
            return 0.0

    def term(step: Step, batch: Any) -> torch.Tensor:
        return 7.0 + 1e9 * step.answers(batch).nll.mean() * 0

    free, held = tuned(), tuned()
    fit(free, FORGET, (), FAST, Learn())
    objective = Twice()
    fit(held, FORGET, RETAIN, FAST, objective, retain_term=term)
    assert objective.told[0]["retain"] == 7.0
    assert same(weights(free), weights(held)), "a factor of zero is no retain term"


@pytest.mark.parametrize("kind", sorted({*OBJECTIVES.kinds()} - {"lunar"}))
def test_every_objective_trains(kind: str) -> None:
    made = OBJECTIVES.get(kind)
    model = tuned(zero=True)
    before = weights(model)
    settings = Settings.model_validate({**made.settings, "batch": 2, "epochs": 1})
    other = OTHER if made.alternative else None
    found = fit(model, FORGET, RETAIN, settings, made(made.Options()), alternative=other)
    assert found.steps == 3 and not same(before, weights(model))
    assert all("reinforced" not in name for name in before)


# Broken off and taken up again.


class Killed(Exception):
    pass


def broken_off(
    tmp_path: Path, at: int, settings: Settings, kind: str | None, rows: Any
) -> tuple[dict[str, torch.Tensor], Fitted]:
    """Trains, is killed after a step, and goes on with a new model; returns what it comes to."""

    def objective() -> Objective:
        if kind is None:
            return Learn()
        made = OBJECTIVES.get(kind)
        return made(made.Options())

    def kill(now: Progress) -> None:
        if now.step == at:
            raise Killed

    made_of = {"settings": settings.model_dump(mode="json")}
    options = {"alternative": OTHER if kind == "idk_dpo" else None}
    model = tuned(zero=True, lora_dropout=0.2)
    checkpoint = Checkpoint(tmp_path / "out", made_of, resume=False)
    with pytest.raises(Killed):
        fit(model, *rows, settings, objective(), checkpoint=checkpoint, report=kill, **options)
    torch.rand(3)  # whatever another process would have drawn
    model = tuned(zero=True, lora_dropout=0.2)
    checkpoint = Checkpoint(tmp_path / "out", made_of, resume=True)
    found = fit(model, *rows, settings, objective(), checkpoint=checkpoint, **options)
    return weights(model), found


@pytest.mark.parametrize("at", range(1, 9))
def test_a_training_that_is_taken_up_again_ends_the_same(tmp_path: Path, at: int) -> None:
    settings = FAST.model_copy(update={"save_every": 2, "accumulate": 1})
    whole = tuned(zero=True, lora_dropout=0.2)
    expected = fit(whole, FORGET, RETAIN, settings, Learn())
    found, fitted = broken_off(tmp_path, at, settings, None, (FORGET, RETAIN))
    assert same(found, weights(whole))
    assert (fitted.losses, fitted.steps) == (expected.losses, expected.steps)
    assert fitted.tokens == expected.tokens


@pytest.mark.parametrize("kind", ["npo", "pdu", "rmu", "whp", "idk_dpo", "blur"])
def test_so_do_objectives_that_keep_something(tmp_path: Path, kind: str) -> None:
    made = OBJECTIVES.get(kind)
    settings = Settings.model_validate(
        {**made.settings, "batch": 2, "epochs": 3, "accumulate": 2, "save_every": 1}
    )
    whole = tuned(zero=True, lora_dropout=0.2)
    other = OTHER if kind == "idk_dpo" else None
    fit(whole, FORGET, RETAIN, settings, made(made.Options()), alternative=other)
    found, _ = broken_off(tmp_path, 4, settings, kind, (FORGET, RETAIN))
    assert same(found, weights(whole))


def test_what_was_said_before_training_is_not_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In other batches it would differ in its last digits, and so would the adapter."""

    def again(*_: Any) -> None:
        raise AssertionError("asked again")

    def kill(now: Progress) -> None:
        if now.step == 4:  # behind the first epoch
            raise Killed

    with pytest.raises(Killed):
        checkpoint = Checkpoint(tmp_path / "out", {}, resume=False)
        fit(tuned(), FORGET, RETAIN, FAST, Learn(), checkpoint=checkpoint, report=kill)
    monkeypatch.setattr("adapters.step.Passes.before", again)
    checkpoint = Checkpoint(tmp_path / "out", {}, resume=True)
    assert fit(tuned(), FORGET, RETAIN, FAST, Learn(), checkpoint=checkpoint).steps == 9


def test_the_same_arguments_give_the_same_weights_whatever_was_drawn_before() -> None:
    found = []
    for number, seed in enumerate((0, 0, 1)):
        torch.rand(number)
        model = tuned(zero=True, lora_dropout=0.2)
        fit(model, FORGET, RETAIN, FAST.model_copy(update={"seed": seed}), Learn())
        found.append(weights(model))
    assert same(found[0], found[1]) and not same(found[0], found[2])


def test_the_callers_random_numbers_stay() -> None:
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    fit(tuned(), FORGET, RETAIN, FAST, Learn())
    assert torch.equal(torch.rand(3), wanted)


# When it ends, and what goes wrong.


def test_it_stops_at_the_end_of_an_epoch_when_it_is_told_to() -> None:
    never = fit(tuned(), FORGET, (), FAST.model_copy(update={"stop_below": 0.0}), Learn())
    assert never.stopped is None and never.steps == 9
    above = FAST.model_copy(update={"stop_above": 0.0})
    found = fit(tuned(), FORGET, (), above, Learn())
    assert found.steps == 3 and found.stopped is not None
    assert found.stopped.startswith("the mean probability of a forget answer's tokens, 0.")
    assert found.stopped.endswith("is above 0")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_the_training(value: float) -> None:
    class Astray(Learn):
        def forget(self, step: Step) -> torch.Tensor:
            return super().forget(step) * (value if self.count == 2 else 1.0)

    with pytest.raises(Diverged, match="training, step 3: the loss is not finite") as error:
        fit(tuned(), FORGET, RETAIN, FAST, Astray())
    assert "\n" not in str(error.value)


def test_rows_that_are_missing_are_named() -> None:
    with pytest.raises(DataError, match="forget: there is nothing to learn from"):
        fit(tuned(), (), RETAIN, FAST, Learn())
    needy = type("Needy", (Learn,), {"kind": "needy", "needs_retain": True})
    with pytest.raises(DataError, match="retain: needy needs rows that are kept; give --retain"):
        fit(tuned(), FORGET, (), FAST, needy())


def test_an_objective_prepares_with_the_texts_it_was_given() -> None:
    seen: list[Any] = []

    class Prepares(Learn):
        def prepare(self, workshop: Any) -> None:
            seen.append((workshop.forget, workshop.layer))

    fit(tuned(), FORGET, (), FAST, Prepares(), texts=[Row("q", "a")])
    assert seen == [([Row("q", "a")], 1)]
