"""One answer on its way out: what has come, what may leave, and where it has to be taken back to.

Text leaves in whole tokens, so that what has left is always the text of some first tokens: these
can be said again exactly (`guard.steering.replay`), whatever came behind them.
"""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from guard.detectors.base import Vectors
from guard.errors import OutputError
from guard.output.base import Claim, Hit, Reader

Decode = Callable[[int], str | None]


@dataclass(frozen=True)
class Leave:
    """What may leave now, beyond what has left before.

    Attributes:
        tokens: Up to which token of the answer.
        chars: Up to which character.
    """

    tokens: int
    chars: int


class Line:
    """Holds back what is not decided yet.

    Args:
        readers: What reads the answer.
        decode: The text that one more token adds; None while it is part of a character. Called
            once for each token, in their order.
    """

    def __init__(self, readers: Sequence[Reader], decode: Decode) -> None:
        self.tokens: list[int] = []
        self.text = ""
        self.left = Leave(0, 0)
        self.hit: Hit | None = None
        self._readers = readers
        self._decode = decode
        self._ends = [
            0
        ]  # where the first n tokens end; only of n behind which a character is whole
        self._whole = [0]  # those n
        self._written = 0
        self._claims: list[tuple[Reader, Claim]] = []
        self._safe = 0
        self._resumed = False

    def resume(self, left: Leave) -> None:
        """Says that some of the answer has left before it was taken back.

        What has left was safe with what came behind it then. With what comes now it may be held
        again, as the last word that may go on, or be part of a hit; it has left all the same.
        """
        self.left, self._resumed = left, True

    def feed(self, tokens: Sequence[int], text: str | None) -> None:
        """Takes what came.

        Args:
            tokens: One or more tokens.
            text: Their text, as the engine tells it (it may lag behind); None where it tells none.
        """
        for token in tokens:
            self.tokens.append(token)
            piece = self._decode(token)
            self._written += len(piece or "")
            if text is None:
                self.text += piece or ""
            if piece is not None:
                self._ends.append(self._written)
                self._whole.append(len(self.tokens))
        if text is not None:
            self.text += text

    def read(self, *, done: bool) -> list[Claim]:
        """Has everything read that came.

        Args:
            done: Whether the answer is complete.

        Returns:
            What is to be weighed before more can be known; see `weigh`.
        """
        safe, hits, self._claims = len(self.text), [], []
        for reader in self._readers:
            reading = reader.read(self.text, done=done)
            safe = min(safe, reading.safe)
            self._claims += [(reader, claim) for claim in reading.claims]
            if reading.hit is not None:
                hits.append(reading.hit)
        self.hit = min(hits, key=lambda hit: hit.start, default=None)
        if self.hit is not None:
            safe = min(safe, self.hit.start)
        if safe < min(self.left.chars, len(self.text)) and not self._resumed:
            raise OutputError("a check takes back what it has let go")
        self._safe = max(safe, min(self.left.chars, len(self.text)))
        return [claim for _, claim in self._claims]

    def weigh(self, vectors: Vectors) -> None:
        """Tells the readers the vectors of the claims that `read` has returned; then read again.

        Args:
            vectors: Float32 [n, d], of length 1, in the order of the claims.
        """
        for (reader, claim), vector in zip(self._claims, vectors, strict=True):
            reader.weigh(claim, vector)

    def leave(self, *, done: bool) -> Leave | None:
        """Lets go what may leave; None where that is nothing.

        Args:
            done: Whether the answer is complete; all of it may leave then, if nothing was hit.
        """
        if done and self.hit is None and self._safe >= len(self.text):
            found = Leave(len(self.tokens), len(self.text))
        else:
            found = self._place(self._safe)
        if (found.tokens, found.chars) == (self.left.tokens, self.left.chars):
            return None
        self.left = found
        return found

    def kept(self) -> Leave:
        """The most first tokens that say nothing of what was hit; at least those that have left."""
        assert self.hit is not None
        return self._place(self.hit.start)

    def _place(self, most: int) -> Leave:
        """The most whole tokens that end at a character or before it."""
        number = bisect_right(self._ends, min(most, len(self.text))) - 1
        found = Leave(self._whole[number], self._ends[number])
        return found if found.chars >= self.left.chars else self.left
