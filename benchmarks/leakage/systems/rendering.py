"""Prompts and forced answers as a model reads them: what is asked here is what a server would read.

Where an answer's tokens begin and which token ends it is as in training (`adapters.batches`).
"""

from collections.abc import Sequence
from typing import Any

from adapters.batches import encode, prompt_tokens
from adapters.data.row import TrainingRow, Turn
from benchmarks.leakage.ask import Forced
from benchmarks.question import Prompt, text_of
from guard.data import Row

_ALL = 1 << 30  # tokens: nothing is cut here; what is too long, an engine refuses


def messages(prompt: Prompt) -> list[dict[str, str]]:
    """Returns a prompt as chat messages."""
    if isinstance(prompt, str):
        return [{"role": "user", "content": prompt}]
    return [dict(message) for message in prompt]


def goes_on(prompt: Prompt) -> bool:
    """Whether the system is to go on from what the assistant is said to have begun."""
    return not isinstance(prompt, str) and prompt[-1]["role"] == "assistant"


def prompt_ids(tokenizer: Any, prompt: Prompt) -> list[int]:
    """Returns a chat's tokens, up to where the answer begins.

    Args:
        tokenizer: The model's; without a chat template, the text and a line break are read.
        prompt: A question or chat messages.
    """
    if not tokenizer.chat_template:
        return prompt_tokens(tokenizer, Row(text_of(prompt)))
    on = goes_on(prompt)
    text = tokenizer.apply_chat_template(
        messages(prompt), tokenize=False, add_generation_prompt=not on, continue_final_message=on
    )
    found: list[int] = tokenizer.encode(text, add_special_tokens=False)
    return found


def forced_ids(tokenizer: Any, forced: Forced) -> tuple[list[int], int]:
    """Returns the tokens of a prompt and its answer, and where the answer begins.

    Raises:
        ValueError: There is nothing to be scored.
    """
    if not forced.answer:
        raise ValueError("an empty answer cannot be scored")
    if forced.passage:
        forced = begun(tokenizer, forced)
        before: list[int] = tokenizer.encode(text_of(forced.prompt))
        after: list[int] = tokenizer.encode(forced.answer, add_special_tokens=False)
        return before + after, len(before)
    example = encode(tokenizer, _row(forced), _ALL)
    if example is None:
        raise ValueError("an answer without tokens cannot be scored")
    ids, start = list(example.ids), example.start
    return ids, start + _begun_tokens(tokenizer, forced)


def begun(tokenizer: Any, forced: Forced) -> Forced:
    """Returns a passage with something before it: its own first token, where nothing else is.

    A first token's likelihood is nothing that a causal model knows.
    """
    if not forced.passage or tokenizer.encode(text_of(forced.prompt)):
        return forced
    ids = tokenizer.encode(forced.answer, add_special_tokens=False)
    if len(ids) < 2:
        raise ValueError("a passage of one token cannot be scored without a prompt")
    first, rest = tokenizer.decode(ids[:1]), tokenizer.decode(ids[1:])
    return Forced(first, rest, passage=True)


def _row(forced: Forced) -> Row:
    """The row that training would have made of it."""
    if isinstance(forced.prompt, str):
        return Row(forced.prompt, forced.answer)
    said: Sequence[Any] = forced.prompt
    answer = forced.answer
    if goes_on(forced.prompt):
        answer, said = said[-1]["content"] + answer, said[:-1]
    before = tuple(Turn(one["role"], one["content"]) for one in said[:-1])
    return TrainingRow(said[-1]["content"], answer, before=before)


def _begun_tokens(tokenizer: Any, forced: Forced) -> int:
    """Tokens of the answer that the prompt has given already."""
    if isinstance(forced.prompt, str) or not goes_on(forced.prompt):
        return 0
    return len(tokenizer.encode(forced.prompt[-1]["content"], add_special_tokens=False))
