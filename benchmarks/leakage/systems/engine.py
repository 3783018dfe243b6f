"""A vLLM engine in a process of its own, which stays up and takes batches.

Its memory goes back with the process, and what crashes in it is one error here.
"""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from benchmarks.leakage.ask import Answer, Ask, Forced, Likelihood
from benchmarks.leakage.systems.base import Running
from benchmarks.result import ROOT
from guard.engine.settings import BUNDLE, EVALUATION, KEY, VERSION
from guard.errors import GuardError

_ERROR = re.compile(r"(?:[\w.]+\.)?([A-Z]\w*(?:Error|Exception|Exit|Interrupt))(?::|$)")
_PATIENCE = 10  # seconds that a process may take to end by itself


@dataclass(frozen=True)
class Settings:
    """How engines are started.

    Attributes:
        dtype: Of their arithmetic. In a type narrower than float32, who else is in the batch
            changes tokens, and is no intervention's doing.
        tokens: Of a prompt and its answer, at most; fewer where a model reads fewer.
    """

    dtype: str = "float32"
    tokens: int = 8192  # an attack pads prompts with two thousand words on either side


class Engine(Running):
    """An engine that is up.

    A guard in the same process says what it decided, so an answer is ``blocked`` where the guard
    gave it in the model's place (`refuse`) or an output check cut it off; what a model says to an
    edited prompt is an answer.

    Args:
        model: The model's name or folder, or a built-in.
        bundle: What guards it; as it is by default.
        settings: How it is started.

    Raises:
        GuardError: It did not start; its last line is quoted. One that was asked something may
            quote that, so of it only the error's name is told.
    """

    def __init__(
        self, model: str, bundle: Path | None = None, settings: Settings | None = None
    ) -> None:
        settings = settings or Settings()
        folder = Path(model)
        self._name = folder.name
        self._asked = False
        # Not on disk under a name: what an engine says may quote what it was asked.
        self._said: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  (closed with the engine)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.leakage.systems.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
            encoding="utf-8",
            cwd=ROOT,
            env=_environment(),
            start_new_session=True,  # so that it can be ended with all that it has started
        )
        # A process that is merely forgotten goes on: `subprocess` keeps it, and its pipes open.
        self._end = weakref.finalize(self, _end, self._process)
        try:
            self._call(
                model=str(folder.resolve()) if folder.is_dir() else model,
                bundle=None if bundle is None else str(bundle.resolve()),
                **asdict(settings),
            )
        except BaseException:
            self.close()
            raise

    def ask(self, asks: Sequence[Ask]) -> list[list[Answer]]:
        found = self._call(do="ask", asks=[asdict(ask) for ask in asks])["answers"]
        return [[Answer(**one) for one in some] for some in found]

    def score(self, forced: Sequence[Forced]) -> list[Likelihood]:
        found = self._call(do="score", forced=[asdict(one) for one in forced])["scores"]
        return [None if one is None else tuple(one) for one in found]

    def flags(self, asks: Sequence[Ask]) -> list[float] | None:
        """How far each prompt is above the guard's threshold; None without a guard.

        At 0 and above it is flagged; everyday prompts lie at -1 on the average.
        """
        found: list[float] | None = self._call(do="flags", asks=[asdict(a) for a in asks])["flags"]
        return found

    def close(self) -> None:
        """Ends the process and all that it has started."""
        self._end()
        self._said.close()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _call(self, **request: Any) -> dict[str, Any]:
        if self._process.stdin is None or self._process.stdout is None or not self._end.alive:
            raise GuardError(f"{self._name}: the engine has ended")
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise GuardError(f"{self._name}: the engine failed: {self._reason()}")
        self._asked = True
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _reason(self) -> str:
        """The last line of what the process said; once it was asked something, its error's name."""
        self._said.seek(0)
        lines = self._said.read().decode("utf-8", "replace").splitlines()
        said = [line.strip() for line in lines if line.strip()] or ["no reason given"]
        if not self._asked:
            return said[-1][:300]
        kind = _ERROR.match(said[-1])
        return kind[1] if kind else "its process ended"


def _environment() -> dict[str, str]:
    """This process's, without a guard's: an engine has the bundle that it is given, or none."""
    kept = {k: v for k, v in os.environ.items() if k not in (BUNDLE, VERSION, KEY, EVALUATION)}
    return {"VLLM_CPU_KVCACHE_SPACE": "1", **kept, "VLLM_LOGGING_LEVEL": "ERROR"}


def _end(process: "subprocess.Popen[str]") -> None:
    with contextlib.suppress(OSError):  # what was not read any more
        if process.stdin:
            process.stdin.close()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_PATIENCE)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdout:
        process.stdout.close()
