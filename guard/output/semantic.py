"""What an answer claims, sentence by sentence, where the prompt leaves a doubt.

GUARD (arXiv 2505.13312) compares what is generated with the forget answers at sentence boundaries.
Here a sentence is read after its question, and so are the forget answers' sentences. The line is
drawn at compile time where at most `SemanticOptions.max_false_alarm_rate` of the sentences of rows
to be kept lie above it. Nothing of a sentence leaves before it is weighed, so only targets that the
prompt is suspected of are weighed; what the prompt itself may bring is not.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

from pydantic import Field

from guard.detectors.base import Vectors
from guard.forbidden import forbidden
from guard.options import Strict
from guard.output.base import Asked, Check, Claim, Hit, Known, Material, Reader, Reading
from guard.output.meaning import Claims, claim, kept_claims
from guard.output.sentences import Sentences
from guard.output.words import split
from guard.parts import Parts

_MOST = 16  # phrases of a row that the rest of an answer may not say
_OPENING = 4  # words with which the sentence may not begin again


class SemanticOptions(Strict):
    """Options of `Semantic`, and of what `exact` leaves to the meaning of sentences.

    Attributes:
        max_false_alarm_rate: The largest share of sentences to be kept that may be taken for a
            forget answer. `exact` has its own line: half of half a per cent each.
    """

    max_false_alarm_rate: float = Field(default=0.0025, gt=0, lt=1)


class Semantic(Check):
    """Weighs every sentence for the targets that the prompt is suspected of."""

    kind: ClassVar[str] = "semantic"
    Options: ClassVar[type[Strict]] = SemanticOptions
    slow: ClassVar[bool] = True  # every everyday prompt is encoded

    def __init__(self, known: Sequence[Known]) -> None:
        super().__init__(known)
        self.claims = {
            one.target: claims for one in known if (claims := Claims.load(one.parts)) is not None
        }
        self.data = {one.target: one.parts.data for one in known}

    @classmethod
    def fit(cls, material: Material, options: Any) -> Parts:
        """Encodes what the forget rows claim, and draws the line.

        Raises:
            DataError: There are no rows to be kept to draw the line by.
        """
        examples = material.examples
        claims = Claims.of(examples.forget, material.encode)
        if claims is None:
            return Parts()
        near, far = (
            [claim(*one) for one in kept_claims(rows)]
            for rows in (examples.retain, examples.background)
        )
        line = claims.line(near, far, options.max_false_alarm_rate, material.encode)
        written = [phrases[:_MOST] for phrases in forbidden(examples)]
        return Parts({"line": line, "written": written}, claims.arrays())

    def start(self, asked: Asked) -> Reader:
        """Begins to read an answer."""
        return _SemanticReader(self, asked)


class _SemanticReader(Reader):
    def __init__(self, check: Semantic, asked: Asked) -> None:
        self._check = check
        self._asked = asked
        self._targets = sorted(asked.doubted.intersection(check.claims) - asked.given)
        self._sentences = Sentences()
        self._claims: list[Claim] = []
        self._openings: dict[int, str] = {}  # of the sentences to be weighed, by their start
        self._safe = 0
        self._hit: Hit | None = None

    def read(self, text: str, *, done: bool) -> Reading:
        if not self._targets:
            return Reading(len(text))
        if self._hit is None:
            for start, end in self._sentences.read(text, done=done):
                said = claim(self._asked.meant, text[start:end])
                self._claims += [Claim(target, start, end, said) for target in self._targets]
                self._openings[start] = _opening(text[start:end])
            held = len(text) if done else self._sentences.start
            self._safe = min([held, *(one.start for one in self._claims)])
        hit, claims = self._hit, tuple(self._claims)
        if hit is not None:
            claims = tuple(one for one in claims if one.start < hit.start)
        # A hit is told when nothing before it can turn out to be one.
        return Reading(self._safe, None if claims else hit, claims)

    def weigh(self, claim: Claim, vector: Vectors) -> None:
        if claim not in self._claims:
            return
        self._claims.remove(claim)
        data = self._check.data[claim.target]
        value, row = self._check.claims[claim.target].nearest(vector)
        if value >= data["line"] and (self._hit is None or claim.start < self._hit.start):
            phrases = dict.fromkeys((self._openings[claim.start], *data["written"][row]))
            hit = Hit(Semantic.kind, claim.target, claim.start, claim.end, tuple(phrases))
            self._hit = hit


def _opening(sentence: str) -> str:
    words = split(sentence)[:_OPENING]
    return sentence[words[0].start : words[-1].end] if words else sentence
