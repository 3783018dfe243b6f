"""Two small output checks, for tests of what carries checks: no leak would be stopped by them."""

import re
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from pydantic import Field

from guard.errors import DataError
from guard.options import File, Strict
from guard.output import CHECKS
from guard.output.base import (
    Asked,
    Check,
    Claim,
    Hit,
    Known,
    Material,
    Reader,
    Reading,
)
from guard.parts import Parts
from tests.material import write_policy
from tests.small import few


class WordsOptions(Strict):
    length: int = Field(default=6, ge=1)
    extra: File | None = None


class Words(Check):
    """Hits a long word that a forget answer has."""

    kind: ClassVar[str] = "words"
    Options: ClassVar[type[Strict]] = WordsOptions

    def __init__(self, known: Sequence[Known]) -> None:
        super().__init__(known)
        self.hashes = {one.target: set(one.parts.arrays["hashes"].tolist()) for one in known}

    @classmethod
    def fit(cls, material: Material, options: Any) -> Parts:
        answers = " ".join(row.answer for row in material.examples.forget)
        if options.extra is not None:
            answers += options.extra.read_text(encoding="utf-8")
        found = {_hash(word) for word in re.findall(r"\w+", answers) if len(word) >= options.length}
        if not found:
            raise DataError("forget: no answer has a long word; give rows with answers")
        return Parts({"words": len(found)}, {"hashes": np.array(sorted(found), np.uint32)})

    def start(self, asked: Asked) -> Reader:
        return WordsReader(self, asked)


class WordsReader(Reader):
    def __init__(self, check: Words, asked: Asked) -> None:
        self.check, self.asked = check, asked

    def read(self, text: str, *, done: bool) -> Reading:
        for match in re.finditer(r"\w+", text):
            for target, hashes in self.check.hashes.items():
                given = target in self.asked.given and match.group() in self.asked.prompt
                if _hash(match.group()) in hashes and not given:
                    hit = Hit(self.check.kind, target, *match.span(), (match.group(),))
                    return Reading(match.start(), hit)
        return Reading(len(text))


class Sense(Check):
    """Hits a whole answer that means what a forget answer of a doubted target means."""

    kind: ClassVar[str] = "sense"
    slow: ClassVar[bool] = True

    @classmethod
    def fit(cls, material: Material, options: Any) -> Parts:
        answers = [row.answer for row in material.examples.forget if row.answer]
        return Parts(arrays={"vectors": material.encode(answers)})

    def start(self, asked: Asked) -> Reader:
        return SenseReader(self, asked)


class SenseReader(Reader):
    def __init__(self, check: Sense, asked: Asked) -> None:
        self.check = check
        self.left = [one for one in check.known if one.target in asked.doubted]
        self.hit: Hit | None = None

    def read(self, text: str, *, done: bool) -> Reading:
        if self.hit is not None:
            return Reading(0, self.hit)
        claims = tuple(Claim(one.target, 0, len(text), text) for one in self.left)
        return Reading(0 if claims else len(text), None, claims)

    def weigh(self, claim: Claim, vector: Any) -> None:
        (one,) = (one for one in self.left if one.target == claim.target)
        self.left.remove(one)
        if float((one.parts.arrays["vectors"] @ vector).max()) > 0.8:
            self.hit = Hit("sense", claim.target, claim.start, claim.end)


def register(patch: pytest.MonkeyPatch) -> None:
    """Lets policies name both."""
    patch.setitem(CHECKS._loaded, "words", Words)
    patch.setitem(CHECKS._loaded, "sense", Sense)


@contextmanager
def small(cache_folder: Path) -> Iterator[None]:
    """Lets policies name both, and bundles compile in seconds."""
    with pytest.MonkeyPatch.context() as patch:
        few(patch, cache_folder)
        register(patch)
        yield


def quick_policy(folder: Path, **by_target: str) -> Path:
    """Writes the policy of `tests.material` with quick detectors; its targets have `outputs`."""
    policy = write_policy(folder)
    detect = "defaults: {detect: {kind: quick, max_false_positive_rate: 0.02}}\n"
    policy.write_text(policy.read_text().replace("targets:", f"{detect}targets:"))
    outputs(policy, **by_target)
    return policy


def _hash(word: str) -> int:
    return zlib.crc32(word.encode())


def outputs(policy: Path, **by_target: str) -> None:
    """Gives targets of a policy their `output`."""
    text = policy.read_text(encoding="utf-8")
    for target, output in by_target.items():
        assert f"  - id: {target}\n" in text
        text = text.replace(f"  - id: {target}\n", f"  - id: {target}\n    output: {output}\n")
    policy.write_text(text, encoding="utf-8")
