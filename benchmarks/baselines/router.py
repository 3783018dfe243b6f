"""aurelio's semantic-router with the same encoder, in a process and an environment of its own."""

import json
import os
import random
import subprocess
import sys
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from filelock import FileLock

from benchmarks.baselines.cosine import ENCODER, forget_questions
from benchmarks.question import text_of
from benchmarks.split import Target
from benchmarks.systems import Fitted, Judge, System, Verdict
from guard.errors import GuardError
from guard.models import cache_folder, resolve

VERSION = "1.1.1"
THRESHOLD = 0.5  # of a calibrated confidence: as likely as not
VARIABLE = "GUARD_ROUTER_PYTHON"
_SERVER = Path(__file__).with_name("router_server.py")


def environment(*, make: bool) -> Path:
    """Returns the Python that has semantic-router installed.

    That is what ``$GUARD_ROUTER_PYTHON`` names, or an environment in the user's cache.

    Args:
        make: Whether to make the environment where there is none; some minutes, once.

    Raises:
        GuardError: There is none, or it cannot be made.
    """
    if chosen := os.environ.get(VARIABLE):
        return Path(chosen)
    folder = cache_folder() / "benchmarks" / f"semantic-router-{VERSION}"
    python, done = folder / "bin" / "python", folder / "complete"
    if done.exists():
        return python
    if not make:
        raise GuardError(f"no environment with it; --baselines makes one, or set {VARIABLE}")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        if not done.exists():
            _run(sys.executable, "-m", "venv", "--clear", folder)
            _install(python)
            done.touch()
    return python


class Server:
    """A router in its own process, which ends when this is closed or dropped."""

    def __init__(self, fitted: "Routed") -> None:
        self._process = subprocess.Popen(
            [fitted.python, "-P", _SERVER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
            env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},  # as all the others
        )
        # A process that is merely forgotten goes on: `subprocess` keeps it, and its pipes open.
        self._end = weakref.finalize(self, _end, self._process)
        try:
            self._ask(
                encoder=resolve(ENCODER),
                utterances=fitted.utterances,
                positives=fitted.positives,
                negatives=fitted.negatives,
            )
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "Server":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def route(self, texts: Sequence[str]) -> list[Verdict]:
        """Routes texts one after the other."""
        answer = self._ask(texts=list(texts))
        pairs = zip(answer["scores"], answer["ms"], strict=True)
        return [Verdict(score >= THRESHOLD, score, "router", ms) for score, ms in pairs]

    def close(self) -> None:
        """Ends the process."""
        self._end()

    def _ask(self, **request: Any) -> dict[str, Any]:
        if not self._process.stdin or not self._process.stdout:
            raise GuardError("semantic-router: its process has no pipes")
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise GuardError(f"semantic-router: its process ended; is it installed for {VARIABLE}?")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise GuardError(f"semantic-router: {answer['error']}")
        return answer


def _end(process: "subprocess.Popen[str]") -> None:
    if process.stdin:
        process.stdin.close()
    process.wait()
    if process.stdout:
        process.stdout.close()


@dataclass(frozen=True)
class Routed(Fitted):
    """What a router is made of.

    Attributes:
        python: The Python that has semantic-router.
        utterances: Of the only route.
        positives: Labelled questions for its calibration: some of the utterances.
        negatives: And as many that no route should match.
    """

    python: Path
    utterances: tuple[str, ...]
    positives: tuple[str, ...]
    negatives: tuple[str, ...]

    def load(self) -> Judge:
        server = Server(self)

        return lambda prompt: server.route([text_of(prompt)])[0]


@dataclass(frozen=True)
class Router(System):
    """One route with the forget questions as utterances, calibrated on half of them."""

    python: Path
    seed: int = 0
    name: str = "semantic-router"

    def fit(self, targets: Mapping[str, Target], folder: Path) -> Routed:
        utterances = forget_questions(targets)
        kept = [row.get("question") or row["text"] for t in targets.values() for row in t.retain]
        half = utterances[::2]
        negatives = random.Random(self.seed).sample(kept, min(len(half), len(kept)))
        return Routed(self.python, utterances, half, tuple(negatives))


def _install(python: Path) -> None:
    """Installs semantic-router, with the same build of torch as here: others may be gigabytes."""
    import torch

    packages = f"torch=={torch.__version__}", f"semantic-router=={VERSION}", "sentence-transformers"
    pip = python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"
    try:
        _run(*pip, *packages)
    except GuardError:
        # pip's indexes may lack that build; uv knows the one that does.
        _run(*pip, "uv")
        uv = python, "-m", "uv", "pip", "install", "--quiet", "--python", python
        _run(*uv, "--torch-backend=cpu" if torch.version.cuda is None else "--torch-backend=auto",
             *packages)  # fmt: skip


def _run(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines() or ["no reason given"]
        raise GuardError(f"semantic-router cannot be installed: {said[-1][:300]}")
