"""Passages cut by the tokens of the model that is trained on them."""

from functools import cache
from pathlib import Path
from typing import Any

from adapters.data.chunks import Chunks
from guard.errors import ModelError

_ENDS = 2  # tokens that a passage gets at its beginning and end


def own_chunks(model: Path, tokens: int) -> Chunks:
    """How passages are cut so that no piece is longer than what is read of a row.

    Args:
        model: The model's folder; its tokenizer is loaded when the first passage is counted.
        tokens: What is read of a row; pieces are at most as long as `Chunks` has them by default.
    """
    most = max(min(Chunks.most, tokens - _ENDS), 1)

    @cache
    def tokenizer() -> Any:
        from transformers import AutoTokenizer

        try:
            return AutoTokenizer.from_pretrained(model)
        except (OSError, ValueError) as error:
            reason = str(error).strip().partition("\n")[0]
            raise ModelError(f"{model}: has no tokenizer to cut passages with: {reason}") from None

    def count(text: str) -> int:
        return len(tokenizer().encode(text, add_special_tokens=False, verbose=False))

    return Chunks(most, min(Chunks.overlap, most // 8), count)
