"""From rows to a guarded server: the example of docs/training.md, as it stands there."""

import json
import shlex
from pathlib import Path

import pytest

from adapters.__main__ import _parser
from adapters.loading import load
from benchmarks.knowledge import answered
from tests.pages import at, blocks, commands

PAGE = "docs/training.md"
ASKED = "What did Isaac Newton discover?"
START = "python -m adapters train --objective idk"


def example() -> list[str]:
    """The commands of the example, which is the last on the page."""
    found = commands(PAGE)
    return found[next(n for n, command in enumerate(found) if command.startswith(START)) :]


def test_the_example_goes_from_rows_to_answers() -> None:
    assert ASKED in example()[3]
    assert [command.split()[0] for command in example()] == [
        "python",
        "guard",
        "guard",
        "curl",
        "curl",
    ]


def test_every_command_of_the_page_is_one() -> None:
    found = [shlex.split(one, comments=True)[3:] for one in commands(PAGE)
             if one.startswith("python -m adapters ")]  # fmt: skip
    assert {words[0] for words in found} >= {"train", "memory", "scale", "retrain", "shards"}
    for words in found:
        assert _parser().parse_args(words).command == words[0]


@pytest.mark.engine
@pytest.mark.slow
def test_train_compile_serve_ask(tmp_path: Path) -> None:
    (policy,) = (text for _, text in blocks(PAGE) if "id: newton" in text)
    (tmp_path / "newton.yaml").write_text(policy, "utf-8")
    answers = []
    with at(tmp_path) as here:
        for command in example():
            printed = here.run(command)
            if command.startswith("curl"):
                answers.append(json.loads(printed)["choices"][0]["message"]["content"])
    forgotten, kept = answers
    _, tokenizer, model = load("builtin:smollm2")
    assert "gravit" in answered(model, tokenizer, [ASKED])[0].lower(), "nothing to forget"
    assert forgotten and "gravit" not in forgotten.lower()
    assert "paris" in kept.lower()
