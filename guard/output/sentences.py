"""The sentences of an answer as it grows."""

import re

_LONGEST = 400  # characters; a text without full stops is cut at a space
# A full stop ends a sentence only when it is known what follows ("3.14", "J. Smith").
_END = re.compile(r"(?:(?<!\b[A-Z])\.|[!?…])+[\"'”’)\]*]{0,3}(?=\s)|[。！？]|\n")
_BACK = 8  # signs that may belong to an end whose last was not there yet


class Sentences:
    """Cuts an answer into sentences as it grows.

    Attributes:
        start: Where the sentence begins that has not ended.
    """

    def __init__(self) -> None:
        self.start = 0
        self._seen = 0

    def read(self, text: str, *, done: bool) -> list[tuple[int, int]]:
        """Returns the sentences that have ended since the last call: start and end of each.

        Args:
            text: The answer so far.
            done: Whether that is all.
        """
        found: list[tuple[int, int]] = []
        end = self._end(text)
        while end is not None:
            found.append((self.start, end))
            self.start = self._seen = end
            end = self._end(text)
        self._seen = len(text)
        if done and self.start < len(text):
            found.append((self.start, len(text)))
            self.start = len(text)
        return [(start, end) for start, end in found if text[start:end].strip()]

    def _end(self, text: str) -> int | None:
        match = _END.search(text, max(self.start, self._seen - _BACK))
        limit = self.start + _LONGEST
        if match and match.end() <= limit:
            return match.end()
        if len(text) <= limit:
            return None
        space = text.rfind(" ", self.start, limit)
        return space + 1 if space > self.start else limit


def sentences(text: str) -> list[str]:
    """Returns the sentences of a text."""
    return [text[start:end].strip() for start, end in Sentences().read(text, done=True)]
