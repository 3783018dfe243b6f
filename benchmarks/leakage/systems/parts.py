"""Parts of policies that have to be made for a suite first: trained, chosen or computed.

Everything is made of `Suite.given` and the suite's models; of those, never the retrained one.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from adapters import provenance
from benchmarks.leakage.case import Suite
from benchmarks.leakage.separation import ProtocolError
from benchmarks.leakage.systems.once import (
    folder_of,
    forget_rows,
    made_once,
    recipe,
    retain_rows,
)
from benchmarks.leakage.systems.options import Options
from guard.errors import DataError, ModelError
from guard.lora import WEIGHTS


class Part(ABC):
    """An entry of ``intervene`` that depends on the suite."""

    def missing(self, suite: Suite, options: Options) -> str | None:
        """Says why it cannot be made; None where it can."""
        return None

    @abstractmethod
    def made(self, suite: Suite, folder: Path, options: Options) -> dict[str, Any]:
        """Makes it.

        Args:
            suite: What is measured.
            folder: Where it is kept.
            options: What was said of all systems.

        Raises:
            GuardError: It cannot be made.
        """


@dataclass(frozen=True)
class Subtracted(Part):
    """A memory adapter at a negative scale: task-vector negation (METHODS: "Memory adapter").

    The scale is the surrogate's of `adapters.scale`: the target is to find the given forget answers
    as likely as the base model does. Neither evaluation rows nor the retrained model have a say.

    Attributes:
        contrast: Whether the manner of the answers is taken from the memory first.
    """

    contrast: bool = False

    def missing(self, suite: Suite, options: Options) -> str | None:
        few = "no retain rows are given" if self.contrast and not suite.given.retain else None
        return no_base(suite) or _no_answers(suite) or few

    def made(self, suite: Suite, folder: Path, options: Options) -> dict[str, Any]:
        adapter = memory(suite, folder, options, contrast=self.contrast)
        return {
            "kind": "adapter",
            "path": str(adapter),
            "scale": scale(suite, adapter, options.parts or folder),
        }


@dataclass(frozen=True)
class Difference(Part):
    """What a memory adapter adds to the base model's logits, taken off the target's.

    ULD's form with its α of 0.8 and filter of 0.01, but for the assistant: the base model with the
    memory adapter, and only the difference to the base model is taken off.
    """

    def missing(self, suite: Suite, options: Options) -> str | None:
        return no_base(suite) or _no_answers(suite)

    def made(self, suite: Suite, folder: Path, options: Options) -> dict[str, Any]:
        base = str(folder_of(str(suite.models.base)))
        adapter = str(memory(suite, folder, options))
        return {"kind": "offset", "assistant": base, "adapter": adapter, "base": base}


@dataclass(frozen=True)
class SoftPrompt(Part):
    """SPUL's soft prompt (2406.12038), as ``python -m adapters soft-prompt`` trains it."""

    def missing(self, suite: Suite, options: Options) -> str | None:
        return _no_answers(suite) or (None if suite.given.retain else "no retain rows are given")

    def made(self, suite: Suite, folder: Path, options: Options) -> dict[str, Any]:
        if options.soft_prompt is not None:
            given = options.soft_prompt.resolve()
            check_made_from(suite, provenance.of_file(given), str(given))
            return {"kind": "soft_prompt", "path": str(given)}
        from adapters.objectives import OBJECTIVES
        from adapters.settings import settings_for
        from adapters.soft_prompt import train_soft_prompt

        target = folder_of(suite.models.target)
        settings = settings_for(OBJECTIVES.get("spul"), {"seed": options.seed})
        forget, retain = forget_rows(suite.given), retain_rows(suite.given)

        def make(out: Path) -> None:
            train_soft_prompt(target, forget, retain, out, settings, resume=True)

        made_of = recipe(target, suite, settings.model_dump(mode="json"))
        path = made_once(options.parts or folder, "soft-prompt", made_of, make)
        return {"kind": "soft_prompt", "path": str(path.resolve())}


@dataclass(frozen=True)
class Adapter(Part):
    """A LoRA of the target, trained to forget.

    Attributes:
        objective: What it is trained with.
        settings: How, where the objective's defaults are not meant.
        soft: Whether it is weighed by how surely a prompt is of the forget set.
    """

    objective: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    soft: bool = False

    def missing(self, suite: Suite, options: Options) -> str | None:
        return _no_answers(suite)

    def made(self, suite: Suite, folder: Path, options: Options) -> dict[str, Any]:
        path = _trained(
            suite.models.target, self.objective, suite, options.parts or folder,
            {**self.settings, "seed": options.seed},
        )  # fmt: skip
        return {"kind": "adapter", "path": str(path), "soft": self.soft}


@dataclass(frozen=True)
class Zeroed(Part):
    """ECO's ``zero_out_top_k``, with k as a share of the model's width.

    Attributes:
        share: Of the dimensions of an embedding.
        tokens: Whose embeddings: see `guard.interventions.corrupt`.
        shares: Those of some suites, by name, in place of `share`.
    """

    share: float
    tokens: str = "entities"
    shares: Mapping[str, float] = field(default_factory=dict)

    def made(self, suite: Suite, folder: Path, options: Options) -> dict[str, Any]:
        from guard.embeddings import EmbeddingRows

        width = EmbeddingRows(folder_of(suite.models.target)).dimensions
        dims = max(round(self.shares.get(suite.name, self.share) * width), 1)
        return {"kind": "corrupt", "method": "zero_out_top_k", "dims": dims, "tokens": self.tokens}


def memory(suite: Suite, folder: Path, options: Options, *, contrast: bool = False) -> Path:
    """Returns a LoRA of the base model that remembers the given forget rows: trained, or given.

    Args:
        suite: What is measured.
        folder: Where it is kept.
        options: One that is given is taken if it is of the kind that is wanted.
        contrast: Whether it is to be one without the manner of the answers.

    Raises:
        ModelError: What was given is no adapter, or the suite has no base model.
    """
    if options.memory is not None:
        if not (options.memory / WEIGHTS).is_file():
            raise ModelError(
                f"{options.memory}: holds no {WEIGHTS}; give a memory adapter's folder"
            )
        made_of = provenance.read(options.memory)
        if contrast == ("contrasted" in (made_of or {})):
            check_made_from(suite, made_of, str(options.memory))
            return options.memory.resolve()
    if suite.models.base is None:
        raise ModelError(f"{suite.name} has no base model that a memory could be trained on")
    where, chosen = options.parts or folder, {"seed": options.seed}
    if contrast:
        return _contrasted(suite.models.base, suite, where, chosen)
    return _trained(suite.models.base, "negate", suite, where, chosen)


def check_made_from(suite: Suite, made_of: Mapping[str, Any] | None, what: str) -> None:
    """Proves that something given was trained with what the suite gives, and nothing that it asks.

    Args:
        suite: What is measured.
        made_of: Its provenance, where it has any.
        what: What it is, for the message.

    Raises:
        ProtocolError: It was not, or does not say.
    """
    if made_of is None:
        raise ProtocolError(
            f"{what}: does not say what it was trained with; train it with python -m adapters, or "
            "leave it out and have it trained here"
        )
    kept = made_of.get("settings", {}).get("retain") != "none" or "contrasted" in made_of
    used = {"forget": forget_rows, **({"retain": retain_rows} if kept else {})}
    for name, rows in used.items():
        if made_of.get(name) != provenance.rows(rows(suite.given)):
            raise ProtocolError(
                f"{what}: was trained with other {name} rows than {suite.name} gives; leave it out "
                "and have it trained here"
            )


def scale(suite: Suite, adapter: Path, folder: Path) -> float:
    """Returns how much of a memory adapter is taken off, by the surrogate; chosen once.

    Raises:
        GuardError: There is no such scale.
    """
    from adapters.records import write_record
    from adapters.scale import choose_scale

    base, target = suite.models.base, suite.models.target

    def choose(out: Path) -> None:
        chosen = choose_scale(target, adapter, forget_rows(suite.given), base=base)
        write_record(out, asdict(chosen))

    weights = provenance.file_hash(adapter / WEIGHTS)
    made_of = recipe(folder_of(target), suite, {"adapter": weights, "base": str(base)})
    path = made_once(folder, "scale", made_of, choose)
    try:
        return float(json.loads(path.read_text("utf-8"))["scale"])
    except (OSError, ValueError, KeyError, TypeError):
        raise DataError(f"{path}: damaged; remove it") from None


def _trained(
    model: str, objective: str, suite: Suite, folder: Path, chosen: Mapping[str, Any]
) -> Path:
    from adapters.objectives import OBJECTIVES
    from adapters.settings import settings_for
    from adapters.trainer import train

    kind = OBJECTIVES.get(objective)
    settings = settings_for(kind, chosen)
    base, forget = folder_of(model), forget_rows(suite.given)
    retain = retain_rows(suite.given) if settings.retain != "none" or kind.needs_retain else []
    made_of = recipe(base, suite, {"objective": objective, **settings.model_dump(mode="json")})

    def make(out: Path) -> None:
        # Taken up where an earlier run was broken off.
        train(base, forget, retain, out, settings, kind(kind.Options()), resume=True)

    return made_once(folder, objective, made_of, make).resolve()


def _contrasted(base: str, suite: Suite, folder: Path, chosen: Mapping[str, Any]) -> Path:
    from adapters.contrasted import contrast
    from adapters.objectives.negate import Negate
    from adapters.settings import settings_for

    settings, model = settings_for(Negate, chosen), folder_of(base)
    made_of = recipe(model, suite, {"contrast": True, **settings.model_dump(mode="json")})
    forget, retain = forget_rows(suite.given), retain_rows(suite.given)

    def make(out: Path) -> None:
        contrast(model, forget, retain, out, settings, resume=True)

    return made_once(folder, "contrast", made_of, make).resolve()


def no_base(suite: Suite) -> str | None:
    """Says that a suite has no base model; None where it has one."""
    return None if suite.models.base is not None else f"{suite.name} has no base model"


def _no_answers(suite: Suite) -> str | None:
    return None if suite.given.forget else "no forget rows are given"
