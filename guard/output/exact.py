"""Names, dates and facts of all targets, found in an answer as it is written.

What *tells* (`guard.output.facts`) is a hit by itself, names also where they are only nearly
written (`guard.output.misspelt`). A *weak* fact, a year or a city, is one

* where the prompt names the target, or says by a date, a title or three clues of a forget question
  whom it means: who asks about the subject is told a fact of it;
* where another name or number of the same forget row is close by, in the answer or the question;
* or, as any *hint* is, where its sentence, after the question, means what a forget row means that
  says it. The line is drawn at compile time so that no more than the share of sentences that may be
  false alarms (`SemanticOptions`) lies above it, of the rows to be kept.

Saying again what the *question* says tells nobody anything new: a fact that it holds counts as
weak, and its sentence is weighed. The subject's names stay a hit: once an answer has brought one
back, what was learned follows.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

from guard.options import Strict
from guard.output.base import Asked, Check, Known, Material, Reader
from guard.output.exact_reader import KIND, ExactReader
from guard.output.facts import facts_of
from guard.output.meaning import Claims, claim, kept_claims
from guard.output.memory import CLUE, HINT, NAME, SIGN, TELLING, WEAK, Fact, Memory, Owned
from guard.output.misspelt import Nearly
from guard.output.phrases import Phrases
from guard.output.semantic import SemanticOptions
from guard.parts import Parts

_MOST = 16  # phrases of a row that the rest of an answer may not say
_NEVER = 2.0  # no similarity reaches it


class Exact(Check):
    """Finds what tells a target, word for word."""

    kind: ClassVar[str] = KIND
    Options: ClassVar[type[Strict]] = SemanticOptions

    def __init__(self, known: Sequence[Known]) -> None:
        super().__init__(known)
        every = [pair for number, one in enumerate(known) for pair in _facts(number, one.parts)]
        asked = [pair for pair in every if pair[1].kind in (SIGN, CLUE)]
        facts = [pair for pair in every if pair[1].kind not in (SIGN, CLUE)]
        names = [pair for pair in facts if pair[1].kind == NAME]
        others = [pair for pair in facts if pair[1].kind in (TELLING, WEAK)]
        owned = [_owned(one) for one in known]
        self._memory = Memory(Phrases(facts), Nearly(names, others), Phrases(asked), owned)

    @classmethod
    def fit(cls, material: Material, options: Any) -> Parts:
        """Sorts what tells the target, and draws the line for what only its meaning decides.

        Raises:
            DataError: There are no rows to be kept to draw the line by.
        """
        examples = material.examples
        facts = facts_of(examples)
        data: dict[str, Any] = {
            "names": list(facts.names),
            "called": list(examples.names),
            TELLING: facts.telling,
            WEAK: facts.weak,
            HINT: facts.hints,
            SIGN: facts.signs,
            CLUE: facts.clues,
            "written": [phrases[:_MOST] for phrases in facts.written],
            "line": _NEVER,
        }
        among = {
            row for some in (facts.weak, facts.hints) for rows in some.values() for row in rows
        }
        claims = Claims.of(examples.forget, material.encode, among)
        if claims is None:
            return Parts(data)
        # Neighbours count whether they say a fact or not: others like them will say one.
        near = [claim(*one) for one in kept_claims(examples.retain)]
        weighed = Phrases((form, None) for form in (*facts.weak, *facts.hints))
        everyday = kept_claims(examples.background)
        far = [claim(*one) for one in everyday if weighed.find(one[1])]
        if not near and not far:
            far = [claim(*one) for one in everyday]
        data["line"] = claims.line(near, far, options.max_false_alarm_rate, material.encode)
        return Parts(data, claims.arrays())

    def start(self, asked: Asked) -> Reader:
        """Begins to read an answer."""
        return ExactReader(self._memory, asked)


def _facts(number: int, parts: Parts) -> list[tuple[str, Fact]]:
    data = parts.data
    found = [(form, Fact(number, form, NAME, frozenset())) for form in data["names"]]
    for kind in (TELLING, WEAK, HINT, SIGN, CLUE):
        for form, rows in data[kind].items():
            found.append((form, Fact(number, form, kind, frozenset(rows))))
    return found


def _owned(known: Known) -> Owned:
    data = known.parts.data
    written = [tuple(phrases) for phrases in data["written"]]
    called, line = tuple(data["called"]), float(data["line"])
    return Owned(known.target, called, written, line, Claims.load(known.parts))
