"""How many tokens a text has: exactly where the served model's tokenizer is at hand."""

import re
import threading
from pathlib import Path
from typing import Any

from guard.builtin import PREFIX
from guard.errors import BundleError
from guard.identity import identify, model_folder
from guard.manifest import ModelIdentity
from guard.models import installed, resolve

_CHARACTERS = 4  # of a token, where it has to be guessed
_WORD = re.compile(r"\s?\w+|\s?[^\w\s]|\s")


class Counter:
    """Counts and reads tokens.

    Args:
        tokenizer: The served model's; None where it is not at hand. Counts are guesses then, and
            token ids cannot be read.
    """

    def __init__(self, tokenizer: Any = None) -> None:
        self.tokenizer = tokenizer
        self._lock = threading.Lock()  # tokenizers are changed by being used: one thread at a time

    def count(self, text: str) -> int:
        """How many tokens a text has."""
        if not text:
            return 0
        if self.tokenizer is None:
            return max(len(text) // _CHARACTERS, 1)
        return len(self.tokens(text))

    def tokens(self, text: str) -> list[int]:
        """The tokens of a text; none where the tokenizer is not at hand."""
        if self.tokenizer is None:
            return []
        with self._lock:
            ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False)
        return ids

    def pieces(self, text: str) -> list[str]:
        """A text cut into its tokens; into words and signs where that cannot be told."""
        ids = self.tokens(text)
        found = [self.tokenizer.decode([token]) for token in ids]
        return found if ids and "".join(found) == text else _WORD.findall(text)

    def read(self, token_ids: list[int]) -> str | None:
        """What token ids say; None where that cannot be told."""
        if self.tokenizer is None:
            return None
        if any(not 0 <= token < len(self.tokenizer) for token in token_ids):
            return None
        text: str = self.tokenizer.decode(token_ids, skip_special_tokens=False)
        return text

    def messages(self, messages: list[dict[str, Any]], tools: Any, text: str) -> int:
        """How many tokens a chat has.

        Args:
            messages: The chat.
            tools: Its tools.
            text: All that is in it, to guess by.
        """
        if self.tokenizer is not None and getattr(self.tokenizer, "chat_template", None):
            try:
                rendered = self.tokenizer.apply_chat_template(
                    messages, tools=tools or None, tokenize=False, add_generation_prompt=True
                )
                return self.count(str(rendered))
            except Exception:  # a template may raise whatever its author wrote
                return self.count(text)
        return self.count(text)


def local_counter(model: ModelIdentity, folder: Path | None) -> Counter:
    """Finds the served model's tokenizer on this machine; nothing is fetched.

    Args:
        model: The model of the bundle.
        folder: Where the operator says that it is.

    Raises:
        BundleError: The folder holds another model.
    """
    from transformers import AutoTokenizer

    if folder is None:
        builtin = model.name.startswith(PREFIX) and installed(model.name)
        if not builtin and not Path(model.name).is_dir():
            return Counter()
        folder = model_folder(resolve(model.name))
    if identify(folder) != model.sha256:
        raise BundleError(
            f"{folder}: holds another model than the bundle's ({model.name}); give --tokenizer the "
            "folder of that one"
        )
    return Counter(AutoTokenizer.from_pretrained(folder))
