"""What a detector sees: the rendered prompt, split at role markers and windowed.

The text is the one that the engine will read, so whatever a client puts into a template, a
tool schema or a token-id prompt is seen. Role markers are cut away: they are the same in every
prompt, and would blur every score.
"""

import hashlib
import itertools
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from guard.disguise import readings
from guard.language import foreign

WINDOW = 48  # pieces of one window
TOKENS = 250  # and what it may cost an encoder, which reads 256 tokens and cuts the rest off

_SENTENCE = re.compile(r"[^.!?。！？\n]+[.!?。！？]*\s*|[.!?。！？\n]+")
# A piece is a word, eight characters of a longer one, or one sign of a script without spaces.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u9fff\uf900-\ufaff"
_PIECE = re.compile(rf"[{_UNSPACED}]|[^\s{_UNSPACED}]{{1,8}}")
_UNSPACED_SIGN = re.compile(f"[{_UNSPACED}]")


def is_unspaced(char: str) -> bool:
    """Whether a character belongs to a script that writes no spaces between words."""
    return char > "\u0e00" and _UNSPACED_SIGN.match(char) is not None


@dataclass(frozen=True)
class Part:
    """A stretch of the text that one role wrote.

    Attributes:
        role: ``system``, ``user``, ``assistant``, ``prompt`` (no template) or another label.
        start: Where it starts in the view's text, in characters.
        end: Where it ends.
        origin: The stretch of the text that it is a reading of; None where it stands for itself.
    """

    role: str
    start: int
    end: int
    origin: tuple[int, int] | None = None


@dataclass(frozen=True)
class Window:
    """A piece small enough for an encoder: its text and its place in the view's text."""

    text: str
    start: int
    end: int

    @cached_property
    def foreign(self) -> bool:
        """Whether it is in another language than English, which calls for another encoder."""
        return foreign(self.text)

    @cached_property
    def digest(self) -> bytes:
        """Stands for the text where the text itself must not be kept."""
        return hashlib.blake2b(self.text.encode("utf-8", "replace"), digest_size=16).digest()


@dataclass(frozen=True)
class View:
    """A text and the parts in it that a detector reads."""

    text: str
    parts: tuple[Part, ...]

    @classmethod
    def of_text(cls, text: str) -> "View":
        """Views a bare prompt: one part."""
        return cls(text, (Part("prompt", 0, len(text)),))

    @classmethod
    def of_messages(cls, messages: Sequence[Mapping[str, Any]]) -> "View":
        """Views chat messages that no template has rendered; all text in them counts.

        Raises:
            ValueError: A message is not a mapping.
        """
        pieces: list[tuple[str, str]] = []
        for message in messages:
            if not isinstance(message, Mapping):
                raise ValueError("a chat message must be a mapping with 'role' and 'content'")
            role = str(message.get("role", "user"))
            rest = [content for field, content in message.items() if field != "role"]
            pieces.extend((role, text) for text in strings(rest))
        return cls.of_pieces(pieces)

    @classmethod
    def of_pieces(cls, pieces: Sequence[tuple[str, str]]) -> "View":
        """Views (role, text) pairs, joined by newlines."""
        text, parts = "", []
        for role, piece in pieces:
            parts.append(Part(role, len(text), len(text) + len(piece)))
            text += piece + "\n"
        return cls(text, tuple(parts))

    def plus(self, role: str, texts: Sequence[str]) -> "View":
        """Returns the view with more texts behind it, for instance a grammar's choices."""
        text, parts = self.text, list(self.parts)
        for piece in texts:
            text += "\n"
            parts.append(Part(role, len(text), len(text) + len(piece)))
            text += piece
        return View(text, tuple(parts))

    def read(self) -> "View":
        """Returns the view with what its parts say once their disguises are undone."""
        text, parts = self.text, list(self.parts)
        for part in self.parts:
            for reading in readings(self.text[part.start : part.end]):
                origin = part.start + reading.start, part.start + reading.end
                text += "\n"
                parts.append(Part("read", len(text), len(text) + len(reading.text), origin))
                text += reading.text
        return View(text, tuple(parts)) if len(parts) > len(self.parts) else self

    def evidence(self, span: tuple[int, int]) -> tuple[int, int]:
        """Returns where the evidence stands in what was written: a reading's is all it read."""
        for part in self.parts:
            if part.origin is not None and part.start <= span[0] < part.end:
                return part.origin
        return span

    @cached_property
    def windows(self) -> tuple[Window, ...]:
        """Every part whole where it is short, its sentences, and sliding windows over the rest.

        Whole parts catch a question that leans on its neighbour sentence, sentences catch one
        that hides in padding; nothing is left out.
        """
        spans: dict[tuple[int, int], None] = {}
        for part in self.parts:
            text = self.text[part.start : part.end]
            for start, end in [(0, len(text)), *(m.span() for m in _SENTENCE.finditer(text))]:
                for low, high in slide(text[start:end]):
                    spans[part.start + start + low, part.start + start + high] = None
        return tuple(Window(self.text[start:end], start, end) for start, end in spans)


def slide(text: str) -> list[tuple[int, int]]:
    """Spans that overlap by half and cover all of the text, each small enough for an encoder."""
    pieces = [(*match.span(), _most_tokens(match.group())) for match in _PIECE.finditer(text)]
    spans: list[tuple[int, int]] = []
    first, last = 0, -1
    while last < len(pieces) - 1:
        cost, last = pieces[first][2], first
        while last + 1 < min(first + WINDOW, len(pieces)):
            cost += pieces[last + 1][2]
            if cost > TOKENS:
                break
            last += 1
        spans.append((pieces[first][0], pieces[last][1]))
        first += max((last + 1 - first) // 2, 1)
    return spans


def _most_tokens(piece: str) -> int:
    """A word-piece tokenizer makes at most one token of a character, taken apart as it does."""
    return len(piece) if piece.isascii() else len(unicodedata.normalize("NFD", piece))


def strings(value: Any) -> list[str]:
    """Every text inside a JSON value, names of fields included."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, Mapping):
        return [text for pair in value.items() for item in pair for text in strings(item)]
    if isinstance(value, Sequence):
        return [text for item in value for text in strings(item)]
    return []


class RoleMarkers:
    """Where roles change in the text that a chat template renders.

    The markers are found by rendering a conversation of sentinels through the template itself,
    so no template needs to be known beforehand.

    Args:
        markers: Literal marker to the role that writes what follows.
        specials: Special tokens, cut away wherever they stand.
    """

    def __init__(self, markers: Mapping[str, str], specials: Sequence[str] = ()) -> None:
        self._roles = dict(markers)
        literals = sorted({*markers, *specials} - {""}, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, literals))) if literals else None

    @classmethod
    def from_tokenizer(cls, tokenizer: Any) -> "RoleMarkers":
        """Reads the markers off a Hugging Face tokenizer's chat template; it may have none."""
        specials = [str(token) for token in getattr(tokenizer, "all_special_tokens", [])]
        return cls(_template_markers(tokenizer), specials)

    def view(self, text: str) -> View:
        """Splits a rendered prompt into the parts that roles wrote."""
        if self._pattern is None:
            return View.of_text(text)
        parts: list[Part] = []
        role, start = "prompt", 0
        for match in self._pattern.finditer(text):
            parts.append(Part(role, start, match.start()))
            role, start = self._roles.get(match.group(), role), match.end()
        parts.append(Part(role, start, len(text)))
        kept = [p for p in parts if text[p.start : p.end].strip()]
        return View(text, tuple(kept)).plus("joined", _joined(text, kept))


def _joined(text: str, parts: Sequence[Part]) -> list[str]:
    """What the parts say together, where it is more than they say apart.

    A name may be spread over turns, or torn by a special token in its middle ("Will<|end|>iam"),
    which the model reads across.
    """
    said = [part for part in parts if part.role != "system"]
    if len(said) < 2:
        return []
    pieces = [text[part.start : part.end] for part in said]
    torn = any(other.role in (one.role, "end") for one, other in itertools.pairwise(said))
    return [" ".join(pieces), "".join(pieces)] if torn else [" ".join(pieces)]


def _template_markers(tokenizer: Any) -> dict[str, str]:
    if not getattr(tokenizer, "chat_template", None):
        return {}
    says = {name: f"zq{name}qz" for name in ("system", "one", "two", "three", "four")}
    turns = [
        {"role": "user", "content": says["one"]},
        {"role": "assistant", "content": says["two"]},
        {"role": "user", "content": says["three"]},
        {"role": "assistant", "content": says["four"]},
    ]
    system = {"role": "system", "content": says["system"]}
    markers: dict[str, str] = {}
    for messages, generate in [([system, *turns], False), (turns, False), (turns[:3], True)]:
        try:
            text = tokenizer.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=generate
            )
        except Exception:  # templates refuse what they do not support (a system turn, say)
            continue
        cuts = [(text.find(m["content"]), m) for m in messages]
        if any(at < 0 for at, _ in cuts):
            continue
        start = 0
        for at, message in cuts:
            _note(markers, text[start:at], message["role"])
            start = at + len(message["content"])
        _note(markers, text[start:], "assistant" if generate else "end")
    return markers


def _note(markers: dict[str, str], literal: str, role: str) -> None:
    # A long literal holds more than a marker: a default system text, which is a part to be read.
    if literal.strip() and len(literal) < 80:
        markers.setdefault(literal, role)
