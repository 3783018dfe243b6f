"""Weights that are edited for good, and trained further by someone who has a few forget cases."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from adapters.loading import load
from benchmarks.leakage.case import Case, Given, Models, Suite
from benchmarks.leakage.systems import SYSTEMS, Options, weights
from benchmarks.leakage.systems.weights import WEIGHTS, Weights
from guard.errors import ModelError
from tests.adapters.tiny import FORGET, RETAIN, make_model
from tests.benchmarks.leakage.systems.stub import SUITE


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory, tokenizer: Any) -> Suite:
    model = str(make_model(tmp_path_factory.mktemp("base"), tokenizer, initializer_range=0.1))
    forget, retain = (tuple((r.prompt, r.answer) for r in rows) for rows in (FORGET, RETAIN))
    cases = tuple(Case(question, answer, "a") for question, answer in forget)
    others = tuple(Case(question, answer, "b") for question, answer in retain)
    return replace(
        SUITE,
        models=Models(model, retrained=model, base=model),
        given=Given(forget, retain),
        splits={"forget": cases, "forget, again": cases[::-1], "retain": others + cases[:1]},
    )


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The models that engines were started with."""
    found: list[Path] = []
    monkeypatch.setattr(weights, "Engine", lambda model, **_: found.append(Path(model)))
    return found


def differ(one: Path, other: Path) -> float:
    """How far apart the weights of two models are."""
    first, second = (load(str(folder))[2].state_dict() for folder in (one, other))
    return max(float((first[name] - second[name]).abs().max()) for name in first)


def test_edits_are_in_the_weights_and_relearning_goes_on_from_them(
    suite: Suite, tmp_path: Path, started: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from benchmarks.leakage.systems import parts

    monkeypatch.setattr(parts, "scale", lambda *_: -0.5)
    systems = {name: Weights(name, *which) for name, which in WEIGHTS.items()}
    for system in systems.values():
        system.start(suite, tmp_path)
        system.start(suite, tmp_path)  # nothing is made twice
    merged, again, edited, _, retrained, last = started
    assert (merged, retrained) == (again, last)
    assert len({merged, edited, retrained, Path(suite.models.target)}) == 4
    target = Path(suite.models.target)
    assert differ(merged, target) > 1e-4 < differ(edited, merged)
    assert differ(retrained, target) > 1e-4
    # At the scale that was chosen, by PEFT's own arithmetic.
    adapter = next(path for path in tmp_path.iterdir() if path.name.startswith("negate-"))
    from peft import PeftModel

    whole = load(str(adapter.parent / merged.name))[2]
    tuned: Any = PeftModel.from_pretrained(load(str(target))[2], str(adapter))
    once = tuned.merge_and_unload().state_dict()
    bare = load(str(target))[2].state_dict()
    for name, weight in whole.state_dict().items():
        assert torch.allclose(weight - bare[name], -0.5 * (once[name] - bare[name]), atol=1e-5)


def test_what_an_attacker_has_learned_again_is_not_asked_about(suite: Suite) -> None:
    for name, (_, relearned) in WEIGHTS.items():
        asked = SYSTEMS[name](Options()).asked(suite)
        if not relearned:
            assert asked == suite
            continue
        left = asked.splits["forget"]
        known = set(suite.splits["forget"]) - set(left)
        assert len(known) == 1 and asked.splits["forget, again"] == left[::-1]
        assert asked.splits["retain"] == suite.splits["retain"]


def test_a_suite_without_the_models_is_told_of(suite: Suite, tmp_path: Path) -> None:
    bare = replace(suite, models=Models(suite.models.target))
    empty = replace(suite, splits={"retain": suite.splits["retain"]})
    for name, (edited, relearned) in WEIGHTS.items():
        system = SYSTEMS[name](Options())
        assert system.missing(suite) is None
        assert ("no base model" if edited else "no retrained model") in str(system.missing(bare))
        with pytest.raises(ModelError, match=name):
            system.start(bare, tmp_path)
        assert bool(system.missing(empty)) == relearned
