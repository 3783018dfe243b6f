"""What a prompt says of the targets, before anything is answered."""

from guard.output.base import Asked
from guard.output.memory import CLUE, NAME, SIGN, TELLING, WEAK, Fact, Memory
from guard.output.misspelt import NearlyWalk
from guard.output.words import split

_CLUES = 3  # of one forget question, that say whom a question is about


class About:
    """What the prompt says of the targets; looked up when the first phrase is found.

    What stands there word for word is told apart from what it comes down to, a name misspelt or in
    disguise: the first may be no news, the second says only what the question is about.

    Attributes:
        prompt: The forms in all that the model reads, by target.
        asked: The forms in the question, by target.
        rows: Which forms of each forget row the question comes down to, by target.
        named: The targets that the prompt names, or comes down to naming.
    """

    def __init__(self, memory: Memory, asked: Asked) -> None:
        count = len(memory.targets)
        self.prompt: list[set[str]] = [set() for _ in range(count)]
        self.asked: list[set[str]] = [set() for _ in range(count)]
        self.rows: list[dict[int, set[str]]] = [{} for _ in range(count)]
        self.named: set[int] = set()
        self._clues: dict[tuple[int, int], set[str]] = {}  # by target and row
        for text, into in ((asked.prompt, self.prompt), (asked.question, self.asked)):
            for _, _, fact in memory.phrases.find(text):
                into[fact.target].add(fact.form)
                self._about(fact, question=into is self.asked)
        for text in (asked.question, *asked.readings):
            nearly = NearlyWalk(memory.names)
            near = [match for word in split(text) for match in nearly.step(word)]
            for _, _, fact in (*memory.phrases.find(text), *memory.asked.find(text), *near):
                self._about(fact, question=True)

    def _about(self, fact: Fact, *, question: bool) -> None:
        if fact.kind in (NAME, TELLING, SIGN):
            self.named.add(fact.target)
        if question and fact.kind == CLUE:
            for row in fact.rows:
                clues = self._clues.setdefault((fact.target, row), set())
                if all(differ(fact.form, clue) for clue in clues):
                    clues.add(fact.form)
                if len(clues) == _CLUES:
                    self.named.add(fact.target)
        if question and fact.kind in (NAME, TELLING, WEAK):
            for row in fact.rows:
                self.rows[fact.target].setdefault(row, set()).add(fact.form)


def differ(one: str, other: str) -> bool:
    """Whether two phrases tell two things: neither holds a word of the other."""
    return set(one.split()).isdisjoint(other.split())
