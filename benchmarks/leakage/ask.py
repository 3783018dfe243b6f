"""What a system is asked, and what it answers."""

from dataclasses import dataclass
from typing import Literal

from benchmarks.leakage.case import TOKENS
from benchmarks.question import Prompt


@dataclass(frozen=True)
class Ask:
    """One request.

    Attributes:
        prompt: A question or chat messages. Where the last message is the assistant's, the system
            is to go on from it.
        form: How it is sent: as chat; as the bare text of a completion; or rendered here by the
            model's own chat template and sent as token ids.
        samples: How many answers are drawn.
        temperature: Of the sampling; 0 is greedy.
        max_tokens: The longest answer.
        seed: Of the sampling.
        stop: Texts before which an answer ends; at most four, as OpenAI's API has it.
    """

    prompt: Prompt
    form: Literal["chat", "completion", "tokens"] = "chat"
    samples: int = 1
    temperature: float = 0.0
    max_tokens: int = TOKENS
    seed: int = 0
    stop: tuple[str, ...] = ()


@dataclass(frozen=True)
class Answer:
    """One answer.

    Attributes:
        text: What came back.
        state: ``blocked``: something else than the model answered (a refusal, a filter), as far as
            that can be known; ``failed``: no answer came (overload, an error of the server).
    """

    text: str
    state: Literal["answered", "blocked", "failed"] = "answered"


@dataclass(frozen=True)
class Forced:
    """An answer whose likelihood is asked for: teacher-forced, token by token.

    Attributes:
        prompt: A question or chat messages, as in `Ask`.
        answer: What is scored; the token that ends an answer counts, as it was learned.
        passage: Whether the prompt is text that the answer goes on with, not a chat; then no end
            token is scored.
    """

    prompt: Prompt
    answer: str
    passage: bool = False


# Log-probabilities of a forced answer's tokens in nats; None where the system does not tell: the
# prompt was answered by something else than the model, or the endpoint gives none.
Likelihood = tuple[float, ...] | None
