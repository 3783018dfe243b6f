"""What is asked in place of a prompt that is refused: as long, of the same build, and of no sense.

The server answers it in its own form, errors about the client's options included. Each token
becomes a word by a key of this process's own: what begins alike begins alike here, too, so that
what the server tells of its prefix cache is what it would have told.
"""

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from guard.proxy.counting import Counter
from guard.proxy.fields import names
from guard.proxy.said import LIMITS, STOPS

_KEY = secrets.token_bytes(16)
_WORDS = sorted(
    names(
        """time way day thing part place case week point hand room side line end house water
        story month lot right area money car minute moment air door window table paper street
        tree light sound color morning evening summer winter river garden road bread milk apple
        chair bridge stone cloud rain snow wind field hill lake boat train bag cup plate spoon"""
    )
)
_STOP = "\ue000"  # said by no model
# What a prompt is built with, and no text of it.
_KEPT = names(
    """type role id call_id tool_call_id tool_use_id name tool_name status signature
    cache_control phase"""
)
_LOOSE = ("documents", "prediction", "min_tokens", "stop_token_ids")


class Filler:
    """Puts everyday words in place of texts, as many as there are tokens.

    Args:
        counter: Tells the tokens.
    """

    def __init__(self, counter: Counter) -> None:
        self.counter = counter
        self._words = _words(counter)
        self._put: dict[str, str] = {}

    def text(self, text: str) -> str:
        """The words for a text."""
        put = " ".join(_word(piece, self._words) for piece in self.counter.pieces(text))
        self._put[put] = text
        return put

    def value(self, value: Any) -> Any:
        """The same of all texts of a JSON value; its build stays."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list):
            if value and all(isinstance(one, int) for one in value):
                return self._tokens(value)
            return [self.value(one) for one in value]
        if not isinstance(value, Mapping):
            return value
        found: dict[str, Any] = {}
        for name, one in value.items():
            if name == "arguments" and isinstance(one, str):
                found[name] = "{}"
            elif name == "input" and isinstance(one, Mapping):
                found[name] = {}
            else:
                found[name] = one if name in _KEPT else self.value(one)
        return found

    def told(self, message: str) -> str:
        """A message about what was put, as one about what stood there."""
        for put in sorted(filter(None, self._put), key=len, reverse=True):
            if " " in put:
                message = message.replace(put, self._put[put])
        return message

    def _tokens(self, ids: list[int]) -> list[int]:
        words = " ".join(_word(str(one), self._words) for one in ids)
        put = self.counter.tokens(words)
        return [*put, *put[-1:] * len(ids)][: len(ids)]


def shortened(
    body: Mapping[str, Any], tokens: int, limit: str | None, window: int | None
) -> dict[str, Any]:
    """A body that asks for a few tokens only, and for no other end.

    What the server would call an error stays, so that it does.

    Args:
        body: The body.
        tokens: How many.
        limit: The field that says so where the client's does not.
        window: The most tokens that the server takes, where it tells.
    """
    found = dict(body)
    limits = {name: body[name] for name in LIMITS if body.get(name) is not None}
    least = body.get("min_tokens") or 0
    for most in limits.values():
        if not _count(most) or (window is not None and most > window):
            return found
        if not _count(least, 0) or most < least:
            return found
    found |= {name: min(most, tokens) for name, most in limits.items()}
    if limit is not None and not limits:
        found[limit] = tokens
    for name in STOPS:
        if isinstance(stops := body.get(name), str | list):
            put = [one and _STOP for one in ([stops] if isinstance(stops, str) else stops)]
            found[name] = put[0] if isinstance(stops, str) else put
    choice = body.get("tool_choice")
    kind = choice.get("type") if isinstance(choice, Mapping) else choice
    if kind in ("any", "tool"):  # Anthropic's
        found["tool_choice"] = {"type": "none"}
    elif kind in ("required", "function"):
        found["tool_choice"] = "none"  # a call could not be finished
    return {name: one for name, one in found.items() if name not in _LOOSE}


@lru_cache(maxsize=2)  # a guard that is being replaced, and its successor
def _words(counter: Counter) -> Sequence[str]:
    """Those that are one token each, at the beginning of a text and after another word.

    A tokenizer may have " evening" and not "evening". All of them where no one can tell.
    """
    if counter.tokenizer is None:
        return _WORDS
    alone = [word for word in _WORDS if counter.count(word) == 1]
    return [word for word in alone if counter.count(f"{word} {word}") == 2] or _WORDS


def _word(piece: str, words: Sequence[str]) -> str:
    digest = hashlib.blake2b(piece.encode(), key=_KEY, digest_size=4).digest()
    return words[int.from_bytes(digest) % len(words)]


def _count(value: Any, least: int = 1) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least
