"""What becomes of an engine's outputs; engines themselves are in `test_engine`."""

from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.leakage.ask import Answer, Ask
from benchmarks.leakage.systems.worker import Worker


def output(*said: tuple[str, str]) -> Any:
    outputs = [
        SimpleNamespace(index=n, text=text, finish_reason=reason)
        for n, (text, reason) in enumerate(said)
    ]
    return SimpleNamespace(outputs=outputs[::-1], prompt_token_ids=[1])


@pytest.mark.parametrize(
    ("reason", "answer"),
    [
        ("stop", Answer("It is", "answered")),
        ("length", Answer("It is", "answered")),
        ("content_filter", Answer("It is", "blocked")),  # cut off by an output check
        ("abort", Answer("", "failed")),
        ("error", Answer("", "failed")),
    ],
)
def test_how_an_answer_ended_says_what_it_is(reason: str, answer: Answer) -> None:
    worker = Worker.__new__(Worker)
    worker.guard = None
    ask = Ask("What?", samples=2, temperature=1.0)
    found = worker._answers(ask, output(("It is", reason), ("Other", "stop")))
    assert found == [answer, Answer("Other", "answered")]
