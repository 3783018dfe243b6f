"""What becomes of an engine's outputs; engines themselves are in `test_engine`."""

import json
from dataclasses import asdict
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.leakage.ask import Answer, Ask
from benchmarks.leakage.systems.worker import Worker, _ask


def output(*said: tuple[str, str]) -> Any:
    outputs = [
        SimpleNamespace(index=n, text=text, finish_reason=reason, token_ids=range(64))
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


def test_an_answer_that_ended_before_its_time_is_none() -> None:
    """What the model reads was full: that is no answer's length, and is not judged as one."""
    worker = Worker.__new__(Worker)
    worker.guard = None
    for longest, state in ((64, "answered"), (65, "failed")):
        (found,) = worker._answers(Ask("What?", max_tokens=longest), output(("It is", "length")))
        assert found.state == state


def test_all_of_a_request_reaches_the_engine() -> None:
    worker, sent = Worker.__new__(Worker), []
    worker.llm = SimpleNamespace(enqueue=lambda prompts, params, use_tqdm: sent.append(params))
    ask = Ask("Once", "completion", 3, 0.7, 32, 5, ("\n\n", "Question:"))
    worker._enqueue(_ask(json.loads(json.dumps(asdict(ask)))))
    worker._enqueue(Ask("Once", "completion"))
    first, plain = sent
    assert (first.n, first.temperature, first.max_tokens, first.seed) == (3, 0.7, 32, 5)
    assert first.stop == ["\n\n", "Question:"] and plain.stop == [] and plain.max_tokens == 64
    assert _ask(json.loads(json.dumps(asdict(ask)))) == ask
