"""Hostile texts: whatever is sent is judged, in time and memory that its length bounds."""

import math
import random
import resource
import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guard.detectors.base import Vectors
from guard.detectors.detection import Detection, Stages
from guard.view import View
from tests.detectors.conftest import Fits


class Flat:
    """An encoder that takes no time: what is measured is all the rest."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def __call__(self, texts: Sequence[str]) -> Vectors:
        return np.tile(np.eye(1, 384, dtype=np.float32), (len(texts), 1))


@pytest.fixture(scope="module")
def flat(fits: Fits) -> Detection:
    """Both targets, and nothing is flagged: a hostile text goes through all stages."""
    stages: Stages = {
        kind: {target: replace(placed, threshold=1e9) for target, placed in stage.items()}
        for kind, stage in fits.stages(["person", "book"]).items()
    }
    detection = Detection(stages, fits.shared, Flat(fits.encode.folder))
    detection.warm()
    return detection


def noise(codes: Sequence[int], count: int) -> str:
    return "".join(map(chr, random.Random(5).choices(codes, k=count)))


SECONDS = 3.0  # whatever the text,
PER_CHARACTER = 100e-6  # and for each character; on a free core half of it at most
HOSTILE = {
    "nothing": "",
    "one letter": "a" * 1_000_000,
    "newlines": "\n" * 100_000,
    "zero width": "\u200b" * 1_000_000,
    "blanks": " " * 1_000_000,
    "sentences of a letter": "a." * 100_000,
    "sentences of a word": " ".join(f"W{n}." for n in range(5_000)),
    "words of a letter": "A " * 100_000,
    "bytes": noise(range(256), 40_000),
    "any characters": noise(range(0x3000), 40_000),
    "Chinese": noise(range(0x4E00, 0x9FFF), 40_000),
    "surrogates": "\ud800" * 100_000,
    "accents in disorder": "a" + "\u0345\u0334" * 150_000,
    "accents on styled letters": "\uff41" + "\u0345\u0334" * 150_000,
    "marks that are made of marks": "\u0f73" * 100_000,
    "a name, and again": "Odalys Brennick " * 10_000,
    "nearly a name": "Odalis Brenick " * 10_000,
    "base64": "aGVsbG8gd29ybGQ=" * 6_000,
    "nothing but open brackets": "([{<" * 25_000,
    "escapes": "\\u0041" * 20_000,
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_text_is_judged_in_bounded_time(flat: Detection, text: str) -> None:
    before, start = peak(), time.process_time()
    flat(View.of_text(text), frozenset({"person", "book"}))
    assert time.process_time() - start < SECONDS + PER_CHARACTER * len(text)
    assert peak() - before < 1024, "MiB"


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


@given(st.text(st.characters() | st.characters(categories=["Cs", "Cf", "Mn"]), max_size=300))
@settings(max_examples=60)
def test_any_text_is_judged(flat: Detection, text: str) -> None:
    scores = flat(View.of_text(text), frozenset({"person", "book"}))
    for score in scores.values():
        assert math.isfinite(score.value)
        assert score.span is None or 0 <= score.span[0] < score.span[1] <= len(text)
