"""What a detector is asked about, in a benchmark."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

# A bare text, or chat messages with "role" and "content".
Prompt = str | tuple[Mapping[str, str], ...]


@dataclass(frozen=True)
class Question:
    """A question of an evaluation set.

    Attributes:
        text: The question.
        group: Whose it is (an author, a document): questions of a group are not independent.
        subject: The name of whom it is about, where that is known.
    """

    text: str
    group: str
    subject: str | None = None


def questions(texts: Iterable[str], group: str) -> tuple[Question, ...]:
    """Makes questions of texts that are independent of one another, each a group of its own."""
    return tuple(Question(text, f"{group} {number}") for number, text in enumerate(texts))


def text_of(prompt: Prompt) -> str:
    """Returns all that a prompt says: what a detector without messages is given."""
    if isinstance(prompt, str):
        return prompt
    return "\n".join(message["content"] for message in prompt)
