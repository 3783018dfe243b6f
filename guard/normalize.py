"""Text made comparable: case, accents, punctuation and spacing folded away."""

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class Folded:
    """A folded text that remembers where its characters came from.

    Attributes:
        text: Lower-case words without accents, single spaces between them.
        source: The original.
    """

    text: str
    source: str

    @cached_property
    def origin(self) -> Sequence[int]:
        """For each character of ``text``, its index in the original.

        Made when first asked for: most texts are searched, and hold nothing.
        """
        return [index for index, _ in _traced(self.source)]

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Maps a span of the folded text to the span of the original that it came from."""
        return self.origin[start], self.origin[end - 1] + 1


def fold(text: str) -> Folded:
    """Folds a text: NFKC, case, accents; a run of anything but letters and digits is one space.

    Characters that are not seen (zero-width joiners, soft hyphens) vanish, so that they cannot
    split a name.
    """
    if text.isascii():
        return Folded(" ".join(text.translate(_ASCII).split()), text)
    return Folded("".join([piece for _, piece in _traced(text)]), text)


def _traced(text: str) -> Iterator[tuple[int, str]]:
    """Yields each folded character with the index of the one that it came from."""
    begun = space = False
    for index, char in enumerate(text):
        for piece in _pieces(char):
            if piece == " ":
                space = begun
                continue
            if space:
                yield index, " "
                space = False
            begun = True
            yield index, piece


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


_ASCII = str.maketrans({chr(code): _pieces(chr(code)) for code in range(128)})


def letters(text: str) -> int:
    """Counts the letters and digits of a text."""
    return sum(char.isalnum() for char in text)
