"""Forbidden phrases in a trie, and which tokens would complete or continue one.

An answer is walked character by character, and every trie node that its last characters lead to is
kept (all suffixes at once, so nothing has to be gone back for). What is forbidden next follows from
those nodes: GUARD's trie term (arXiv 2505.13312), by characters in place of tokens. A token is
forbidden if it completes a phrase, be it in its midst ("1961." or " Skarvik,"), unless it goes on
with the same word ("Ann" forbids no "Annual" that is one token).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from guard.normalize import fold
from guard.steering.pieces import Vocabulary, bounded, fold_piece, read

ROOT = 0
Table = tuple[set[int], dict[int, float]]


@dataclass(frozen=True)
class State:
    """Where an answer stands.

    Attributes:
        live: Nodes of phrases that it has begun.
        last: Its last character, folded.
        waiting: Bytes of a character that is not complete.
    """

    live: frozenset[int] = frozenset()
    last: str = " "
    waiting: bytes = b""


@dataclass(frozen=True, eq=False)
class Edits:
    """What is to be done to the next token's logits.

    Attributes:
        banned: Tokens that would complete a phrase, int64 [n].
        begun: Tokens that would bring one further, int64 [m].
        shares: How much of the phrase would be said then, float32 [m], in (0, 1).
    """

    banned: npt.NDArray[np.int64]
    begun: npt.NDArray[np.int64]
    shares: npt.NDArray[np.float32]


class Trie:
    """Phrases, by their folded characters.

    Args:
        phrases: The phrases, as anyone writes them.
        vocabulary: The tokens that may say them.
    """

    def __init__(self, phrases: Iterable[str], vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        self._children: list[dict[str, int]] = [{}]
        self._char, self._depth, self._after_word = [" "], [0], [False]
        self._final: set[int] = set()
        self._length: list[int] = [0]  # of the shortest phrase that a node leads to
        for phrase in dict.fromkeys(fold(phrase).text for phrase in phrases):
            if phrase:
                self._insert(phrase)
        # Less than half of a first word may as well begin any other ("the", "Theodora").
        self._tells = [
            2 * depth >= length or self._after_word[node]
            for node, (depth, length) in enumerate(zip(self._depth, self._length, strict=True))
        ]
        self.edits = lru_cache(maxsize=1024)(self._edits)
        self._table = lru_cache(maxsize=1024)(self._make_table)

    def follow(self, state: State, token: int) -> State:
        """Returns where an answer stands after one more token."""
        text, waiting = self._read(state, token)
        return self._walk(state, text, waiting)[0]

    def _insert(self, phrase: str) -> None:
        node = ROOT
        for char in phrase:
            found = self._children[node].get(char)
            if found is None:
                found = self._children[node][char] = len(self._char)
                self._children.append({})
                self._char.append(char)
                self._depth.append(self._depth[node] + 1)
                self._after_word.append(self._after_word[node] or char == " ")
                self._length.append(len(phrase))
            node = found
            self._length[node] = min(self._length[node], len(phrase))
        self._final.add(node)

    def _read(self, state: State, token: int) -> tuple[str, bytes]:
        """The folded characters that a token adds, and what waits for the next."""
        broken = self.vocabulary.broken.get(token)
        if broken is None:
            known = 0 <= token < len(self.vocabulary.texts)
            text = self.vocabulary.texts[token] if known else ""
            return (" " + text, b"") if state.waiting and text else (text, state.waiting)
        text, waiting = read(state.waiting + broken)
        return fold_piece(text), waiting

    def _walk(self, state: State, text: str, waiting: bytes) -> tuple[State, bool]:
        """Where a text leads, and whether it completes a phrase."""
        live, last, complete = state.live, state.last, False
        for char in text:
            if char == last == " ":
                continue
            apart = bounded(last, char)
            complete = complete or (apart and not self._final.isdisjoint(live))
            found = {self._children[node].get(char) for node in live}
            if apart:
                found.add(self._children[ROOT].get(char))
            live, last = frozenset(node for node in found if node is not None), char
        complete = complete or (bool(text) and not self._final.isdisjoint(live))
        return State(live, last, waiting), complete

    def _edits(self, state: State) -> Edits:
        """What is forbidden next; remembered for the states seen last."""
        banned: set[int] = set()
        shares: dict[int, float] = {}
        if state.waiting:
            for token in self.vocabulary.continuing:
                text, waiting = self._read(state, token)
                if self._walk(state, text, waiting)[1]:
                    banned.add(token)
            state = self._walk(state, " ", b"")[0]  # any other token breaks the character off
        starts = [c for c in self._children[ROOT] if bounded(state.last, c)]
        tables = [self._table(ROOT, inner=True), *map(self._table, sorted(state.live))]
        # In the middle of a word none begins, but in a script without spaces.
        tables += [self._table(ROOT, first=char) for char in starts]
        for ban, more in tables:
            banned |= ban
            for token, share in more.items():
                shares[token] = max(share, shares.get(token, 0.0))
        begun = sorted(shares.keys() - banned)
        return Edits(
            np.array(sorted(banned), np.int64),
            np.array(begun, np.int64),
            np.array([shares[token] for token in begun], np.float32),
        )

    def _make_table(self, node: int, inner: bool = False, first: str | None = None) -> Table:
        """What completes the phrases beneath a node, and what brings them how far.

        Args:
            node: Where the answer stands.
            inner: Whether the phrase begins within the token.
            first: The only character to go on with.
        """
        index = self.vocabulary.inner if inner else self.vocabulary.whole
        # Whatever separates words is one space, so after one another says nothing.
        leads = ("", " ") if self._char[node] == " " and not inner else ("",)
        banned: set[int] = set()
        shares: dict[int, float] = {}
        paths = [(node, "")]
        while paths:
            at, path = paths.pop()
            for char, child in self._children[at].items():
                if path or first in (None, char):
                    paths.append((child, path + char))
            for text in (lead + path for lead in leads if path):
                if at in self._final:
                    banned.update(index.exact(text))
                    banned.update(
                        token
                        for longer, token in index.longer(text)
                        if bounded(text[-1], longer[len(text)])
                    )
                elif self._tells[at]:
                    share = self._depth[at] / self._length[at]
                    for token in index.exact(text):
                        shares[token] = max(share, shares.get(token, 0.0))
        return banned, shares
