"""What a person may say about the systems that are measured."""

from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.leakage.systems.engine import Settings


@dataclass(frozen=True)
class Remote:
    """An OpenAI-compatible endpoint.

    Attributes:
        url: Its address, up to where ``/chat/completions`` follows: ``http://host:8000/v1``.
        model: What it calls the model.
        key: The environment variable that holds its API key, if it asks for one.
        token: The environment variable that holds the evaluation token of a guarded server.
        concurrency: Requests that are under way at once.
        seconds: How long one may take.
    """

    url: str
    model: str
    key: str | None = None
    token: str | None = None
    concurrency: int = 8
    seconds: float = 300.0


@dataclass(frozen=True)
class Options:
    """Of all systems.

    Attributes:
        engine: How engines are started.
        memory: A LoRA that remembers what is to be forgotten; trained where it is not given.
        soft_prompt: A soft prompt that was trained to forget it; likewise.
        parts: Where systems keep what they train, so that one training serves all of them; each in
            its own folder by default.
        remote: The endpoint that is measured, where one is.
        seed: Of trainings.
    """

    engine: Settings = field(default_factory=Settings)
    memory: Path | None = None
    soft_prompt: Path | None = None
    parts: Path | None = None
    remote: Remote | None = None
    seed: int = 0
