"""The policies that the cost of the guard is measured with: the demo's, with one change each."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from benchmarks.interventions import INTERVENTIONS
from guard.bundle import Bundle
from guard.compile import compile_policy
from guard.demo.__main__ import POLICY
from guard.demo.servers import MODEL
from guard.errors import GuardError
from guard.models import resolve

TARGET = "shakespeare"  # of the demo's; a second target would have other prompts flagged
_PLAIN = ("refuse", "corrupt", "penalize", "instruct")
# Refused prompts are not answered by the model: what is measured is what its other answers cost.
_CHECKED = {"intervene": {"kind": "refuse"}, "output": {"check": ["exact", "verbatim", "semantic"]}}


def policies(memory: Path | None, only: Sequence[str] | None) -> dict[str, Any]:
    """Returns what policies say of their target, by name; every strength is the default.

    Args:
        memory: A LoRA of the demo's model, for the interventions that need one. What it remembers
            does not matter here: only what it costs is measured.
        only: Some of the names; all by default.

    Raises:
        GuardError: A name is unknown, or needs `memory`.
    """
    known: dict[str, Any] = {name: {"intervene": INTERVENTIONS[name]} for name in _PLAIN}
    known["output check"] = _CHECKED
    if memory is not None:
        path, base = str(memory.resolve()), str(resolve(MODEL))
        subtracted = {"kind": "adapter", "path": path, "scale": -0.85}
        offset = {"kind": "offset", "assistant": base, "adapter": path, "base": base}
        known |= {"adapter": {"intervene": subtracted}, "offset": {"intervene": offset}}
    for name in only or ():
        if name not in known:
            more = "" if memory else "; adapter and offset need --memory"
            raise GuardError(f"--only: no policy {name!r} (known: {', '.join(known)}{more})")
    return {name: known[name] for name in known if not only or name in only}


def compiled_with(fields: Mapping[str, Any], folder: Path) -> Bundle:
    """Compiles the demo's policy with one target, and other fields of it.

    Args:
        fields: What the policy says of the target, see `policies`.
        folder: An empty folder for policy and bundle.

    Raises:
        GuardError: It cannot be compiled.
    """
    policy = yaml.safe_load(POLICY.read_text("utf-8"))
    (target,) = (target for target in policy["targets"] if target["id"] == TARGET)
    for name in ("forget", "retain"):
        target[name] = str(POLICY.parent / target[name])
    policy["targets"] = [{**target, **fields}]
    path = folder / "policy.yaml"
    path.write_text(yaml.safe_dump(policy), "utf-8")
    return compile_policy(path, folder / "bundle")
