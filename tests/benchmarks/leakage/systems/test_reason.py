"""Why an engine failed: told in full until it was asked something, for then it may quote that."""

import tempfile

import pytest

from benchmarks.leakage.systems.engine import Engine

ASKED = "Where did Odalys Brennick live?"


def reason(said: str, asked: bool) -> str:
    engine = Engine.__new__(Engine)
    with tempfile.TemporaryFile() as engine._said:
        engine._said.write(said.encode())
        engine._asked = asked
        return engine._reason()


def test_of_a_start_the_last_line_is_quoted() -> None:
    said = f"Traceback\n  …\nValueError: the model is a {'long ' * 100} story\n\n"
    assert reason(said, asked=False) == said.splitlines()[-2][:300]
    assert reason("", asked=False) == "no reason given"


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (f"ValueError: cannot tokenize {ASKED!r}", "ValueError"),
        (f"vllm.v1.engine.exceptions.EngineDeadError: {ASKED}", "EngineDeadError"),
        ("KeyboardInterrupt", "KeyboardInterrupt"),
        (ASKED, "its process ended"),
        ("BrennickError", "BrennickError"),
        ("The Error: Brennick", "its process ended"),
        ("", "its process ended"),
    ],
)
def test_of_what_was_asked_nothing_is_quoted(line: str, told: str) -> None:
    assert reason(f"INFO {ASKED}\n{line}\n" if line else "", asked=True) == told
