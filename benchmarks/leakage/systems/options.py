"""What a person may say about the systems that are measured."""

import hashlib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.leakage.systems.engine import Settings
from guard.errors import GuardError


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

    def made_of(self) -> dict[str, Any]:
        """Returns what answers depend on of this, but for the endpoint and the seed.

        Raises:
            GuardError: A part that was given cannot be read.
        """
        given = {"--memory": self.memory, "--soft-prompt": self.soft_prompt}
        parts = {name: _digest(name, path) for name, path in given.items() if path is not None}
        return {"engine": asdict(self.engine), "parts": parts}


def _digest(name: str, path: Path) -> str:
    """Digests a file, or all files of a folder."""
    digest = hashlib.sha256()
    try:
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file() or file == path:
                digest.update(str(file.relative_to(path)).encode() + file.read_bytes())
    except OSError as error:
        raise GuardError(f"{name}: {path}: cannot be read: {error.strerror}") from None
    return digest.hexdigest()
