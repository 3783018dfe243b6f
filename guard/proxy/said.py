"""What a refusal says to one request: its text in pieces, cut where an answer would be.

A client's own limits hold for it as they do for any answer: a stop text ends it, and so does the
number of tokens that was asked for. The pieces are those that a vLLM streams: one for each token,
less what a stop text may yet begin in.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from guard.proxy.counting import Counter

LIMITS = ("max_completion_tokens", "max_output_tokens", "max_tokens")
STOPS = ("stop", "stop_sequences")


@dataclass(frozen=True)
class Said:
    """What a refusal says.

    Attributes:
        text: All of it.
        pieces: As it is streamed, without what comes with the end.
        last: What comes with the end.
        tokens: How many tokens it has, that which ends it included.
        reason: Why it ends: ``stop`` or ``length``.
        stopped: The stop text that ended it.
    """

    text: str
    pieces: tuple[str, ...]
    last: str
    tokens: int
    reason: str = "stop"
    stopped: str | None = None


def said(text: str, body: Mapping[str, Any], counter: Counter, limit: int | None = None) -> Said:
    """What of a refusal's text is said to a request.

    Args:
        text: The policy's text.
        body: The client's body.
        counter: Tells the tokens.
        limit: The most tokens where the client names none.
    """
    tokens, reason, stopped = counter.pieces(text), "stop", None
    most = next((body[name] for name in LIMITS if body.get(name) is not None), limit)
    if isinstance(most, int) and 0 < most <= len(tokens):
        tokens, reason = tokens[:most], "length"
    ended = 1 if reason == "stop" else 0  # the token that ends an answer counts
    stops = _stops(body)
    for number in range(1, len(tokens) + 1):
        sofar = "".join(tokens[:number])
        found = [(sofar.find(stop), stop) for stop in stops if stop in sofar]
        if found:  # as vLLM does it: looked for as each token comes
            at, stopped = min(found)
            kept = at + len(stopped) if body.get("include_stop_str_in_output") is True else at
            return _said(sofar[:kept], tokens[:number], stops, body, number, "stop", stopped)
    return _said("".join(tokens), tokens, stops, body, len(tokens) + ended, reason, None)


def _said(
    text: str, tokens: Sequence[str], stops: Sequence[str], body: Mapping[str, Any],
    count: int, reason: str, stopped: str | None,
) -> Said:  # fmt: skip
    held = 0 if body.get("include_stop_str_in_output") is True else max(map(len, stops), default=1)
    held, interval = max(held - 1, 0), body.get("stream_interval")
    every = interval if isinstance(interval, int) and interval > 0 else 1
    ends = reason == "length" or stopped is not None  # then the last token comes with the end
    pieces, left, came, since = list[str](), 0, 0, every  # the first token is not waited with
    for token in tokens[:-1] if ends else tokens:
        came, since = came + len(token), since + 1
        if since >= every:
            upto, since = min(max(came - held, left), len(text)), 0
            pieces += [text[left:upto]] if upto > left else []
            left = upto
    return Said(text, tuple(pieces), text[left:], count, reason, stopped)


def _stops(body: Mapping[str, Any]) -> list[str]:
    stops: Any = next((body[name] for name in STOPS if body.get(name)), [])
    return [one for one in ([stops] if isinstance(stops, str) else stops) if one]
