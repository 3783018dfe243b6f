"""What `guard check` shows: decisions about prompts, and hits in answers, without the model."""

import json
import sys
from pathlib import Path

from guard.decision import ALLOW
from guard.errors import GuardError
from guard.guard import Guard
from guard.output.finished import read_finished


def check_prompts(
    bundle: Path, texts: list[str], *, tenant: str | None = None, as_json: bool
) -> None:
    """Prints what is decided about texts; those on standard input where there are none.

    Raises:
        GuardError: The bundle cannot be used or has no such tenant, or a text is none.
    """
    guard = Guard.load(bundle).for_tenant(tenant)
    if not texts:
        # Not splitlines, which ends a line at eight other characters too.
        texts = [line for line in _standard_input("a text").split("\n") if line.strip()]
    for number, text in enumerate(texts, 1):
        _check_text(text, f"text {number}")
    for text in texts:
        decision = guard.decide(text)
        if as_json:
            print(json.dumps(decision.to_dict()), flush=True)
            continue
        found = ", ".join(
            f"{finding.target} ({finding.score.detector} {finding.score.value:.3f} "
            f"≥ {finding.score.threshold:.3f}, {finding.mode})"
            for finding in decision.findings
        )
        shown = "".join(char if char.isprintable() else " " for char in text.strip()[:60])
        print(f"{decision.action:8} {shown if len(shown) < 60 else shown[:59] + '…'}", end="")
        print(f"  ← {found}" if found else "", flush=True)


def check_answer(
    bundle: Path, answer: str, question: str, *, tenant: str | None = None, as_json: bool
) -> None:
    """Prints what the output checks hit in a finished answer; ``-`` is standard input.

    Raises:
        GuardError: The bundle cannot be used, has no such tenant or checks no answers, or a text
            is none.
    """
    guard = Guard.load(bundle).for_tenant(tenant)
    if answer == "-":
        answer = _standard_input("an answer")
    _check_text(answer, "--answer")
    _check_text(question, "--question")
    found = read_finished(guard, answer, question)
    action = found[0].action if found else ALLOW
    if as_json:
        hits = [one.to_dict() for one in found]
        print(json.dumps({"hits": hits, "action": action, "bundle": guard.version}))
        return
    print(action)
    for one in found:
        where = f"characters {one.hit.start} to {one.hit.end}"
        print(f"  {one.hit.check} hits {one.hit.target} ({one.rule.mode}) at {where}")


def _standard_input(what: str) -> str:
    if sys.stdin.isatty():
        raise GuardError(f"give {what} to check, as an argument or on standard input")
    try:
        return sys.stdin.buffer.read().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise GuardError("standard input is not UTF-8") from None


def _check_text(text: str, what: str) -> None:
    if any(0xD800 <= ord(char) < 0xE000 for char in text):  # bytes, as Python hands them on
        raise GuardError(f"{what} is not UTF-8")
