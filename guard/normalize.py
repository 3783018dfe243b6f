"""Text made comparable: case, accents, punctuation and spacing folded away."""

import unicodedata
from dataclasses import dataclass


@dataclass(frozen=True)
class Folded:
    """A folded text that remembers where its characters came from.

    Attributes:
        text: Lower-case words without accents, single spaces between them.
        origin: For each character of ``text``, its index in the original.
    """

    text: str
    origin: tuple[int, ...] | range

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Maps a span of the folded text to the span of the original that it came from."""
        return self.origin[start], self.origin[end - 1] + 1


def fold(text: str) -> Folded:
    """Folds a text: NFKC, case, accents; a run of anything but letters and digits is one space.

    Characters that are not seen (zero-width joiners, soft hyphens) vanish, so that they cannot
    split a name.
    """
    out: list[str] = []
    origin: list[int] = []
    space = False
    for index, char in enumerate(text):
        for piece in _pieces(char):
            if piece == " ":
                space = bool(out)
                continue
            if space:
                out.append(" ")
                origin.append(index)
                space = False
            out.append(piece)
            origin.append(index)
    return Folded("".join(out), tuple(origin))


_CACHE: dict[str, str] = {}


def _pieces(char: str) -> str:
    """What one character folds to; " " for a separator, "" for what is not seen."""
    found = _CACHE.get(char)
    if found is None:
        if unicodedata.category(char) in ("Cf", "Mn", "Me"):
            found = ""
        else:
            wide = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", char).casefold())
            kept = "".join(c for c in wide if unicodedata.category(c) not in ("Mn", "Me", "Cf"))
            found = "".join(c if c.isalnum() else " " for c in kept)
        if len(_CACHE) < 20_000:  # bounded: a hostile text could hold every code point
            _CACHE[char] = found
    return found


def letters(text: str) -> int:
    """Counts the letters and digits of a text."""
    return sum(char.isalnum() for char in text)
