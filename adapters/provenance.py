"""Where an adapter comes from: what it was trained with, by hash and count, never by text."""

import hashlib
import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guard.data import Row

if TYPE_CHECKING:
    from adapters.fit import Fitted

NAME = "guard_adapter.json"
CARD = "README.md"
KEY = "guard"  # of provenance in the header of a safetensors file
_PACKAGES = ("unlearn-guard", "torch", "transformers", "peft", "accelerate")


def rows(held: Sequence[Row]) -> dict[str, Any]:
    """How many rows, and their sha256 in their order; it changes with any field of any row."""
    digest = hashlib.sha256()
    for row in held:
        digest.update(json.dumps(asdict(row), sort_keys=True).encode() + b"\n")
    return {"rows": len(held), "sha256": digest.hexdigest()}


def tokens(tokenizer: Any) -> str:
    """The sha256 of a tokenizer's vocabulary: adapters of one model have it in common."""
    return hashlib.sha256(json.dumps(sorted(tokenizer.get_vocab().items())).encode()).hexdigest()


def file_hash(path: Path) -> str:
    """The sha256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def outcome(fitted: "Fitted") -> dict[str, Any]:
    """What came of a training, and with which code."""
    return {
        "steps": fitted.steps,
        "stopped": fitted.stopped,
        "losses": list(fitted.losses),
        "tokens": fitted.tokens,
        "seconds": round(fitted.seconds, 1),
        "memory_gib": round(fitted.memory / 2**30, 2),
        "commit": _commit(),
        "versions": _versions(),
    }


def write(folder: Path, made_of: Mapping[str, Any], fitted: "Fitted") -> None:
    """Writes provenance and a model card into an adapter's folder.

    Args:
        folder: The folder.
        made_of: What the training was made of: ``objective``, ``options``, ``settings``,
            ``forget``, ``retain``, ``model`` and what else there was.
        fitted: What came of it.
    """
    fields = {"version": 1, **made_of, **outcome(fitted)}
    (folder / NAME).write_text(json.dumps(fields, indent=1) + "\n", "utf-8")
    (folder / CARD).write_text(card(fields), "utf-8")


def read(folder: Path) -> dict[str, Any] | None:
    """The provenance of an adapter; None where there is none that can be read."""
    try:
        fields = json.loads((folder / NAME).read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return fields if isinstance(fields, dict) else None


def of_file(path: Path) -> dict[str, Any] | None:
    """The provenance in a safetensors file's header; None where there is none that can be read."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            fields = json.loads((file.metadata() or {})[KEY])
    except (OSError, SafetensorError, KeyError, ValueError):
        return None
    return fields if isinstance(fields, dict) else None


def card(fields: Mapping[str, Any]) -> str:
    """A model card; it says nothing that the provenance does not."""
    last = fields["losses"][-1] if fields["losses"] else {}
    losses = ", ".join(f"{name} {value:.4g}" for name, value in last.items())
    settings = fields["settings"]
    retain = fields["retain"]["rows"] if fields.get("retain") else 0
    forget = (fields.get("pruned") or fields["forget"])["rows"]
    rows, rank = f"{forget} forget rows and {retain} retain rows", settings["rank"]
    if (retrained := fields.get("retrained")) is not None:
        rank = retrained["rank"]
        rows = f"no forget row and {retrained['learnt']['rows']} of {retain} retain rows"
    return f"""\
---
library_name: peft
tags: [lora, unlearning]
---
# An unlearning adapter

Trained with the objective `{fields["objective"]}` on {rows}: LoRA of rank {rank}, \
{fields["steps"]} steps, mean losses of the \
last epoch: {losses or "none"}.

Made for the model with identity `{fields["model"][:16]}…`, to be served per request by Guard \
(`intervene: {{kind: adapter}}`). Everything it was made of is in `{NAME}`, by hash.

**It may have memorised what it was trained on.** Keep it as the forget set is kept, and do not \
publish it.
"""


def _commit() -> str | None:
    """What is checked out where this file lies; None where it is no checkout of its own."""
    root = Path(__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return None
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
