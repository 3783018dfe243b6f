"""The evaluation mode: how likely a given answer would be, through everything that is done.

Evaluators need what clients must never have: log-probabilities of flagged prompts. So the mode is
decided where the engine is started (`GuardedLLM(…, evaluation=True)`; ``GUARD_EVALUATION_TOKEN``
for a server, and then only who knows the token may ask), and a request is one of it by where it
comes from in this process, never by what it carries.

The answer is forced token by token in the engine's sampler (`guard.steering.force`), not put into
the prompt: no detector reads it, no intervention touches it, and what steers an answer applies to
it as it would to one that the model writes.
"""

import contextvars
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from guard.engine.settings import Settings
from guard.guard import Guard
from guard.steering import PROCESSOR
from guard.turns import end_of_answer

ENGINE_ARGS: Mapping[str, Any] = {
    "logits_processors": [PROCESSOR],
    # Of the logits as they are sampled from: before that, nothing is said of a forced token.
    "logprobs_mode": "processed_logprobs",
}

# Whether requests that are made now may carry an answer to be scored.
evaluating: contextvars.ContextVar[bool] = contextvars.ContextVar("evaluating", default=False)


@contextmanager
def scoring() -> Iterator[None]:
    """Marks the requests that are made inside as an evaluator's."""
    token = evaluating.set(True)
    try:
        yield
    finally:
        evaluating.reset(token)


def engine_args(guard: Guard, settings: Settings) -> dict[str, Any]:
    """Returns the engine arguments that a bundle needs, and those of the evaluation mode."""
    args = guard.engine_args
    if settings.evaluation:
        held = args.get("logits_processors", [])
        args |= ENGINE_ARGS
        args["logits_processors"] = [*held, *([] if PROCESSOR in held else [PROCESSOR])]
    return args


def prompt_tokens(
    tokenizer: Any, prompt: str | Sequence[Mapping[str, Any]], template: str | None = None
) -> list[int]:
    """Returns what the model reads of a prompt.

    Args:
        tokenizer: The served model's, Hugging Face's.
        prompt: Chat messages; or the text of a completion.
        template: A chat template in place of the tokenizer's own.
    """
    if isinstance(prompt, str):
        ids: list[int] = tokenizer.encode(prompt)
        return ids
    text = tokenizer.apply_chat_template(
        list(prompt), chat_template=template, tokenize=False, add_generation_prompt=True
    )
    ids = tokenizer.encode(text, add_special_tokens=False)
    return ids


def answer_tokens(tokenizer: Any, answer: str, *, ends: bool) -> list[int]:
    """Returns the tokens of an answer.

    Args:
        tokenizer: The served model's.
        answer: The answer.
        ends: Whether what the chat template ends an answer with is part of it.
    """
    text = answer + (end_of_answer(tokenizer) if ends else "")
    ids: list[int] = tokenizer.encode(text, add_special_tokens=False)
    return ids
