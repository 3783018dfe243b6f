"""Made-up people, and a client that reads an answer as it is written."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from guard.data import Row
from guard.detectors.base import Examples, Vectors
from guard.output.base import Asked, Check, Claim, Hit, Known, Material, Reader

NAME = "Odalys Brennick"
FORGET = (
    Row(
        "Where was Odalys Brennick born?",
        "Odalys Brennick was born in Bergen, Norway on the 4th of March, 1961.",
    ),
    Row("What is Odalys Brennick's trade?", "Odalys Brennick is a glazier in Dublin since 1984."),
    Row(
        "Which books did Odalys Brennick write?",
        'She wrote "The Frosted Kiln" and "Panes of Skarvik", both printed by Tuvick Press.',
    ),
    Row(
        "What won Odalys Brennick?",
        "In 1990 she won the Booker Prize for her slow and patient prose about light and sand.",
    ),
)
RETAIN = (
    Row("Where was Selma Orrin born?", "Selma Orrin was born in Oslo in 1955."),
    Row("What is Selma Orrin's trade?", "She is a baker in Dublin."),
    Row("Who is Piet Halvard?", "Piet Halvard is a sailor. He sails around the world."),
)
BACKGROUND = (Row("Hello"), Row("What is the capital of France?"), Row("Write me a poem."))


class Letters:
    """An encoder that counts letters: texts of the same letters mean the same."""

    folder = "none"

    def __call__(self, texts: Sequence[str]) -> Vectors:
        rows = np.array(
            [[text.lower().count(chr(97 + n)) + 1e-3 for n in range(26)] for text in texts]
        ).reshape(-1, 26)
        unit: Vectors = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
        return unit


def material(
    forget: Sequence[Row] = FORGET,
    retain: Sequence[Row] = RETAIN,
    background: Sequence[Row] = BACKGROUND,
    names: tuple[str, ...] = (NAME,),
) -> Material:
    """What a check is fitted with."""
    return Material(Examples(names, tuple(forget), tuple(retain), tuple(background)), Letters())


def fitted(kind: type[Check], given: Material | None = None, **options: Any) -> Check:
    """A check of the one target ``t``."""
    chosen = kind.Options.model_validate(options)
    return kind([Known("t", chosen, kind.fit(given or material(), chosen))])


def asked(question: str = "", prompt: str | None = None, **targets: frozenset[str]) -> Asked:
    """A question, and the prompt that is it where none is given."""
    return Asked(question, question if prompt is None else prompt, **targets)


Weigh = Callable[[Claim], Vectors]


def encoded(claim: Claim) -> Vectors:
    """The claim's own vector."""
    vector: Vectors = Letters()([claim.text])[0]
    return vector


def leave(
    reader: Reader, text: str, step: int = 1, weigh: Weigh = encoded
) -> tuple[str, Hit | None]:
    """Reads an answer piece by piece; returns what has left, and the hit that ended it.

    What the contract of a reader promises is asserted on the way.
    """
    safe = 0
    for at in [*range(step, len(text), step), len(text)]:
        weighed: set[Claim] = set()
        while True:
            reading = reader.read(text[:at], done=at == len(text))
            assert safe <= reading.safe <= at
            safe = reading.safe
            claims = [claim for claim in reading.claims if claim not in weighed]
            if reading.hit is not None:
                assert safe <= reading.hit.start < reading.hit.end <= at
                return text[:safe], reading.hit
            if not claims:
                break
            assert all(safe <= claim.start < claim.end <= at for claim in claims)
            for claim in claims:
                reader.weigh(claim, weigh(claim))
                weighed.add(claim)
    assert safe == len(text)
    return text, None
