"""What a case is known by."""

from dataclasses import asdict, replace

from benchmarks.leakage.case import TOKENS, Case
from benchmarks.leakage.store import fingerprint

CASE = Case("Q?", "A.", "g")


def test_answers_that_are_kept_are_found_again() -> None:
    """Of a case whose answers are no longer than ever, the key is what it was before they could."""
    assert fingerprint([[CASE.known_by()], []]) == (
        "97c646af956b3e68206708d44955b8f924a85a11752bf35bf79306c3c59021e6"
    )
    assert asdict(CASE) == {**CASE.known_by(), "tokens": TOKENS, "stop": ()}


def test_other_lengths_and_ends_are_other_cases() -> None:
    cases = (CASE, replace(CASE, tokens=128), replace(CASE, stop=("\n",)), replace(CASE, given="A"))
    assert len({fingerprint(case.known_by()) for case in cases}) == 4
