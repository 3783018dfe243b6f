"""What a chat template writes around an answer."""

from typing import Any


def end_of_answer(tokenizer: Any) -> str:
    """What ends an answer: what the template writes behind one, up to its first special token.

    For most models that is the tokenizer's end of text; some have another token for turns.

    Args:
        tokenizer: A Hugging Face tokenizer.
    """
    end = str(tokenizer.eos_token or "")
    if not tokenizer.chat_template:
        return end
    content = "answer"
    asked = [{"role": "user", "content": "question"}, {"role": "assistant", "content": content}]
    try:
        behind = tokenizer.apply_chat_template(asked, tokenize=False).rpartition(content)[2]
    except Exception:  # a template may raise whatever its author wrote
        return end
    special = [token for token in tokenizer.all_special_tokens if token in behind]
    first = min(special, key=behind.index, default=None)
    return end if first is None else behind[: behind.index(first)] + first
