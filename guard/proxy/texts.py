"""The texts of a body as a view to be judged: who wrote what, and what steers the answer."""

import itertools
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from guard.proxy.message import Refused
from guard.view import View, strings


@dataclass
class Texts:
    """Collects the texts of a body.

    Attributes:
        said: (role, text) of all that the model reads.
        steering: What steers its answer: a grammar's choices, forced tokens.
    """

    said: list[tuple[str, str]] = field(default_factory=list)
    steering: list[str] = field(default_factory=list)
    _spoken: list[tuple[str, str]] = field(default_factory=list)

    def say(self, role: str, text: str) -> None:
        """Adds what a role says to the model."""
        if text.strip():
            self.said.append((role, text))
            if role != "system":
                self._spoken.append((role, text))

    def note(self, role: str, value: Any) -> None:
        """Adds all texts of a JSON value that the model reads beside what is said."""
        if text := "\n".join(one for one in strings(value) if one.strip()):
            self.said.append((role, text))

    def steer(self, value: Any) -> None:
        """Adds all texts of a JSON value that an answer is forced into."""
        for text in strings(_parsed(value)):
            if text.strip():
                self.steering.append(text)

    def pattern(self, text: str) -> None:
        """Adds a regular expression or grammar: as it is, and its letters alone."""
        bare = re.sub(r"\"\s+\"|\\[bsSdDwW]|[][(){}|?*+^$\\\"']", "", text)
        quoted = "".join(re.findall(r'"((?:[^"\\]|\\.)*)"', text))
        self.steering += [one for one in (text, bare, quoted) if one.strip()]

    def view(self) -> View:
        """All of it, as detectors read it."""
        view = View.of_pieces(self.said)
        spoken = [text for _, text in self._spoken]
        if len(spoken) > 1:  # a name may be spread over turns, or over the parts of one
            torn = any(one == other for (one, _), (other, _) in itertools.pairwise(self._spoken))
            joined = [" ".join(spoken), "".join(spoken)] if torn else [" ".join(spoken)]
            view = view.plus("joined", joined)
        return view.plus("steering", self.steering) if self.steering else view


@dataclass(frozen=True)
class Asked:
    """A body that was read.

    Attributes:
        view: All that the model reads of it, and what steers its answer.
        steering: The latter alone.
        stream: Whether the answer is to be streamed.
        count: How many answers it asks for.
        logprobs: Whether it asks for log-probabilities.
    """

    view: View
    steering: tuple[str, ...]
    stream: bool = False
    count: int = 1
    logprobs: bool = False


def content_texts(
    content: Any, kinds: Mapping[str, str], where: str
) -> list[tuple[str | None, Any]]:
    """Reads a message's content: a text, or parts.

    Args:
        content: The content.
        kinds: The kinds of parts that hold a text, and where they hold it.
        where: What to call it in errors.

    Returns:
        For each part its text, and what else it holds.

    Raises:
        Refused: A part holds something that cannot be read.
    """
    if content is None:
        return []
    if isinstance(content, str):
        return [(content, None)]
    if not isinstance(content, list):
        raise Refused(f"{where}: must be a text or a list of parts", param=where)
    found: list[tuple[str | None, Any]] = []
    for part in content:
        if isinstance(part, str):
            found.append((part, None))
            continue
        kind = part.get("type", "text") if isinstance(part, dict) else None
        if not isinstance(kind, str) or kind not in kinds:
            raise Refused(
                f"{where}: parts of type {str(kind)[:40]!r} cannot be sent to this server; "
                f"send text (it takes: {', '.join(sorted(kinds))})",
                param=where,
            )
        text = part.get(kinds[kind])
        if text is not None and not isinstance(text, str):
            raise Refused(f"{where}: a part's {kinds[kind]!r} must be a text", param=where)
        rest = {name: one for name, one in part.items() if name not in ("type", kinds[kind])}
        found.append((text, rest or None))
    return found


def grammar(texts: Texts, value: Any, name: str) -> None:
    """Adds a field that constrains the answer, ``response_format`` say."""
    if not isinstance(value, Mapping):
        texts.steer(value)
        return
    for key, one in value.items():
        if key in ("regex", "grammar", "structural_tag", "syntax") and isinstance(one, str):
            texts.pattern(one)
        else:
            texts.steer({key: one} if name != "response_format" else one)
            if isinstance(one, Mapping):  # a grammar may be nested in a format
                grammar(texts, {k: v for k, v in one.items() if k in ("regex", "grammar")}, name)


def _parsed(value: Any) -> Any:
    """A JSON document that may be given as a text, escapes and all."""
    if not isinstance(value, str):
        return value
    try:
        return [value, json.loads(value)]
    except (ValueError, RecursionError):
        return value
