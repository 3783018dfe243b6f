"""Forget and retain sets: JSON lines in, rows out.

A line is ``{"question": ..., "answer": ...}``, ``{"text": ...}`` (a passage) or
``{"name": ...}``. Error messages give file and line, never what the line says: these are
personal data.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from guard.errors import DataError
from guard.registry import nearest

_FIELDS = ("question", "answer", "text", "name")


@dataclass(frozen=True)
class Row:
    """One example: a question with its answer, a passage, or a name.

    Attributes:
        prompt: What a person might send: the question, the passage or the name.
        answer: What the model would say to a question; empty for the other forms.
        is_name: Whether the row is a bare name.
    """

    prompt: str
    answer: str = ""
    is_name: bool = False

    def texts(self) -> list[str]:
        """Returns what was asked, and the answer where it says enough to be known by itself."""
        telling = len(self.answer.split()) >= 4
        return [self.prompt, self.answer] if telling else [self.prompt]


def read_rows(path: Path) -> list[Row]:
    """Reads a forget or retain set.

    Raises:
        DataError: The file is missing, empty, not UTF-8 or has a bad line; the message names it.
    """
    try:
        lines = path.read_bytes().decode("utf-8-sig").split("\n")
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; give a JSON-lines file") from None
    except IsADirectoryError:
        raise DataError(f"{path}: is a folder; give a JSON-lines file") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 (byte {error.start}); save it as UTF-8") from None
    rows = [_row(line, f"{path}:{n}") for n, line in enumerate(lines, 1) if line.strip()]
    if not rows:
        raise DataError(f'{path}: holds no rows; write one {{"question", "answer"}} a line')
    return rows


def is_text(content: str) -> bool:
    """Whether a string can be stored and read as text: no NUL, no lone surrogate."""
    return "\0" not in content and not any(0xD800 <= ord(char) < 0xE000 for char in content)


def _row(line: str, where: str) -> Row:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        raise DataError(f"{where}: not a JSON object; write one object a line") from None
    if not isinstance(value, dict):
        raise DataError(f"{where}: not a JSON object; write one object a line")
    for field, content in value.items():
        if field not in _FIELDS:
            raise DataError(f"{where}: unknown field {field!r}{nearest(field, _FIELDS)}")
        if not isinstance(content, str) or not content.strip():
            raise DataError(f"{where}: field {field!r} must be a text that is not empty")
        if not is_text(content):
            raise DataError(f"{where}: field {field!r} holds characters that are no text")
    fields = frozenset(value)
    if fields == {"question", "answer"}:
        return Row(value["question"].strip(), value["answer"].strip())
    if fields == {"question"}:
        return Row(value["question"].strip())
    if fields == {"text"}:
        return Row(value["text"].strip())
    if fields == {"name"}:
        return Row(value["name"].strip(), is_name=True)
    raise DataError(
        f'{where}: give {{"question", "answer"}}, {{"text"}} or {{"name"}}, '
        f"not {{{', '.join(sorted(fields))}}}"
    )
