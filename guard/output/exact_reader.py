"""Reads one answer for the names and facts of all targets."""

from collections import deque
from dataclasses import dataclass, field
from functools import cached_property

from guard.detectors.base import Vectors
from guard.output.about import About, differ
from guard.output.base import Asked, Claim, Hit, Reader, Reading
from guard.output.meaning import claim
from guard.output.memory import HINT, NAME, TELLING, WEAK, Fact, Memory
from guard.output.misspelt import NearlyWalk
from guard.output.phrases import Match, Walk
from guard.output.sentences import Sentences
from guard.output.words import Words

KIND = "exact"
_NEAR = 300  # characters that two facts of one row may be apart
_APART = 3  # characters between them, at least: "Astana, Kazakhstan" is one place


@dataclass
class _Doubt:
    """Facts of one sentence that has not been weighed: held from the first one's start on."""

    target: int
    start: int
    rows: set[int] = field(default_factory=set)
    said: list[str] = field(default_factory=list)
    claim: Claim | None = None


class ExactReader(Reader):
    """Reads one answer."""

    def __init__(self, memory: Memory, asked: Asked) -> None:
        self._memory = memory
        self._asked = asked
        self._words = Words()
        self._walk = Walk(memory.phrases)
        self._nearly = NearlyWalk(memory.names)
        self._sentences = Sentences()
        self._doubts: list[_Doubt] = []
        # By target and row, where each form stood last.
        self._told: dict[tuple[int, int], dict[str, Match[Fact]]] = {}
        self._safe = 0
        self._hit: Hit | None = None

    def read(self, text: str, *, done: bool) -> Reading:
        """Reads on; see `guard.output.base.Reader.read`."""
        if self._hit:
            return self._reading()
        words, last = self._words.read(text, done=done)
        ended = deque(self._sentences.read(text, done=done))
        for word in words:
            while ended and ended[0][1] <= word.start:
                self._ask(text, *ended.popleft())
            for match in (*self._walk.step(word), *self._nearly.step(word)):
                self._judge(text, match)
            if self._hit:
                return self._reading()
        for start, end in ended:
            self._ask(text, start, end)
        begun = () if done else (self._walk.held(last), self._nearly.held(last))
        starts = [doubt.start for doubt in self._doubts]
        starts += [start for start in begun if start is not None]
        self._safe = max(self._safe, min([len(text), *starts]))
        return self._reading()

    def _reading(self) -> Reading:
        claims = tuple(doubt.claim for doubt in self._doubts if doubt.claim is not None)
        if self._hit is not None:
            claims = tuple(one for one in claims if one.start < self._hit.start)
        # A hit is told when nothing before it can turn out to be one.
        return Reading(self._safe, None if claims else self._hit, claims)

    def _ask(self, text: str, start: int, end: int) -> None:
        """Asks for the meaning of a sentence that has ended, where something in it is in doubt."""
        for doubt in self._doubts:
            if doubt.claim is None and doubt.start < end:
                said = claim(self._asked.meant, text[start:end])
                target = self._memory.targets[doubt.target].target
                doubt.claim = Claim(target, doubt.start, end, said)

    def weigh(self, claim: Claim, vector: Vectors) -> None:
        """Decides about a sentence with weak facts."""
        for doubt in [doubt for doubt in self._doubts if doubt.claim == claim]:
            self._doubts.remove(doubt)
            owned = self._memory.targets[doubt.target]
            value, row = (
                owned.claims.nearest(vector, frozenset(doubt.rows)) if owned.claims else (-1.0, -1)
            )
            if value >= owned.line and (self._hit is None or doubt.start < self._hit.start):
                phrases = tuple(dict.fromkeys((*doubt.said, *owned.written[row])))
                self._hit = Hit(KIND, owned.target, doubt.start, claim.end, phrases)

    def _judge(self, text: str, match: Match[Fact]) -> None:
        fact = match.payload
        if self._free(fact):
            return
        asked = fact.form in self._about.asked[fact.target]
        named = fact.kind == WEAK and fact.target in self._about.named
        if (
            fact.kind == NAME
            or (not asked and (fact.kind == TELLING or named))
            or (fact.kind != HINT and self._beside(match))
        ):
            self._found(text, match)
            return
        self._doubt(text, match)
        for row in fact.rows if fact.kind != HINT else ():
            self._told.setdefault((fact.target, row), {})[fact.form] = match

    def _free(self, fact: Fact) -> bool:
        """Whether the prompt brought a fact, and may."""
        target = self._memory.targets[fact.target].target
        return target in self._asked.given and fact.form in self._about.prompt[fact.target]

    def _beside(self, match: Match[Fact]) -> bool:
        """Whether another name or number of the same row is close by, or in the question."""
        fact = match.payload
        for row in fact.rows:
            for other in self._told.get((fact.target, row), {}).values():
                apart = match.start - other.end
                if differ(other.payload.form, fact.form) and _APART <= apart <= _NEAR:
                    return True
            asked = self._about.rows[fact.target].get(row, set())
            if fact.form not in asked and any(differ(form, fact.form) for form in asked):
                return True
        return False

    def _doubt(self, text: str, match: Match[Fact]) -> None:
        fact = match.payload
        for doubt in self._doubts:
            if doubt.claim is None and doubt.target == fact.target:
                break
        else:
            doubt = _Doubt(fact.target, match.start)
            self._doubts.append(doubt)
        doubt.start = min(doubt.start, match.start)
        doubt.rows |= fact.rows
        doubt.said.append(text[match.start : match.end])

    def _found(self, text: str, match: Match[Fact]) -> None:
        """Notes a hit; it begins with what is in doubt of the same target in this sentence."""
        target = match.payload.target
        doubts = [d.start for d in self._doubts if d.target == target and d.claim is None]
        start = min([match.start, *doubts])
        if self._hit is not None and self._hit.start <= start:
            return
        fact = match.payload
        owned = self._memory.targets[fact.target]
        phrases = [text[match.start : match.end]]
        phrases += owned.called if fact.kind == NAME else ()
        phrases += [phrase for row in sorted(fact.rows)[:4] for phrase in owned.written[row]]
        self._hit = Hit(KIND, owned.target, start, match.end, tuple(dict.fromkeys(phrases)))

    @cached_property
    def _about(self) -> About:
        return About(self._memory, self._asked)
