"""SPUL's soft prompt: a few embeddings before a prompt that make a model answer as if it forgot.

Nothing of the model is trained but 30 rows that stand before everything else (Bhaila et al.,
arXiv 2406.12038, section 4), with the objective `spul`; `guard.interventions.soft_prompt` puts
them before flagged prompts.
"""

import argparse
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from adapters import provenance
from adapters.arguments import add_sources, given, sources
from adapters.batches import encode_rows
from adapters.settings import Settings, settings_for
from adapters.telling import progress, say
from guard.data import Row
from guard.errors import ModelError

if TYPE_CHECKING:
    import torch

    from adapters.fit import Fitted, Report

TOKENS = 30


def train_soft_prompt(
    target: Path,
    forget: Sequence[Row],
    retain: Sequence[Row],
    out: Path,
    settings: Settings,
    *,
    tokens: int = TOKENS,
    resume: bool = False,
    report: "Report" = lambda progress: None,
) -> "Fitted":
    """Trains a soft prompt; the same arguments give the same rows on one kind of machine.

    Args:
        target: The served model's folder; it stays as it is.
        forget: What is to be forgotten.
        retain: What is kept.
        out: The safetensors file to make.
        settings: How; what shapes a LoRA does not count.
        tokens: Rows of the prompt.
        resume: Whether to take up a training of the same that was broken off.
        report: Is told each step.

    Raises:
        GuardError: Rows or model do not do, or `out` is in the way; nothing is written.
    """
    from adapters.checkpoint import Checkpoint
    from adapters.data.alternatives import ALTERNATIVES
    from adapters.fit import fit
    from adapters.loading import embedding_factor
    from adapters.model import load
    from adapters.objectives import OBJECTIVES
    from guard.identity import identify

    if out.exists() or out.is_symlink():
        raise ModelError(f"{out}: is there already; give --out another path")
    kind = OBJECTIVES.get("spul")
    base = load(target, settings)
    factor = embedding_factor(base.model, target)
    tuned = _with_prompt(base.model, tokens, settings.seed)
    other = None
    if kind.alternative is not None:
        other = ALTERNATIVES[kind.alternative](forget, Random(settings.seed))

    def encoded(rows: Sequence[Row]) -> Any:
        return encode_rows(base.tokenizer, rows, settings.tokens)

    made_of: dict[str, Any] = {
        "objective": kind.kind,
        "prompt": tokens,
        "settings": settings.model_dump(mode="json"),
        "model": identify(target),
        "forget": provenance.rows(forget),
        "retain": provenance.rows(retain),
    }
    checkpoint = Checkpoint(out, made_of, resume)
    fitted = fit(
        tuned,
        encoded(forget),
        encoded(retain),
        settings,
        kind(kind.Options()),
        alternative=None if other is None else encoded(other),
        texts=forget,
        tokenizer=base.tokenizer,
        checkpoint=checkpoint,
        report=report,
    )
    rows = tuned.prompt_encoder[tuned.active_adapter].embedding.weight.detach()
    # As an engine's look-up would give them.
    _save(rows.float().cpu() / factor, made_of, out)
    checkpoint.remove()
    return fitted


def _with_prompt(model: Any, tokens: int, seed: int) -> Any:
    """Puts a soft prompt before a model, which starts as tokens that are drawn."""
    import torch
    from peft import PromptTuningConfig, get_peft_model

    tuned = get_peft_model(
        model, PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=tokens)
    )
    table = model.get_input_embeddings().weight
    drawn = torch.randperm(len(table), generator=torch.Generator().manual_seed(seed))[:tokens]
    start = model.get_input_embeddings()(drawn.to(table.device)).detach().float()
    prompt = tuned.prompt_encoder[tuned.active_adapter].embedding
    prompt.weight = torch.nn.Parameter(start.clone())
    return tuned


def _save(rows: "torch.Tensor", made_of: Mapping[str, Any], out: Path) -> None:
    """Writes rows and provenance, but no time: the same training makes the same file."""
    from safetensors.torch import save_file

    temp: str | None = None
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        handle, temp = tempfile.mkstemp(prefix=f".{out.name}.", dir=out.parent)
        os.close(handle)
        header = {provenance.KEY: json.dumps({"version": 1, **made_of}, sort_keys=True)}
        save_file({"prompt_embeddings": rows.contiguous()}, temp, header)
        os.replace(temp, out)
    except OSError as error:
        raise ModelError(f"{out}: cannot be written: {error.strerror}") from None
    finally:
        if temp is not None:
            Path(temp).unlink(missing_ok=True)


HELP = "train a soft prompt (SPUL)"
DESCRIPTION = """\
Train embeddings that stand before a flagged prompt, so that the served model answers as if it had
never learned the forget rows. A policy names the file:

  intervene: {kind: soft_prompt, path: FILE}
"""


def options(parser: argparse.ArgumentParser) -> None:
    """Adds what this command takes."""
    add_sources(parser, out="the safetensors file to make")
    parser.add_argument("--prompt", type=int, default=TOKENS, metavar="N", help="its rows")


def run(args: argparse.Namespace) -> int:
    """Trains and prints; returns the exit status."""
    from adapters.objectives import OBJECTIVES

    settings = settings_for(OBJECTIVES.get("spul"), given(args))
    found = sources(args, settings)
    with progress() as report:
        fitted = train_soft_prompt(
            found.model,
            found.forget,
            found.retain,
            args.out,
            settings,
            tokens=args.prompt,
            resume=args.resume,
            report=report,
        )
    say(args.out, fitted, as_json=args.json)
    return 0
