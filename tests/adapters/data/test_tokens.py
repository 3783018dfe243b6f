"""Passages in training: cut by the model's own tokens, so that none loses its end."""

import argparse
from pathlib import Path
from typing import Any

import pytest

from adapters.arguments import add_sources, sources
from adapters.batches import encode_rows
from adapters.data.tokens import own_chunks
from adapters.settings import Settings
from guard.errors import ModelError

# Four bytes are far from a token here: what is counted in bytes comes out twice as long.
TEXT = "他来了，她走了，灯塔的看守人数了两遍台阶。" * 40


@pytest.mark.parametrize("tokens", [16, 64, 1024])
def test_no_piece_is_cut_when_it_is_read(served: Path, tokenizer: Any, tokens: int) -> None:
    from guard.data import Row

    pieces = own_chunks(served, tokens).cut(TEXT)
    rows = [Row(piece) for piece in pieces]
    read = encode_rows(tokenizer, rows, tokens)
    whole = encode_rows(tokenizer, rows, 10**6)
    assert [example.ids for example in read] == [example.ids for example in whole]
    assert max(len(example.ids) for example in read) > min(tokens, 512) // 2


def test_a_command_reads_passages_so(served: Path, tokenizer: Any, tmp_path: Path) -> None:
    (tmp_path / "book.txt").write_text(TEXT, "utf-8")
    parser = argparse.ArgumentParser()
    add_sources(parser)
    given = ["--model", str(served), "--out", "out", "--forget", f"passages:{tmp_path}/book.txt"]
    found = sources(parser.parse_args(given), Settings(tokens=32))
    assert found.model == served and not found.retain
    lengths = [len(tokenizer.encode(row.prompt)) for row in found.forget]
    assert max(lengths) <= 31 and len(lengths) > len(tokenizer.encode(TEXT)) // 32


def test_a_folder_without_a_tokenizer_is_named_when_it_is_needed(tmp_path: Path) -> None:
    chunks = own_chunks(tmp_path, 32)
    with pytest.raises(ModelError, match="has no tokenizer to cut passages with"):
        chunks.cut(TEXT)
