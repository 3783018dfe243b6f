"""How much the detection benchmark asks, in a full run and in a trial."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Size:
    """How much is asked; where it is None, all there is.

    Attributes:
        suite: What the result calls it.
        folds: How many folds of a suite.
        side_folds: How many of TOFU's one and five percent.
        questions: Positives and negatives of a fold, and of each set elsewhere.
        retain: Retain rows of a target.
        benign: Prompts of each benign set for the guard.
        compared: Prompts of each benign set for what the guard is compared with.
        evasions: Questions put in each disguise to the guard; half as many to the others.
        long: The same, of those that take 2,000 words.
        staged: Prompts of each set whose way through the guard's stages is followed.
        lume: Questions of a task of LUME, on each side of a fold.
        timed: Prompts timed by number of words.
        mixed: Prompts timed as they come, from each benign set.
        targets: Numbers of targets timed.
        epochs: Of the classifier.
    """

    suite: str
    folds: int | None
    side_folds: int | None
    questions: int | None
    retain: int | None
    benign: int | None
    compared: int
    evasions: int
    long: int
    staged: int
    lume: int | None
    timed: Mapping[int, int]
    mixed: int
    targets: Sequence[int]
    epochs: int


FULL = Size(
    "full", None, 2, None, None, None, 200, 100, 12, 200, 100,
    {8: 200, 32: 200, 128: 60, 512: 24, 2048: 8}, 60, (1, 10, 100), 3,
)  # fmt: skip
QUICK = Size(
    "quick", 1, 1, 24, 80, 10, 5, 6, 1, 5, 12, {8: 5, 32: 5, 128: 2, 512: 1}, 2, (1, 10), 1
)
