"""The targets of `tests.material`, fitted with the real encoder and few everyday prompts; once."""

from collections.abc import Iterable, Sequence

import pytest

from guard.choices import DetectChoice, Intervene
from guard.compile import Remembered
from guard.data import Row
from guard.detectors.base import Encode, Examples, Placed
from guard.detectors.detection import Detection, Stages, placed
from guard.encoder import Encoder
from guard.everyday import everyday
from guard.fitting import fit_target, share
from guard.manifest import StageRecord
from guard.output.choices import OutputChoice
from guard.policy import Target
from tests.material import (
    BOOK,
    BOOK_NEIGHBOURS,
    BOOK_PASSAGES,
    BOOK_ROWS,
    PERSON,
    PERSON_NEIGHBOURS,
    PERSON_ROWS,
)

RATE = 0.02
CASCADE = {"kind": "cascade", "max_false_positive_rate": RATE, "multilingual": False}


def as_rows(pairs: Iterable[tuple[str, str]]) -> tuple[Row, ...]:
    return tuple(Row(*pair) for pair in pairs)


class Fits:
    """Targets fitted as a compilation fits them."""

    def __init__(self, encoder: Encoder) -> None:
        self.encode = Remembered(encoder)
        shipped = everyday(None)
        self.everyday = shipped[:: len(shipped) // 150][:150]
        person = as_rows(PERSON_ROWS), as_rows(PERSON_NEIGHBOURS)
        book = (*map(Row, BOOK_PASSAGES), *as_rows(BOOK_ROWS)), as_rows(BOOK_NEIGHBOURS)
        self.examples = {
            "person": Examples((PERSON,), *person, self.everyday),
            "book": Examples((BOOK,), *book, self.everyday),
        }
        targets = [
            Target(
                id=name,
                names=rows.names,
                mode="enforce",
                detect=DetectChoice.model_validate(CASCADE),
                intervene=Intervene(),
                output=OutputChoice(check=()),
            )
            for name, rows in self.examples.items()
        ]
        self.shared = share([(t, self.examples[t.id]) for t in targets], self.encode, {})
        self._placed: dict[str, dict[str, Placed]] = {}
        for target in targets:
            examples = self.examples[target.id]
            record, arrays = fit_target(target, examples, self.shared, self.encode, _silent)
            stages = [StageRecord.model_validate(stage) for stage in record["stages"]]
            self._placed[target.id] = placed(stages, arrays)

    def stages(self, targets: Sequence[str]) -> Stages:
        kinds = self._placed[targets[0]]
        return {kind: {target: self._placed[target][kind] for target in targets} for kind in kinds}

    def detection(self, targets: Sequence[str], encode: Encode | None = None) -> Detection:
        return Detection(self.stages(targets), self.shared, encode or self.encode)


def _silent(line: str) -> None:
    """Takes what a compilation reports."""


@pytest.fixture(scope="session")
def fits(encode: Encoder) -> Fits:
    return Fits(encode)
