"""The suite's target behind a guard, with a policy of one target made of what is given."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from benchmarks.leakage.case import Given, Suite
from benchmarks.leakage.systems.base import Running, System
from benchmarks.leakage.systems.engine import Engine
from benchmarks.leakage.systems.once import made_once
from benchmarks.leakage.systems.options import Options
from benchmarks.leakage.systems.parts import Part
from benchmarks.result import commit
from guard import __version__
from guard.compile import compile_policy
from guard.errors import DataError

TARGET = "forgotten"  # the id of the policy's only target
SECONDS = 120.0  # to judge a prompt: what is measured is what leaks, not what is overloaded
Choice = Mapping[str, Any] | Part


@dataclass(frozen=True)
class Guarded(System):
    """A guard with one policy.

    Attributes:
        name: What the results call it.
        intervene: What is done with a flagged prompt, in this order.
        detect: How one is noticed; the default detector where it is not said, ``off`` for not at
            all.
        options: What was said of all systems.
        output: How answers are checked; not at all where it is not said.
        notes: What a reader of its figures should know.
    """

    name: str
    intervene: Sequence[Choice]
    detect: Mapping[str, Any] | Literal["off"] | None = None
    options: Options = field(default_factory=Options)
    output: Mapping[str, Any] | None = None
    notes: tuple[str, ...] = ()

    def start(self, suite: Suite, folder: Path) -> Running:
        bundle = self.compiled(suite, folder)
        engine = Engine(suite.models.target, bundle, self.options.engine)
        engine.withholds = self.output is not None
        return engine

    def made_of(self) -> Mapping[str, Any]:
        return self.options.made_of()

    def missing(self, suite: Suite) -> str | None:
        parts = (choice for choice in self.intervene if isinstance(choice, Part))
        reasons = (part.missing(suite, self.options) for part in parts)
        nothing = not (suite.given.forget or suite.given.names)
        return "nothing is given to forget" if nothing else next(filter(None, reasons), None)

    def compiled(self, suite: Suite, folder: Path) -> Path:
        """Returns the bundle: that of an earlier start where nothing has changed since.

        Raises:
            GuardError: The policy cannot be compiled, or a part of it not be made.
        """
        if (why := self.missing(suite)) is not None:
            raise DataError(f"{self.name}: {why}")
        intervene = [
            choice.made(suite, folder, self.options) if isinstance(choice, Part) else dict(choice)
            for choice in self.intervene
        ]
        target: dict[str, Any] = {"id": TARGET, "intervene": intervene}
        if self.detect is not None:
            target["detect"] = self.detect if self.detect == "off" else dict(self.detect)
        if self.output is not None:
            target["output"] = dict(self.output)
        return compiled(suite, target, folder)


def compiled(suite: Suite, target: Mapping[str, Any], folder: Path) -> Path:
    """Compiles a policy of one target into a bundle, once.

    Args:
        suite: What is measured.
        target: What the policy says of the target, besides names and rows.
        folder: Where policy, rows and bundle are kept.
    """
    given = suite.given
    files = {name: text for name, text in _files(given).items() if text}
    entry = {**target, "names": list(given.names), **{n: f"{n}.jsonl" for n in files}}
    model = suite.models.target
    policy = {
        "version": 1,
        "model": str(Path(model).resolve()) if Path(model).is_dir() else model,
        "timeout": SECONDS,
        "targets": [entry],
    }
    text = yaml.safe_dump(policy, sort_keys=False)
    rows = hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()
    # Of other code, another bundle.
    made_of = {"policy": text, "rows": rows, "version": __version__, "commit": commit()}

    def make(out: Path) -> None:
        for name, lines in files.items():
            _write(folder / f"{name}.jsonl", lines)
        _write(folder / "policy.yaml", text)
        compile_policy(folder / "policy.yaml", out)

    return made_once(folder, "bundle", made_of, make)


def _files(given: Given) -> dict[str, str]:
    """The rows of the policy's files, as JSON lines."""
    return {"forget": _lines(given.forget), "retain": _lines(given.retain)}


def _lines(pairs: Sequence[tuple[str, str]]) -> str:
    rows = (
        {name: value for name, value in (("question", question), ("answer", answer)) if value}
        if question
        else {"text": answer}
        for question, answer in pairs
    )
    return "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows)


def _write(path: Path, text: str) -> None:
    path.write_text(text, "utf-8")
    path.chmod(0o600)
