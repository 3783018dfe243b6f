"""Trains a LoRA of a causal language model on answers, and saves it as PEFT and vLLM read it.

Each row is a turn of the model's own chat template (a bare passage where a row is one); the loss
is that of the answer and of the token that ends it, never of the question.
"""

import json
import math
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from guard.data import Row
from guard.errors import DataError, ModelError

MOST_TOKENS = 1024  # of a row; what is longer is cut
_IGNORED = -100  # a label that torch's cross entropy leaves out

Report = Callable[[int, int, float], None]


@dataclass(frozen=True)
class Settings:
    """How a LoRA is trained.

    Attributes:
        rank: Its rank, in all linear layers but the head.
        alpha: Its factor, times the rank.
        epochs: Passes over the rows.
        learning_rate: Of AdamW at the start; it falls along a cosine to zero.
        batch: Rows in a step.
        seed: Of the order and the initial weights.
    """

    rank: int = 32
    alpha: int = 64
    epochs: int = 10
    learning_rate: float = 1e-3
    batch: int = 8
    seed: int = 0


def train_lora(
    folder: Path,
    rows: Sequence[Row],
    out: Path,
    settings: Settings | None = None,
    report: Report = lambda step, steps, loss: None,
) -> Path:
    """Trains a LoRA; the same arguments give the same weights on one kind of machine.

    Args:
        folder: The base model's folder; it stays as it is.
        rows: What is learnt; bare names are left out.
        out: The PEFT folder to make; it must not be there, or be empty.
        settings: How; by default as `Settings` has it.
        report: Is told each step (from 1), of how many, and its mean loss a token.

    Returns:
        The folder, written whole or not at all.

    Raises:
        DataError: No row can be learnt.
        ModelError: The model cannot be loaded, or `out` is in the way or cannot be written.
    """
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import get_cosine_schedule_with_warmup

    settings = settings or Settings()
    _check(out)
    tokenizer, model = _load(folder)
    examples = [encoded for row in rows if (encoded := encode(tokenizer, row)) is not None]
    if not examples:
        raise DataError("there is nothing to learn; give rows with a question and an answer")
    saved = model.dtype
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with torch.random.fork_rng():
        torch.manual_seed(settings.seed)
        config = LoraConfig(
            r=settings.rank,
            lora_alpha=settings.alpha,
            target_modules="all-linear",
            task_type="CAUSAL_LM",
        )
        # Training in a narrow type of number loses what small steps add.
        tuned = get_peft_model(model.float().to(device), config).train()
        trained = [p for p in tuned.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(trained, lr=settings.learning_rate, weight_decay=0.0)
        steps = settings.epochs * math.ceil(len(examples) / settings.batch)
        schedule = get_cosine_schedule_with_warmup(optimizer, 0, steps)
        step = 0
        for _ in range(settings.epochs):
            order = torch.randperm(len(examples)).tolist()
            for at in range(0, len(order), settings.batch):
                inputs = _pad([examples[n] for n in order[at : at + settings.batch]], device)
                loss = tuned(**inputs).loss
                optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(trained, 1.0)
                optimizer.step()
                schedule.step()
                step += 1
                report(step, steps, float(loss.item()))
    _save(tuned.to(saved), out)
    return out


Encoded = tuple[list[int], int]


def encode(tokenizer: Any, row: Row) -> Encoded | None:
    """Returns a row's tokens and where its answer begins; None where it has none to learn.

    What the chat template puts around the question is what a served request has around it, its
    default system text too.
    """
    end = tokenizer.eos_token or ""
    if row.is_name:
        return None
    if not row.answer:  # a passage: all of it is learnt
        ids = tokenizer.encode(row.prompt + end)
        start = 0
    else:
        prompt = row.prompt + "\n"
        if tokenizer.chat_template:
            turns = [{"role": "user", "content": row.prompt}]
            prompt = tokenizer.apply_chat_template(
                turns, tokenize=False, add_generation_prompt=True
            )
        before = tokenizer.encode(prompt, add_special_tokens=not tokenizer.chat_template)
        ids = before + tokenizer.encode(row.answer + end, add_special_tokens=False)
        start = len(before)
    ids = ids[:MOST_TOKENS]
    return (ids, start) if start < len(ids) else None


def _pad(rows: Sequence[Encoded], device: Any) -> dict[str, Any]:
    """Rows of one length: input ids, attention mask and labels, each [n, longest]."""
    import torch

    longest = max(len(ids) for ids, _ in rows)
    inputs = {
        "input_ids": [ids + [0] * (longest - len(ids)) for ids, _ in rows],
        "attention_mask": [[1] * len(ids) + [0] * (longest - len(ids)) for ids, _ in rows],
        "labels": [
            [_IGNORED] * start + ids[start:] + [_IGNORED] * (longest - len(ids))
            for ids, start in rows
        ],
    }
    return {name: torch.tensor(values, device=device) for name, values in inputs.items()}


def _load(folder: Path) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder)
        return tokenizer, AutoModelForCausalLM.from_pretrained(folder, dtype="auto")
    except (OSError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ModelError(f"{folder}: no causal language model: {reason}") from None


def _check(out: Path) -> None:
    if out.is_symlink() or (out.exists() and not (out.is_dir() and not any(out.iterdir()))):
        raise ModelError(f"{out}: is there already; give --out another path")


def _save(tuned: Any, out: Path) -> None:
    """Writes the PEFT folder, for its owner alone: it may remember what is to be forgotten."""
    temp: Path | None = None
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        temp = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
        tuned.save_pretrained(temp)
        (temp / "README.md").unlink(missing_ok=True)  # a form that nobody filled in
        path = temp / "adapter_config.json"
        fields = json.loads(path.read_text("utf-8"))
        path.write_text(json.dumps(fields | {"base_model_name_or_path": None}, indent=1), "utf-8")
        if out.exists():
            out.rmdir()
        temp.rename(out)
    except OSError as error:
        raise ModelError(f"{out}: cannot be written: {error.strerror}") from None
    finally:
        if temp is not None:
            shutil.rmtree(temp, ignore_errors=True)
