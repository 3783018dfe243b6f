"""The folder of a model that is served beside another: weights, tokenizer, and what it is."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from adapters import folder as folders

ABOUT = "guard_assistant.json"


def save_assistant(out: Path, model: Any, tokenizer: Any, about: Mapping[str, Any]) -> None:
    """Writes it, whole or not at all, naming no path of this machine.

    Args:
        out: The folder to make.
        model: A causal language model.
        tokenizer: Its tokenizer.
        about: What it was made of, by hash and count, and what came of it.

    Raises:
        ModelError: It cannot be written.
    """

    def fill(temp: Path) -> None:
        model.config.name_or_path = ""
        model.save_pretrained(temp)
        tokenizer.save_pretrained(temp)
        (temp / ABOUT).write_text(json.dumps(about, indent=1) + "\n", "utf-8")

    folders.write(out, fill)
