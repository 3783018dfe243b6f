"""Placeholders where a client asked for log-probabilities of an answer to an edited prompt.

The value is -9999.0, which vLLM itself gives where it has none. Tokens are words here: which tokens
the text was made of is not known without the model's tokenizer.
"""

import re
from typing import Any

NONE = -9999.0
_WORD = re.compile(r"\s*\S+\s*$|\s*\S+|\s+")


def chat_placeholders(text: str) -> dict[str, Any]:
    """As chat completions have them."""
    content = [
        {"token": word, "logprob": NONE, "bytes": list(word.encode()), "top_logprobs": []}
        for word in _WORD.findall(text)
    ]
    return {"content": content}


def completion_placeholders(text: str, start: int = 0) -> dict[str, Any]:
    """As completions have them.

    Args:
        text: The text.
        start: Where it begins in the whole answer.
    """
    found = list(_WORD.finditer(text))
    return {
        "text_offset": [start + match.start() for match in found],
        "token_logprobs": [NONE for _ in found],
        "tokens": [match.group() for match in found],
        "top_logprobs": [None for _ in found],
    }
