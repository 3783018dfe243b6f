"""How attacks put their requests: the same for all, but for what each is about."""

from typing import Literal

from benchmarks.leakage.ask import Ask
from benchmarks.leakage.case import Case
from benchmarks.question import Prompt

Form = Literal["chat", "completion", "tokens"]


def request(
    case: Case,
    prompt: Prompt,
    form: Form | None = None,
    samples: int = 1,
    temperature: float = 0.0,
    seed: int = 0,
) -> Ask:
    """Makes a request about a case.

    Args:
        case: What it is about.
        prompt: What is sent.
        form: How; by default a passage's text is completed, and all else is chat.
        samples: How many answers are drawn.
        temperature: Of the sampling; 0 is greedy.
        seed: Of the sampling.
    """
    if form is None:
        form = "completion" if case.passage and isinstance(prompt, str) else "chat"
    return Ask(prompt, form, samples, temperature, case.tokens, seed, case.stop)


def asked(case: Case) -> str:
    """What a person would ask in a chat; a passage's beginning is asked to be continued."""
    return f"Go on with this text: {case.question}" if case.passage else case.question


def chat(*turns: str, system: str | None = None) -> Prompt:
    """Makes messages of turns: the user's and the assistant's, by turns, the user's first."""
    first = [] if system is None else [{"role": "system", "content": system}]
    roles = ("user", "assistant")
    return (
        *first,
        *({"role": roles[n % 2], "content": turn} for n, turn in enumerate(turns)),
    )
