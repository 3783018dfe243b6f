"""What an answer depends on besides what is asked: of another code, model or setting, ask again."""

import hashlib
from pathlib import Path
from typing import Any

from benchmarks.leakage.case import Suite
from benchmarks.leakage.systems.base import System
from benchmarks.result import ROOT, versions
from guard.identity import identify

_ASKING = ("ask.py", "play.py", "gather.py")
# Of the systems' files, those that a model as it is runs through.
BARE = ("base.py", "engine.py", "models.py", "rendering.py", "watch.py", "worker.py")
# What answers, and what finds words in it.
_PACKAGES = ("vllm", "torch", "transformers", "sentence-transformers", "faiss")


def made_of(system: System, suite: Suite) -> dict[str, Any]:
    """Returns what a system's answers in a suite depend on, as JSON has it; no secrets.

    Raises:
        GuardError: A model or a trained part cannot be read.
    """
    models = {"target": suite.models.target}
    if system.bare:
        models = {system.name: str(getattr(suite.models, system.name))}
    held = versions()
    return {
        "code": code(system.bare),
        "versions": {name: held[name] for name in _PACKAGES if name in held},
        # A folder may be written anew under the same name.
        "models": {
            which: identify(Path(model)) for which, model in models.items() if Path(model).is_dir()
        },
        **system.made_of(),
    }


def code(bare: bool = False) -> str:
    """Digests what decides what is asked and answered: the guard, the systems and the attacks.

    Args:
        bare: Whether it is of a model as it is: then neither the guard nor other systems count.
    """
    digest = hashlib.sha256()
    folders = ["benchmarks/evasions", "benchmarks/leakage"]
    if not bare:
        folders += ["benchmarks/baselines", "guard"]
    digest.update((ROOT / "benchmarks/question.py").read_bytes())
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            place = path.parent.name
            # What a suite asks and gives is known by its cases, not by the code that read them.
            if (
                place == "suites"
                or (place == "leakage" and path.name not in _ASKING)
                or (bare and place == "systems" and path.name not in BARE)
            ):
                continue
            digest.update(str(path.relative_to(ROOT)).encode() + path.read_bytes())
    return digest.hexdigest()[:16]
