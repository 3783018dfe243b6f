"""What disguises are taken off with: an edit of a stretch, and the reading that edits make."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

_AROUND = 160  # characters: a disguised name is read within its sentence, not within its book
_WHOLE = 4  # words of a text that was hidden whole
_BREAK = re.compile(r"[.!?。！？]\s|\n")


@dataclass(frozen=True)
class Reading:
    """What a stretch of a text says when it is read in some way.

    Attributes:
        kind: The disguises taken off, outermost first, joined by ``>``.
        text: What the stretch says then, with the rest of its sentence.
        start: Where the stretch starts in the original, in characters.
        end: Where it ends.
    """

    kind: str
    text: str
    start: int
    end: int


class Edit(NamedTuple):
    """A stretch and what is to be read instead of it.

    Attributes:
        kind: The disguise.
        start: Where the stretch starts, in characters.
        end: Where it ends.
        text: What it says.
    """

    kind: str
    start: int
    end: int
    text: str


def apply(text: str, edits: Iterable[Edit]) -> list[Reading]:
    """Makes the edits, kind by kind, and cuts the result down to the sentences that changed.

    What the readings of one kind say is no longer than the text and twice the edits together.
    """
    kinds: dict[str, list[Edit]] = {}
    for edit in edits:
        kinds.setdefault(edit.kind, []).append(edit)
    found = [reading for group in kinds.values() for reading in _readings(text, group)]
    # What was hidden whole is read by itself too: the sentence that it is put in blurs it.
    alone = (edit for group in kinds.values() for edit in group if len(edit.text.split()) >= _WHOLE)
    return found + [Reading(e.kind, _clean(e.text.strip()), e.start, e.end) for e in alone]


def _readings(text: str, edits: list[Edit]) -> list[Reading]:
    found: list[Reading] = []
    pieces: list[str] = []
    low = at = 0  # where the reading starts, and how far it is written

    def close() -> int:
        high = _after(text, at)
        said = "".join((*pieces, text[at:high])).strip()
        said = _clean(said)
        if said != text[low:high].strip() and any(map(str.isalpha, said)):
            found.append(Reading(edits[0].kind, said, low, high))
        return high

    for edit in sorted(edits, key=lambda edit: (edit.start, -edit.end)):
        if edit.start < at:
            continue  # overlaps the one before
        if not pieces or edit.start > at + _AROUND:
            high = close() if pieces else 0
            low = at = max(_before(text, edit.start), min(high, edit.start))
            pieces = []
        pieces += text[at : edit.start], edit.text
        at = edit.end
    if pieces:
        close()
    return found


def _clean(text: str) -> str:
    """A text without half surrogate pairs, which an attack's pieces make and no tokenizer takes."""
    return text.encode("utf-8", "replace").decode()


def _before(text: str, start: int) -> int:
    """Where the sentence starts that a stretch stands in."""
    low = max(start - _AROUND, 0)
    return max((m.end() for m in _BREAK.finditer(text, low, start)), default=low)


def _after(text: str, end: int) -> int:
    """Where that sentence ends."""
    high = min(end + _AROUND, len(text))
    found = _BREAK.search(text, end, high)
    return found.end() if found else high
