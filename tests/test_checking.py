"""`guard check --answer` reads a finished answer and tells places, never the text."""

import io
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from guard.bundle import Bundle
from guard.cli import main
from guard.compile import compile_policy
from tests.checks import quick_policy, small
from tests.small import small_bundle

LEAK = "It is well known that Halvorsen gave her a medal."
SHADOW_LEAK = "Her name was Corisande, they say."
OTHER = "An egg is boiled in water."

Check = Callable[..., list[str]]


@pytest.fixture(scope="module", autouse=True)
def stubs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with small(tmp_path_factory.mktemp("cache")):
        yield


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A person whose answers are checked, and a book in shadow mode."""
    policy = quick_policy(
        tmp_path_factory.mktemp("policy"),
        brennick="{check: [words, sense], on_hit: filter}",
        vessmere="{check: words}",
    )
    text = policy.read_text()
    policy.write_text(text.replace("- id: vessmere\n", "- id: vessmere\n    mode: shadow\n"))
    return compile_policy(policy, tmp_path_factory.mktemp("whole") / "bundle")


@pytest.fixture
def check(bundle: Bundle, capsys: pytest.CaptureFixture[str]) -> Check:
    """Runs `guard check` on the bundle, which must succeed; returns the lines it printed."""

    def run(*arguments: str) -> list[str]:
        capsys.readouterr()
        assert main(["check", "--bundle", str(bundle.path), *arguments]) == 0
        printed, error = capsys.readouterr()
        assert error == ""
        return printed.splitlines()

    return run


def refused(capsys: pytest.CaptureFixture[str], bundle: Path, *arguments: str) -> str:
    capsys.readouterr()
    assert main(["check", "--bundle", str(bundle), *arguments]) == 2
    printed, error = capsys.readouterr()
    assert printed == "" and error.count("\n") == 1
    return error


def test_it_says_which_check_hits_which_target_where(check: Check) -> None:
    first, hit = check("--answer", LEAK)
    assert first == "filter"
    assert hit == "  words hits brennick (enforce) at characters 22 to 31"
    assert check("--answer", OTHER) == ["allow"]


def test_json_is_one_documented_object(check: Check, bundle: Bundle) -> None:
    (line,) = check("--json", "--answer", f"{SHADOW_LEAK} {LEAK}")
    start = len(SHADOW_LEAK) + 1 + 22
    assert json.loads(line) == {
        "hits": [
            {
                "check": "words",
                "target": "brennick",
                "start": start,
                "end": start + 9,
                "mode": "enforce",
                "on_hit": "filter",
            },
            {
                "check": "words",
                "target": "vessmere",
                "start": 13,
                "end": 22,
                "mode": "shadow",
                "on_hit": "rollback",
            },
        ],
        "action": "filter",
        "bundle": bundle.version,
    }
    assert json.loads(check("--json", "--answer", OTHER)[0])["hits"] == []


def test_a_target_in_shadow_mode_changes_nothing(check: Check) -> None:
    assert check("--answer", SHADOW_LEAK)[0] == "allow"
    assert json.loads(check("--json", "--answer", SHADOW_LEAK)[0])["action"] == "allow"


def test_the_answer_is_not_repeated(check: Check) -> None:
    for form in ([], ["--json"]):
        assert "Halvorsen" not in "".join(check(*form, "--answer", LEAK))


def test_a_question_has_sentences_weighed(check: Check) -> None:
    said = "Known for glass windows, frosted and green, she is."
    question = "What is Odalys Brennick known for?"
    asked = check("--answer", said, "--question", question)
    assert any(line.startswith("  sense hits brennick") for line in asked)
    assert not any("sense" in line for line in check("--answer", said))


def test_an_answer_may_come_on_standard_input(
    check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = io.TextIOWrapper(io.BytesIO(f"{OTHER}\n\n{LEAK}".encode()))
    monkeypatch.setattr(sys, "stdin", raw)
    (_, hit) = check("--answer", "-")
    assert f"at characters {len(OTHER) + 2 + 22} to " in hit


def test_an_empty_answer_leaks_nothing(check: Check) -> None:
    assert check("--answer", "") == ["allow"]


def test_what_does_not_go_together_is_refused(
    bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "not both" in refused(capsys, bundle.path, "--answer", LEAK, "text")
    assert "--question goes with --answer" in refused(capsys, bundle.path, "--question", "Who?")
    assert "--answer is not UTF-8" in refused(capsys, bundle.path, "--answer", "\udc80")
    message = refused(capsys, bundle.path, "--answer", LEAK, "--question", "\udc80")
    assert "--question is not UTF-8" in message


def test_a_bundle_that_checks_no_answers_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    path = small_bundle().path
    message = refused(capsys, path, "--answer", LEAK)
    assert message.startswith(f"guard: {path}: checks no answers; give a target an 'output'")


def test_the_list_of_targets_names_the_checks(
    bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["targets", "list", "--bundle", str(bundle.path)]) == 0
    person, book, project = capsys.readouterr().out.splitlines()
    assert "answers: words+sense" in person and "answers: words" in book
    assert "answers" not in project
