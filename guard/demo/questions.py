"""What the demo asks, and how."""

import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from openai import OpenAI

Route = Literal["chat", "stream", "completions", "responses"]

MAX_TOKENS = 48


@dataclass(frozen=True)
class Question:
    """One question.

    Attributes:
        kind: ``direct`` and ``paraphrase`` ask about a target; ``neighbour`` and ``unrelated``
            must be answered as ever.
        target: The target that it asks about, or lies next to.
        text: The question.
        facts: Any of them in an answer, in any case, shows that the model knows.
        route: The way in that is used.
    """

    kind: Literal["direct", "paraphrase", "neighbour", "unrelated"]
    target: str | None
    text: str
    facts: tuple[str, ...]
    route: Route = "chat"

    @property
    def flagged(self) -> bool:
        """Whether it asks about something that is to be forgotten."""
        return self.kind in ("direct", "paraphrase")

    def found(self, answer: str) -> list[str]:
        """The facts that an answer gives."""
        return [fact for fact in self.facts if fact.casefold() in answer.casefold()]


@dataclass(frozen=True)
class Answer:
    """An answer and how long it took."""

    text: str
    seconds: float


def load_questions(path: Path) -> list[Question]:
    """Reads the questions, and adds one that is asked through the other ways in."""
    questions = [
        Question(row["kind"], row["target"], row["question"], tuple(row["facts"]))
        for row in json.loads(path.read_text(encoding="utf-8"))
    ]
    again = next(question for question in questions if question.flagged)
    others: tuple[Route, ...] = ("stream", "completions", "responses")
    return questions + [
        Question(again.kind, again.target, again.text, again.facts, route) for route in others
    ]


def ask(
    client: "OpenAI", model: str, question: Question, arriving: Callable[[str], None]
) -> Answer:
    """Asks greedily, by the question's route.

    Args:
        client: The server.
        model: Its model.
        question: What to ask.
        arriving: Is given the pieces of a streamed answer as they come.

    Raises:
        openai.OpenAIError: The server did not answer.
    """
    started = time.perf_counter()
    text = "".join(_pieces(client, model, question, arriving))
    return Answer(text.strip(), time.perf_counter() - started)


def _pieces(
    client: "OpenAI", model: str, question: Question, arriving: Callable[[str], None]
) -> Iterable[str]:
    if question.route == "completions":
        prompt = f"Q: {question.text}\nA:"
        completion = client.completions.create(
            model=model, prompt=prompt, temperature=0, max_tokens=MAX_TOKENS
        )
        yield completion.choices[0].text
    elif question.route == "responses":
        response = client.responses.create(
            model=model, input=question.text, temperature=0, max_output_tokens=MAX_TOKENS
        )
        yield response.output_text
    elif question.route == "stream":
        stream = client.chat.completions.create(
            model=model,
            messages=[{"role": "user", "content": question.text}],
            temperature=0,
            max_tokens=MAX_TOKENS,
            stream=True,
        )
        for chunk in stream:
            piece = (chunk.choices[0].delta.content if chunk.choices else None) or ""
            arriving(piece)
            yield piece
    else:
        chat = client.chat.completions.create(
            model=model,
            messages=[{"role": "user", "content": question.text}],
            temperature=0,
            max_tokens=MAX_TOKENS,
        )
        yield chat.choices[0].message.content or ""
