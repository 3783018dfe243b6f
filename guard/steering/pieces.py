"""What each token adds to a text: folded as phrases are, so that no way of cutting a word escapes.

A word can be cut into tokens in hundreds of ways, and a model that may not take one takes another.
So phrases are matched by their characters, whatever the tokens.
"""

import bisect
import codecs
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any

from guard.normalize import fold
from guard.steering.base import Engine
from guard.steering.vocabulary import Lexicon
from guard.view import is_unspaced

_SENTENCE = re.compile(r"[.!?。！？\n]")


def bounded(before: str, after: str) -> bool:
    """Whether one word may end and another begin between two characters of a folded text."""
    return " " in (before, after) or is_unspaced(before) or is_unspaced(after)


class Index:
    """Tokens by their text, for a look at all that begin with another text.

    Args:
        entries: Texts, each with a token.
    """

    def __init__(self, entries: Iterable[tuple[str, int]]) -> None:
        self._entries = sorted(entries)

    def exact(self, text: str) -> Iterator[int]:
        """Yields the tokens that are just this text."""
        for at in range(bisect.bisect_left(self._entries, (text, -1)), len(self._entries)):
            found, token = self._entries[at]
            if found != text:
                return
            yield token

    def longer(self, text: str) -> Iterator[tuple[str, int]]:
        """Yields what begins with this text and goes on."""
        for at in range(bisect.bisect_left(self._entries, (text, 1 << 62)), len(self._entries)):
            if not self._entries[at][0].startswith(text):
                return
            yield self._entries[at]


class Vocabulary:
    """The tokens of a tokenizer.

    Args:
        pieces: Each token's bytes as they stand in a running text; none for what is not seen.

    Attributes:
        texts: Each token's folded text, with the space that it begins or ends with. Of a token
            that breaks a character, what stands before.
        broken: The bytes of tokens that break a character.
        continuing: Those of them that begin within a character.
        whole: All tokens that begin with a character.
        inner: Their tails: all that begins with a word within a token.
        ends: Tokens that end a sentence.
    """

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self.texts: list[str] = []
        self.broken: dict[int, bytes] = {}
        self.ends: set[int] = set()
        for token, piece in enumerate(pieces):
            try:
                text = piece.decode()
            except UnicodeDecodeError:
                self.broken[token] = piece
                text = "" if _within(piece) else read(piece)[0]
            self.texts.append(fold_piece(text))
            if _SENTENCE.search(text):
                self.ends.add(token)
        self.continuing = [token for token, piece in self.broken.items() if _within(piece)]
        within = frozenset(self.continuing)
        seen = [(t, n) for n, t in enumerate(self.texts) if t and n not in within]
        self.whole = Index(seen)
        self.inner = Index((text[at:], token) for text, token in seen for at in _starts(text))


def fold_piece(text: str) -> str:
    """Folds a piece of a text; a separator at either end stays, as one space."""
    return fold(f"a{text}a").text[1:-1]


def read(raw: bytes) -> tuple[str, bytes]:
    """Returns the characters of some bytes, and the bytes of one that is not complete yet."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    text = decoder.decode(raw)
    return text, decoder.getstate()[0]


@lru_cache(maxsize=2)
def vocabulary(engine: Engine) -> Vocabulary:
    """Reads the vocabulary of an engine's tokenizer.

    Raises:
        ModelError: The tokenizer does not say what its tokens stand for.
    """
    return Vocabulary([piece or b"" for piece in Lexicon(served_tokenizer(engine)).pieces])


@lru_cache(maxsize=2)
def served_tokenizer(engine: Engine) -> Any:
    """The Hugging Face tokenizer of an engine."""
    if engine.tokenizer is not None:
        return engine.tokenizer
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(engine.folder)


def _starts(text: str) -> Iterator[int]:
    """Yields where a word begins within a folded text."""
    for at in range(1, len(text)):
        if text[at] != " " and bounded(text[at - 1], text[at]):
            yield at


def _within(piece: bytes) -> bool:
    return 0x80 <= piece[0] < 0xC0
