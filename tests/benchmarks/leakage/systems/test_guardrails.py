"""Guardrails around a model, which here is a stub: what reaches it, and what comes back."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.leakage.ask import Answer, Ask, Forced
from benchmarks.leakage.case import Given
from benchmarks.leakage.systems import SYSTEMS, Options
from benchmarks.leakage.systems.around import REFUSAL, Guardrail
from benchmarks.leakage.systems.filters import InputFilter, OutputFilter
from benchmarks.leakage.systems.judged import keyword, retriever
from benchmarks.leakage.systems.prefix import Prefixed
from benchmarks.question import text_of
from guard.errors import DataError
from tests.benchmarks.leakage.systems.stub import SUITE, Stub

NAMES = SUITE.given.names
ABOUT = "Tell me of Odalys Brennick."
OTHER = "Tell me of Lima."


def _yes_to(word: str) -> Callable[[Ask], str]:
    """A model that says yes where a filter asks it about a text with a word in it."""

    def say(ask: Ask) -> str:
        text = text_of(ask.prompt)
        if "yes or no" not in text:
            return f"I was asked: {text}"
        return "Yes." if word in text.split("---")[1] else "No, it does not."

    return say


def test_a_prefix_stands_before_every_prompt() -> None:
    inner = Stub()
    prefixed = Prefixed(inner, NAMES)
    chat = (
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": OTHER},
        {"role": "assistant", "content": "It"},
    )
    prefixed.ask([Ask(OTHER, samples=2), Ask(chat), Ask(({"role": "system", "content": "x"},))])
    text, turns, alone = (ask.prompt for ask in inner.asked)
    assert isinstance(text, str) and text.endswith(f"\n\n{OTHER}") and "Odalys Brennick" in text
    assert inner.asked[0].samples == 2
    assert [turn["role"] for turn in turns] == ["system", "user", "assistant"]  # type: ignore[index]
    assert turns[1]["content"] == text and turns[0] == chat[0] and turns[2] == chat[2]  # type: ignore[index]
    assert [turn["role"] for turn in alone] == ["user", "system"]  # type: ignore[index]


def test_a_prefix_is_scored_with_the_answer_as_it_is() -> None:
    inner = Stub()
    assert Prefixed(inner, NAMES).score([Forced(OTHER, "A city.")]) == [(-1.0, -2.0)]
    (forced,) = inner.scored
    assert forced.answer == "A city." and str(forced.prompt).endswith(OTHER)


def test_an_input_filter_refuses_what_the_model_says_yes_to() -> None:
    inner = Stub(_yes_to("Brennick"))
    gate = InputFilter(inner, NAMES)
    asks = [Ask(OTHER), Ask(ABOUT, samples=2), Ask(OTHER, "completion")]
    first, refused, last = gate.ask(asks)
    assert refused == [REFUSAL, REFUSAL] and REFUSAL.state == "blocked"
    assert first == last == [Answer(f"I was asked: {OTHER}")]
    assert inner.asked[-2:] == [asks[0], asks[2]], "what is let through stays as it was"
    assert gate.flags(asks) == [-1.0, 1.0, -1.0]
    assert gate.score([Forced(ABOUT, "yes"), Forced(OTHER, "no")]) == [None, (-1.0, -2.0)]


def test_a_name_in_the_question_alone_is_no_yes() -> None:
    """The filter's own question names the target: only the text between the lines may count."""
    gate = InputFilter(Stub(_yes_to("Odalys")), NAMES)
    assert gate.flags([Ask(OTHER)]) == [-1.0]


def test_an_output_filter_reads_the_answers() -> None:
    def say(ask: Ask) -> str:
        text = text_of(ask.prompt)
        if "yes or no" in text:
            return "yes" if "keeper" in text.split("---")[1] else "no"
        return "A keeper." if ask.prompt == ABOUT else "A city."

    rail = OutputFilter(Stub(say), NAMES)
    assert rail.ask([Ask(ABOUT, samples=2), Ask(OTHER)]) == [[REFUSAL] * 2, [Answer("A city.")]]
    assert rail.score([Forced(OTHER, "A keeper."), Forced(ABOUT, "A nurse.")]) == [
        None,
        (-1.0, -2.0),
    ]
    assert rail.flags([Ask(ABOUT)]) is None
    assert rail.withholds and not InputFilter(Stub(), NAMES).withholds


class Failing(Stub):
    """Fails at whatever it is asked."""

    def ask(self, asks: Any) -> list[list[Answer]]:
        return [[Answer("", "failed")] * ask.samples for ask in asks]


def test_what_a_filter_cannot_judge_is_not_answered() -> None:
    assert InputFilter(Failing(), NAMES).ask([Ask(OTHER)]) == [[REFUSAL]]
    assert OutputFilter(Failing(), NAMES).ask([Ask(OTHER)]) == [[Answer("", "failed")]]


def test_keywords_are_full_names_and_surnames(tmp_path: Path) -> None:
    rail = keyword(Stub(), SUITE, tmp_path)
    asks = [
        Ask(ABOUT),
        Ask("brennick's light"),
        Ask(OTHER),
        Ask(({"role": "user", "content": ABOUT},)),
    ]
    found = [answers[0].state for answers in rail.ask(asks)]
    assert found == ["blocked", "blocked", "answered", "blocked"]
    flags = rail.flags(asks)
    assert flags is not None and [flag >= 0 for flag in flags] == [True, True, False, True]


def test_a_retriever_refuses_what_is_near_a_forget_question(tmp_path: Path) -> None:
    rail = retriever(Stub(), SUITE, tmp_path)
    asks = [Ask("Who is Odalys Brennick"), Ask("How do I boil an egg?")]
    assert [answers[0].state for answers in rail.ask(asks)] == ["blocked", "answered"]
    near, far = rail.flags(asks) or []
    assert 0 < near <= 0.2 and far < -0.3, "a cosine beside 0.8"


def test_a_guardrail_ends_what_it_is_around(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    inner = Stub()
    monkeypatch.setattr(
        "benchmarks.leakage.systems.models.Model.start", lambda self, suite, folder: inner
    )
    with SYSTEMS["prompt prefix"](Options()).start(SUITE, tmp_path) as running:
        running.ask([Ask(OTHER)])
        assert not inner.ended
    assert inner.ended

    def broken(inner: Any, suite: Any, folder: Any) -> Any:
        raise DataError("no")

    inner.ended = False
    with pytest.raises(DataError):
        Guardrail("x", broken).start(SUITE, tmp_path)
    assert inner.ended


def test_what_goes_by_names_needs_some(tmp_path: Path) -> None:
    nobody = replace(SUITE, given=Given(SUITE.given.forget, ()))
    for name in ("prompt prefix", "input filter", "output filter", "keyword filter"):
        system = SYSTEMS[name](Options())
        assert system.missing(SUITE) is None
        assert "names nobody" in (system.missing(nobody) or "")
        with pytest.raises(DataError, match="names nobody"):
            system.start(nobody, tmp_path)
    assert SYSTEMS["retriever, after CURaTE"](Options()).missing(nobody) is None
