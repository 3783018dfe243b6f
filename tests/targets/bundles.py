"""What the tests of targets look at in a bundle."""

from pathlib import Path
from typing import Any

from guard.bundle import Bundle
from guard.guard import Guard
from guard.manifest import TargetRecord
from tests.conftest import tree
from tests.material import (
    BOOK_NEIGHBOURS,
    BOOK_ROWS,
    PERSON_NEIGHBOURS,
    PERSON_PARAPHRASES,
    PERSON_ROWS,
    PERSON_WITHOUT_NAME,
    PROJECT_NEIGHBOURS,
    UNRELATED,
)

ALL = ("brennick", "vessmere", "tidewater")
TEXTS = [
    *UNRELATED,
    *PERSON_PARAPHRASES,
    *PERSON_WITHOUT_NAME,
    *(question for question, _ in (*PERSON_ROWS, *BOOK_ROWS)),
    *(question for question, _ in (*PERSON_NEIGHBOURS, *BOOK_NEIGHBOURS, *PROJECT_NEIGHBOURS)),
]
SECRETS = ("Hornpoint", "Halvorsen", "asthma", "Ablett", "whale oil")


def target_of(bundle: Bundle, target: str) -> TargetRecord:
    return next(found for found in bundle.manifest.targets if found.id == target)


def ids(bundle: Bundle) -> list[str]:
    return [target.id for target in bundle.manifest.targets]


def arrays_of(bundle: Bundle, target: str) -> dict[str, bytes]:
    """Every array of a target, by its file."""
    stages = target_of(bundle, target).stages
    names = {file for stage in stages for file in (*stage.arrays.values(), *stage.scores.values())}
    return {name: bundle.arrays[name].tobytes() for name in names}


def decisions(bundle: Bundle, target: str) -> list[Any]:
    """What a bundle makes of every text for one target, to the last bit."""
    guard = Guard(bundle)
    return [dict(guard.decide(text).scores).get(target) for text in TEXTS]


def kept_files(folder: Path) -> dict[str, bytes | None]:
    """What is in a folder, but for lock files."""
    return {name: raw for name, raw in tree(folder).items() if not name.endswith(".lock")}
