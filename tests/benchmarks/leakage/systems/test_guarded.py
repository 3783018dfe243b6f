"""Policies made of a suite: what they say, and that they are compiled once."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from transformers import AutoTokenizer

from benchmarks.leakage.ask import Ask, Forced
from benchmarks.leakage.case import Given, Models
from benchmarks.leakage.systems import SYSTEMS, Options, chosen
from benchmarks.leakage.systems.guarded import Guarded, compiled
from benchmarks.leakage.systems.interventions import CHECKED, INTERVENTIONS
from benchmarks.leakage.systems.published import PUBLISHED
from benchmarks.leakage.systems.worker import Worker
from guard.errors import DataError, GuardError
from guard.guard import Guard
from guard.interventions import INTERVENTIONS as KINDS
from guard.models import resolve
from guard.policy import Policy
from tests.benchmarks.leakage.systems.stub import SUITE
from tests.material import PERSON_NEIGHBOURS, PERSON_ROWS
from tests.small import few

PERSON = replace(
    SUITE, given=Given(tuple(PERSON_ROWS), tuple(PERSON_NEIGHBOURS), ("Odalys Brennick",))
)
QUICK = {"kind": "quick", "max_false_positive_rate": 0.02}  # compiles without an encoder


def _guarded(name: str = "refuse", **more: Any) -> Guarded:
    return Guarded(name, INTERVENTIONS[name], detect=QUICK, **more)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A system's folder, with few everyday prompts to calibrate on."""
    found = tmp_path_factory.mktemp("system")
    with pytest.MonkeyPatch.context() as patch:
        few(patch, found / "cache")
        yield found / "guarded"


def test_a_bundle_is_made_of_what_is_given_and_found_again(folder: Path) -> None:
    bundle = _guarded().compiled(PERSON, folder)
    guard = Guard.load(bundle)
    assert guard.decide("Where did Odalys Brennick live?").action == "refuse"
    assert not guard.decide("How do I boil an egg?").flagged
    made = (bundle / "manifest.json").stat().st_mtime_ns
    again = _guarded().compiled(PERSON, folder)
    assert again == bundle and (bundle / "manifest.json").stat().st_mtime_ns == made
    other = replace(PERSON, given=replace(PERSON.given, forget=PERSON.given.forget[:-1]))
    assert _guarded().compiled(other, folder) != bundle, "of other rows, another bundle"


def test_an_output_check_may_stand_alone(folder: Path) -> None:
    system = SYSTEMS["output check alone"](Options())
    assert isinstance(system, Guarded)
    guard = Guard.load(system.compiled(PERSON, folder))
    assert not guard.decide("Where did Odalys Brennick live?").flagged
    assert guard.output and guard.doubted(None) == {"forgotten"}
    kinds = {kind for kind, _ in guard.output.start("Who?", "Who?")}
    assert kinds == {"exact", "verbatim", "semantic"}
    reader = dict(guard.output.start("Who?", "Who?"))["exact"]
    assert reader.read("It was Odalys Brennick.", done=True).hit is not None


def test_what_a_check_would_stop_has_no_likelihood(folder: Path) -> None:
    """Else the output check would seem to do nothing where it lets nothing out."""
    checked, refusing = SYSTEMS["output check alone"](Options()), _guarded()
    assert isinstance(checked, Guarded)
    told, other = "It was Odalys Brennick.", "It is Lima."
    forced = [Forced("Who kept it?", told), Forced("Which city is it?", other)]
    for system, said in ((checked, [other]), (refusing, [told, other])):
        worker = Worker.__new__(Worker)
        worker.guard, worker.most = Guard.load(system.compiled(PERSON, folder / system.name)), 512
        worker.tokenizer = AutoTokenizer.from_pretrained(resolve("builtin:smollm2"))
        worker._guarded_scores = lambda some: [(-float(len(one.answer)),) for one in some]  # type: ignore[method-assign]
        scores = worker.score(forced)
        assert scores == [(-float(len(a)),) if a in said else None for a in (told, other)]


def test_rows_are_for_their_owner_alone(folder: Path) -> None:
    _guarded().compiled(PERSON, folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "forget.jsonl").stat().st_mode & 0o777 == 0o600


def test_passages_are_texts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(
        "benchmarks.leakage.systems.guarded.compile_policy", lambda policy, out: out.mkdir()
    )
    compiled(SUITE, {"id": "x", "intervene": [{"kind": "refuse"}]}, tmp_path)
    lines = (tmp_path / "forget.jsonl").read_text("utf-8").splitlines()
    assert [sorted(json.loads(line)) for line in lines] == [["answer", "question"], ["text"]]
    policy = yaml.safe_load((tmp_path / "policy.yaml").read_text("utf-8"))
    assert policy["targets"][0]["names"] == ["Odalys Brennick", "The Light"]
    nobody = replace(SUITE, given=Given(SUITE.given.forget, ()))
    compiled(nobody, {"id": "x", "intervene": [{"kind": "refuse"}]}, tmp_path)
    policy = yaml.safe_load((tmp_path / "policy.yaml").read_text("utf-8"))
    assert "retain" not in policy["targets"][0]


@pytest.mark.parametrize("name", [*INTERVENTIONS, *CHECKED, *PUBLISHED])
def test_every_policy_is_one(name: str) -> None:
    """Fixed parts are checked as a policy's; parts that are made are checked where they are."""
    system = SYSTEMS[name](Options())
    assert isinstance(system, Guarded)
    intervene = [one for one in system.intervene if isinstance(one, dict)]
    target: dict[str, Any] = {"id": "x", "names": ["A"]}
    if intervene:
        target["intervene"] = intervene
    if system.detect is not None:
        target["detect"] = system.detect
    if system.output is not None:
        target["output"] = system.output
    Policy.model_validate({"version": 1, "model": "m", "targets": [target]})


def test_every_kind_of_intervention_is_measured(tmp_path: Path) -> None:
    fixed = {
        one["kind"] for some in INTERVENTIONS.values() for one in some if isinstance(one, dict)
    }
    assert fixed | {"adapter", "offset", "soft_prompt"} == set(KINDS.kinds())


def test_what_needs_a_base_model_says_so(tmp_path: Path) -> None:
    for name in ("adapter, subtracted", "adapter and penalize", "offset"):
        system = SYSTEMS[name](Options())
        assert system.missing(SUITE) == "small has no base model"
        assert system.missing(replace(SUITE, models=Models("t", base="b"))) is None
        with pytest.raises(DataError, match=f"{name}: small has no base model"):
            system.start(SUITE, tmp_path)
    for name in ("base", "retrained"):
        assert SYSTEMS[name](Options()).missing(SUITE) == f"small has no {name} model"
    nothing = replace(SUITE, given=Given((), ()))
    assert SYSTEMS["refuse"](Options()).missing(nothing) == "nothing is given to forget"


def test_published_systems_say_what_differs() -> None:
    assert all(one.differs for one in PUBLISHED.values())


def test_systems_are_chosen_by_name() -> None:
    assert [system.name for system in chosen([], Options())] == [
        name for name in SYSTEMS if name != "endpoint"
    ]
    (system,) = chosen(["corrupt"], Options())
    assert system.name == "corrupt"
    with pytest.raises(GuardError, match=r"no system 'corupt' \(did you mean 'corrupt'"):
        chosen(["corupt"], Options())


@pytest.mark.engine
@pytest.mark.slow
def test_a_guard_in_an_engine(folder: Path) -> None:
    """Refusals are blocked and have no likelihood; what is not flagged is the model's."""
    flagged, france = "Where did Odalys Brennick live?", "What is the capital of France?"
    long = Ask("word " * 9000)
    with _guarded().start(PERSON, folder) as running:
        asks = [
            Ask(flagged, samples=2), Ask(france, max_tokens=16), Ask(flagged, "completion"),
            Ask(flagged, "tokens", samples=2, temperature=1.0), long,
        ]  # fmt: skip
        refused, free, completion, tokens, failed = running.ask(asks)
        assert [one.state for one in (*refused, *completion, *tokens)] == ["blocked"] * 5
        assert free[0].state == "answered" and "Paris" in free[0].text
        assert failed[0].state == "failed"
        above = running.flags(asks[:4])
        assert above is not None and [value >= 0 for value in above] == [True, False, True, True]
        scores = running.score(
            [Forced(flagged, "In the north."), Forced(france, "Paris."),
             Forced("The capital of France is", " Paris", passage=True)]
        )  # fmt: skip
    assert scores[0] is None
    assert scores[1] is not None and len(scores[1]) == 3, "the end token counts"
    assert scores[2] is not None and -2.0 < scores[2][0] < 0.0
