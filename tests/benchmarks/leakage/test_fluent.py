"""Answers are read by a model that has no part in them, once."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.leakage.ask import Answer, Ask, Forced, Likelihood
from benchmarks.leakage.case import Given, Models
from benchmarks.leakage.fluent import reader_of
from benchmarks.leakage.measure import measure
from benchmarks.leakage.store import Store
from benchmarks.leakage.systems.engine import Settings
from benchmarks.leakage.systems.models import Model
from benchmarks.metrics.likelihoods import TINY
from benchmarks.result import Row
from tests.benchmarks.leakage.test_measure import FORGET, SUITE, Made, Scoring, knows

TWO = replace(
    SUITE,
    splits={"forget": (FORGET, replace(FORGET, question="Where was she born?", group="other"))},
    metrics=("fluency", "blocked", "failed"),
    given=Given(forget=(), retain=(), names=("Odalys Brennick",)),
)


class Reading(Scoring):
    """A word is as likely as it is short; of one word nothing is told."""

    def score(self, forced: Sequence[Forced]) -> list[Likelihood]:
        super().score(forced)
        words = [one.answer.split() for one in forced]
        return [tuple(-float(len(w)) for w in some) if len(some) > 1 else None for some in words]


def reader(fails: bool = False) -> Made:
    made = Made("base", lambda ask: "", fails)
    made.running = Reading(lambda ask: "")
    return made


def fluency(rows: Sequence[Row]) -> dict[str, Row]:
    return {row.system: row for row in rows if row.metric == "answer_perplexity"}


def test_it_is_the_perplexity_of_what_was_said(tmp_path: Path) -> None:
    said = {"a": "one two", "b": "sesquipedalian antidisestablishmentarianism"}
    systems = [Made(name, lambda ask, text=text: text) for name, text in said.items()]  # type: ignore[misc]
    base = reader()
    rows, _ = measure([TWO], systems, [], Store(tmp_path), 0, reader=lambda suite: base)
    found = fluency(rows)
    assert found["a"].value == pytest.approx(math.exp(3), rel=1e-5) and found["a"].n == 2
    assert found["b"].value == pytest.approx(math.exp((14 + -math.log(TINY)) / 2), rel=1e-4)
    assert base.starts == 1
    assert {(one.prompt, one.passage) for one in base.running.scored} == {("", True)}


def test_what_was_read_is_not_read_again_and_what_is_new_is(tmp_path: Path) -> None:
    text = "one two"
    base = reader()

    def run() -> None:
        system = Made("a", lambda ask: text)
        measure([TWO], [system], [], Store(tmp_path), 0, reader=lambda suite: base)

    run()
    run()
    assert base.starts == 1
    text, held = "three four", [*tmp_path.rglob("ask-forget*.json")]
    for path in held:
        path.unlink()  # it is asked again, and says something else
    run()
    assert base.starts == 2


def test_what_is_not_the_systems_own_is_not_read(tmp_path: Path) -> None:
    class Refusing(Scoring):
        def ask(self, asks: Sequence[Ask]) -> list[list[Answer]]:
            known = Answer("of two words")
            refused = Answer("I cannot answer that.", "blocked")
            return [[refused if ask.prompt == FORGET.question else known] for ask in asks]

    base, refusing, empty = reader(), Made("a", knows), Made("empty", lambda ask: " ")
    refusing.running = Refusing(knows)
    rows, _ = measure([TWO], [refusing, empty], [], Store(tmp_path), 0, reader=lambda suite: base)
    assert [one.answer for one in base.running.scored] == ["of two words"]
    assert {name: row.n for name, row in fluency(rows).items()} == {"a": 1}


def test_without_a_reader_the_rest_is_measured_and_it_is_said(tmp_path: Path) -> None:
    notes: list[str] = []
    rows, missed = measure(
        [TWO], [Made("a", knows)], [], Store(tmp_path), 0,
        note=notes.append, reader=lambda suite: reader(fails=True),
    )  # fmt: skip
    assert not fluency(rows) and rows and not missed
    assert notes == ["small: no other model could read the answers"]


def test_who_has_learned_least_reads() -> None:
    settings = Settings(dtype="bfloat16")
    for models, name in (
        (Models("t", "r", "b"), "base"), (Models("t", "r"), "retrained"), (Models("t"), "target"),
    ):  # fmt: skip
        assert reader_of(replace(TWO, models=models), settings) == Model(name, settings)  # type: ignore[arg-type]
