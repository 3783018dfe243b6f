"""The prompts by which a live guard proves that it decides as its compilation did."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy.typing as npt

from guard.data import Row
from guard.detectors.base import Encode, Examples, Parts
from guard.detectors.detection import Detection, placed
from guard.errors import DataError
from guard.manifest import StageRecord
from guard.view import View

SELF_TESTS = 3  # prompts a target and side: a bundle holds the least it can
_TRIED = 50  # questions, until each stage has flagged one


def pick_prompts(
    stages: Sequence[StageRecord],
    arrays: Mapping[str, npt.NDArray[Any]],
    shared: Mapping[str, Parts],
    examples: Examples,
    encode: Encode,
) -> tuple[list[str], list[str]]:
    """Picks prompts of a target that must be flagged, and prompts that must not be.

    Args:
        stages: The target's stages.
        arrays: Their arrays, by file.
        shared: What targets share, by detector kind.
        examples: The target's rows.
        encode: The sentence encoder.

    Raises:
        DataError: The detector flags nothing that it should, so it would guard nothing.
    """
    it = frozenset({"it"})
    if not stages:  # a live guard is asked something all the same: that it is there
        rows = (*examples.retain, *examples.background)
        return [], [row.prompt for row in rows[:SELF_TESTS]]
    running = Detection(
        {kind: {"it": part} for kind, part in placed(stages, arrays).items()}, shared, encode
    )

    def settled_by(prompt: str) -> str | None:
        """The stage that flags a prompt."""
        found = running(View.of_text(prompt), it).values()
        return next((score.detector for score in found if score.flags), None)

    # Names come first: they are in the bundle anyway, questions would add to what it holds.
    named = [f"Who is {name}?" for name in examples.names]
    # The shortest: a question says less of what is to be forgotten than a passage.
    asked = sorted((row.prompt for row in examples.forget), key=len)
    settled: dict[str, str] = {}
    wanted = {stage.kind for stage in stages if stage.threshold is not None}
    for prompt in dict.fromkeys((*named, *asked[:_TRIED])):
        by = settled_by(prompt)
        if by is not None:
            settled[prompt] = by
        if len(settled) >= SELF_TESTS and wanted <= set(settled.values()):
            break
    # One for each stage first: names must not be all that a live guard is asked about.
    one_each = {by: prompt for prompt, by in reversed(settled.items())}
    positives = list(dict.fromkeys((*one_each.values(), *settled)))[:SELF_TESTS]

    def passed(rows: Sequence[Row]) -> Iterator[str]:
        return (row.prompt for row in rows if settled_by(row.prompt) is None)

    # Neighbours must be among them: everyday prompts pass whatever is made of the target.
    negatives = list(islice(passed(examples.retain), SELF_TESTS))
    if negatives:
        negatives += islice(passed(examples.background), SELF_TESTS - len(negatives))
    if not positives:
        raise DataError(
            "the detector flags none of the target's own prompts: its neighbours are too like it; "
            "give more forget rows, or take out retain rows that are about the target"
        )
    if not negatives:
        raise DataError(
            "the detector flags every neighbour: the forget set is too like them; "
            "give more neighbours, or take out forget rows that are not about the target"
        )
    return positives, negatives
