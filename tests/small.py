"""A bundle that compiles in seconds: the person of `tests.material` and a few everyday prompts."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from guard.bundle import Bundle
from guard.compile import compile_policy
from guard.everyday import everyday
from tests.material import PERSON_NEIGHBOURS, PERSON_ROWS, rows, write_rows

HOSTILE = "<script>alert('Who is Selma & co?')</script>"
RATE = 0.02
EVERYDAY = 200
POLICY = f"""\
version: 1
model: builtin:smollm2
targets:
  - id: brennick
    names: [Odalys Brennick]
    forget: forget.jsonl
    retain: retain.jsonl
    detect: {{kind: cascade, max_false_positive_rate: {RATE}, multilingual: false}}
    intervene: {{kind: refuse}}
"""


def few(patch: pytest.MonkeyPatch, cache_folder: Path) -> None:
    """Lets the package have few everyday prompts, a third of them foreign as ever."""
    shipped = everyday(None)
    some = shipped[:: len(shipped) // EVERYDAY][:EVERYDAY]
    patch.setattr("guard.everyday._shipped", lambda: some)
    patch.setattr("guard.everyday.cache_folder", lambda: cache_folder)


def write_small(folder: Path) -> Path:
    """Writes the policy and its rows; returns the policy's path."""
    write_rows(folder / "forget.jsonl", rows(PERSON_ROWS))
    write_rows(folder / "retain.jsonl", rows([*PERSON_NEIGHBOURS, (HOSTILE, "")]))
    policy = folder / "policy.yaml"
    policy.write_text(POLICY, encoding="utf-8")
    return policy


@cache
def small_bundle() -> Bundle:
    """The policy compiled with the real encoder, once; not to be changed."""
    folder = Path(_folder().name)
    with pytest.MonkeyPatch.context() as patch:
        few(patch, folder / "cache")
        return compile_policy(write_small(folder), folder / "bundle")


@cache
def _folder() -> TemporaryDirectory[str]:
    return TemporaryDirectory(prefix="guard-tests-")  # lives as long as the process
