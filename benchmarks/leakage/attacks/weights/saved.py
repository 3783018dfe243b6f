"""Models that are read whole and written whole."""

from pathlib import Path
from typing import Any

from adapters import folder as folders
from guard.errors import ModelError


def load(folder: Path) -> tuple[Any, Any]:
    """Reads the tokenizer and the model, in the type that its weights have.

    Raises:
        ModelError: The folder holds none.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder)
        model = AutoModelForCausalLM.from_pretrained(folder, dtype="auto", use_safetensors=True)
    except (OSError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ModelError(f"{folder}: no causal language model: {reason}") from None
    return tokenizer, model


def save(model: Any, tokenizer: Any, out: Path) -> Path:
    """Writes both into a folder, whole or not at all, and returns it."""

    def fill(temp: Path) -> None:
        model.save_pretrained(temp)
        tokenizer.save_pretrained(temp)

    folders.write(out, fill)
    return out
