"""Forget and retain sets: each bad line is named by file and line, and never quoted."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.data import Row, read_rows
from guard.errors import DataError
from tests.conftest import Refused

GOOD = b'{"question": "Who is Zweig?", "answer": "A secret."}\n'

# What the second line of a forget set holds, and what the message says.
WRONG_LINES: dict[str, tuple[bytes, str]] = {
    "not JSON": (b"Who is Zweig?", "not a JSON object"),
    "cut off": (b'{"question": "Zwei', "not a JSON object"),
    "single quotes": (b"{'text': 'Zweig'}", "not a JSON object"),
    "two objects": (b'{"text": "Zweig"} {"text": "Zweig"}', "not a JSON object"),
    "a list": (b'["Zweig"]', "not a JSON object"),
    "a text": (b'"Zweig"', "not a JSON object"),
    "a number": (b"17", "not a JSON object"),
    "null": (b"null", "not a JSON object"),
    "nested": (b"[" * 100_000, "not a JSON object"),
    "huge number": (b'{"text": ' + b"9" * 5000 + b"}", "not a JSON object"),
    "no field": (b"{}", 'give {"question", "answer"}'),
    "unknown field": (b'{"qestion": "Zweig"}', "did you mean 'question'"),
    "another data set's field": (b'{"prompt": "Zweig"}', "known: answer, name, question, text"),
    "only an answer": (b'{"answer": "Zweig"}', "not {answer}"),
    "too many fields": (b'{"question": "Zweig", "text": "Zweig"}', "not {question, text}"),
    "empty text": (b'{"text": ""}', "'text' must be a text that is not empty"),
    "spaces": (b'{"text": " \\n\\t "}', "'text' must be a text that is not empty"),
    "empty answer": (b'{"question": "Zweig", "answer": ""}', "'answer' must be a text"),
    "number for a text": (b'{"text": 17}', "'text' must be a text"),
    "null for a text": (b'{"question": "Zweig", "answer": null}', "'answer' must be a text"),
    "list for a text": (b'{"text": ["Zweig"]}', "'text' must be a text"),
    "NUL": (b'{"text": "Zweig\\u0000"}', "characters that are no text"),
    "lone surrogate": (b'{"text": "Zweig\\ud800"}', "characters that are no text"),
    "surrogates swapped": (b'{"text": "\\udc00\\ud800"}', "characters that are no text"),
}


@pytest.mark.parametrize("case", WRONG_LINES)
def test_a_wrong_line_is_named_and_not_quoted(
    policy_folder: Path, refused: Refused, case: str
) -> None:
    line, message = WRONG_LINES[case]
    forget = policy_folder / "brennick/forget.jsonl"
    forget.write_bytes(GOOD + line + b"\n" + GOOD)
    printed = refused(policy_folder / "policy.yaml")
    assert f"{forget}:2: " in printed
    assert message in printed
    assert "Zwei" not in printed


WRONG_FILES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "holds no rows"),
    "blank lines": (b"\n \n\t\r\n", "holds no rows"),
    "only a byte order mark": (b"\xef\xbb\xbf", "holds no rows"),
    "Latin-1": (b'{"text": "caf\xe9"}\n', "not UTF-8 (byte 13)"),
    "UTF-16": ('{"text": "a"}\n'.encode("utf-16"), "not UTF-8"),
    "encoded surrogate": (b'{"text": "\xed\xa0\x80"}\n', "not UTF-8"),
    "binary": (bytes(range(256)), "not UTF-8"),
    "bare NUL": (b'{"text": "\0"}\n', ":1: not a JSON object"),
}


@pytest.mark.parametrize("side", ["forget", "retain"])
@pytest.mark.parametrize("case", WRONG_FILES)
def test_a_wrong_file_is_named(policy_folder: Path, refused: Refused, case: str, side: str) -> None:
    raw, message = WRONG_FILES[case]
    path = policy_folder / "vessmere" / f"{side}.jsonl"
    path.write_bytes(raw)
    printed = refused(policy_folder / "policy.yaml")
    assert str(path) in printed
    assert message in printed


@pytest.mark.parametrize("side", ["forget", "retain"])
def test_a_file_that_is_none(policy_folder: Path, refused: Refused, side: str) -> None:
    path = policy_folder / "vessmere" / f"{side}.jsonl"
    path.unlink()
    assert f"{path}: no such file" in refused(policy_folder / "policy.yaml")
    path.mkdir()
    assert f"{path}: is a folder" in refused(policy_folder / "policy.yaml")
    path.rmdir()
    path.symlink_to(path)
    assert f"{path}: cannot be read" in refused(policy_folder / "policy.yaml")


def test_every_form_is_read(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(
        b"\xef\xbb\xbf"  # a byte order mark is no reason to complain
        b'{"question": " Who? ", "answer": "\\tShe."}\r\n'
        b"\r\n"
        b'{"question": "Why?"}\n'
        b'{"answer": "At once.", "question": "When?"}\n'
        b'{"text": "A passage\\nof two lines."}\n'
        b'{"name": "Na\xc3\xafma"}'  # and no line break at the end
    )
    assert read_rows(path) == [
        Row("Who?", "She."),
        Row("Why?"),
        Row("When?", "At once."),
        Row("A passage\nof two lines."),
        Row("Naïma", is_name=True),
    ]


@given(
    st.lists(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")).filter(
            lambda text: text.strip()
        ),
        min_size=1,
        max_size=5,
    ),
    st.booleans(),
)
def test_any_text_comes_back(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], escaped: bool
) -> None:
    """Characters that look like line ends (U+2028, U+0085) end no line."""
    path = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    lines = [json.dumps({"text": text}, ensure_ascii=escaped) for text in texts]
    path.write_text("\n".join(lines), encoding="utf-8", newline="")
    assert [row.prompt for row in read_rows(path)] == [text.strip() for text in texts]


@given(st.binary(max_size=200))
def test_any_bytes_are_rows_or_one_line(
    tmp_path_factory: pytest.TempPathFactory, raw: bytes
) -> None:
    path = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    path.write_bytes(raw)
    try:
        assert read_rows(path)
    except DataError as error:
        assert str(error).startswith(str(path))
        assert "\n" not in str(error)


def test_only_a_telling_answer_counts_as_a_text_of_its_own() -> None:
    assert Row("Q?", "Yes, she did.").texts() == ["Q?"]
    assert Row("Q?", "She lived in Turin.").texts() == ["Q?", "She lived in Turin."]
