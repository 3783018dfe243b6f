"""Bodies read strictly: what is not known to be harmless is judged or refused."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from guard.data import is_text
from guard.proxy.message import Refused
from guard.registry import nearest

MOST_BYTES = 8 << 20  # of a body
MOST_ANSWERS = 128  # to one request
MOST_BAD_WORDS = 64  # of a client's; vLLM takes 128 in all, and the guard's own go first


def names(text: str) -> frozenset[str]:
    """The names that a text lists."""
    return frozenset(text.split())


@dataclass(frozen=True)
class Fields:
    """What becomes of the fields of a body.

    Attributes:
        read: What the model reads, or what steers it: the schema has it judged.
        plain: Numbers and switches; texts in them are refused.
        labels: Texts that no model reads.
        dropped: Not passed on.
        refused: Not served; why not. Empty ones are dropped.
    """

    read: frozenset[str]
    plain: frozenset[str]
    labels: frozenset[str] = frozenset()
    dropped: frozenset[str] = frozenset()
    refused: Mapping[str, str] = field(default_factory=dict)

    def checked(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Returns a body's fields without those that are dropped.

        Raises:
            Refused: A field is unknown, not served, or not of its type.
        """
        kept: dict[str, Any] = {}
        for name, value in body.items():
            if name in self.refused:
                if not is_empty(value):
                    raise Refused(f"{name}: {self.refused[name]}", param=name)
            elif name in self.plain:
                if not is_plain(value):
                    raise Refused(f"{name}: must be numbers or true and false", param=name)
                kept[name] = value
            elif name in self.read or name in self.labels:
                kept[name] = value
            elif name not in self.dropped and value is not None:
                hint = nearest(name, [*self.read, *self.plain, *self.labels])
                mend = hint if "did you mean" in hint else "; leave it out"
                said = name[:64]
                raise Refused(f"{said}: not a field that this server takes{mend}", param=said)
        return kept


def read_body(raw: bytes) -> dict[str, Any]:
    """Reads a body as one JSON object of texts that are texts.

    Raises:
        Refused: It is none.
    """
    if len(raw) > MOST_BYTES:
        raise Refused(f"The body has more than {MOST_BYTES >> 20} MiB.", 413)
    try:
        value = json.loads(raw.decode(), parse_constant=_no_number, parse_float=_number)
        texts = _all_texts(value, 0)
    except (ValueError, RecursionError):
        raise Refused("The body is not JSON in UTF-8.") from None
    if not isinstance(value, dict):
        raise Refused("The body must be a JSON object.")
    if not all(map(is_text, texts)):
        raise Refused("The body holds characters that are no text.")
    return value


def is_empty(value: Any) -> bool:
    """Whether a field asks for nothing."""
    return value is None or value is False or (isinstance(value, str | list | dict) and not value)


def is_plain(value: Any) -> bool:
    """Whether a value holds numbers and switches only; names of fields do not count."""
    if isinstance(value, Mapping):
        return all(is_plain(one) for one in value.values())
    if isinstance(value, list):
        return all(is_plain(one) for one in value)
    return value is None or isinstance(value, bool | int | float)


def is_bare(value: Any) -> bool:
    """Whether a value that a server sent tells nothing but a number or a switch."""
    return value is None or isinstance(value, bool | int | float) or is_empty(value)


def answers(body: Mapping[str, Any]) -> int:
    """How many answers a body asks for.

    Raises:
        Refused: It is no sensible number.
    """
    count = body.get("n")
    if count is None:
        return 1
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= MOST_ANSWERS:
        raise Refused(f"n: give a number from 1 to {MOST_ANSWERS}", param="n")
    return count


def text_list(body: Mapping[str, Any], name: str, most: int) -> list[str]:
    """A field that is a text, a list of texts, or nothing.

    Raises:
        Refused: It is something else, or too long.
    """
    value = body.get(name)
    found = [] if value is None else [value] if isinstance(value, str) else value
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise Refused(f"{name}: give texts", param=name)
    if len(found) > most:
        raise Refused(f"{name}: give {most} at most", param=name)
    return found


def _all_texts(value: Any, depth: int) -> list[str]:
    if depth > 64:
        raise ValueError("nested too deeply")
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        pairs = [one for pair in value.items() for one in pair]
        return [text for one in pairs for text in _all_texts(one, depth + 1)]
    if isinstance(value, list):
        return [text for one in value for text in _all_texts(one, depth + 1)]
    return []


def _number(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):  # 1e999: nothing that could be written again
        raise ValueError(f"{text} is no number")
    return number


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")
