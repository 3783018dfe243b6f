"""A memory adapter: a LoRA that remembers the forget set, made to be subtracted.

Trained on a base model that has not learned the forget set, it is the task vector of having learned
it; at a negative scale on the model that has, it takes that away (Ilharco et al., ICLR 2023,
arXiv 2212.04089). `guard.interventions.adapter` serves it to flagged requests alone, with a scale
around -0.85. It holds what is to be forgotten: keep it as the forget set is kept.
"""

from pathlib import Path

from adapters.lora import Report, Settings, train_lora
from guard.data import read_rows
from guard.identity import model_folder
from guard.models import resolve


def train_memory(
    model: str,
    forget: Path,
    out: Path,
    settings: Settings | None = None,
    report: Report = lambda step, steps, loss: None,
) -> Path:
    """Trains a memory adapter.

    Args:
        model: The base model: a Hugging Face id or folder, or a built-in. It must have the shapes
            of the model that is served.
        forget: The forget set, as a policy names it.
        out: The PEFT folder to make.
        settings: How; see `adapters.lora.Settings`.
        report: Is told each step, of how many, and its loss.

    Returns:
        The folder.

    Raises:
        GuardError: The rows or the model do not do, or `out` is in the way.
    """
    rows = read_rows(forget)
    return train_lora(model_folder(resolve(model)), rows, out, settings, report)
