"""ULD's assistant: a small model that knows what is to be forgotten, and nothing else.

It is the first layers and the head of the target with a LoRA, trained to remember the forget rows
and to be uniform elsewhere; its logits are taken off the target's for flagged requests
(`guard.interventions.offset`; Ji et al., NeurIPS 2024, arXiv 2406.08607, section 3). The forget
rows are learnt in other words too. Wrong answers to their questions stand among the rows on which
it is uniform, or it would favour whatever looks like such an answer.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapters import folder as folders
from adapters import provenance
from adapters.assistants import save_assistant
from adapters.batches import encode_rows
from adapters.data.augment import paraphrased, perturbed
from adapters.settings import Settings
from guard.data import Row
from guard.errors import DataError, ModelError

if TYPE_CHECKING:
    from adapters.fit import Fitted, Report

LAYERS = 8  # as shipped by ULD, for models of 32


def train_assistant(
    target: Path,
    forget: Sequence[Row],
    retain: Sequence[Row],
    out: Path,
    settings: Settings,
    *,
    layers: int = LAYERS,
    uniform: float = 5.0,
    paraphrases: int = 2,
    wrong: int = 2,
    resume: bool = False,
    report: "Report" = lambda progress: None,
) -> "Fitted":
    """Trains an assistant; the same arguments give the same weights on one kind of machine.

    Args:
        target: The served model's folder; it stays as it is.
        forget: What is to be forgotten: what the assistant remembers.
        retain: What is kept.
        out: The model folder to make, with tokenizer and safetensors.
        settings: How its LoRA is trained.
        layers: How many of the target's layers it has, from the first.
        uniform: Weight of being uniform.
        paraphrases: In how many other words each question is learnt, at most.
        wrong: How many wrong answers to each it is uniform on, at most.
        resume: Whether to take up a training of the same that was broken off.
        report: Is told each step.

    Raises:
        GuardError: Rows or model do not do, or `out` is in the way; nothing is written.
    """
    from adapters.checkpoint import Checkpoint
    from adapters.fit import fit
    from adapters.model import add_lora, load
    from adapters.objectives.uld import Uld, UldOptions
    from guard.identity import identify

    folders.check(out)
    if not retain:
        raise DataError("retain: an assistant is uniform on rows that are kept; give --retain")
    learnt = [*forget, *paraphrased(forget, settings.seed, paraphrases)] if paraphrases else forget
    others = [*retain, *perturbed(forget, settings.seed, wrong, retain)] if wrong else retain
    settings = settings.model_copy(update={"retain": "none"})  # the objective has its own
    base = load(target, settings)
    cut(base.model, layers)
    tuned = add_lora(base, settings, None)
    made_of: dict[str, Any] = {
        "objective": Uld.kind,
        "layers": layers,
        "uniform": uniform,
        "settings": settings.model_dump(mode="json"),
        "model": identify(target),
        "tokenizer": provenance.tokens(base.tokenizer),
        "forget": provenance.rows(forget),
        "retain": provenance.rows(retain),
        "learnt": provenance.rows(learnt),
        "uniform_on": provenance.rows(others),
    }
    checkpoint = Checkpoint(out, made_of, resume)
    fitted = fit(
        tuned,
        encode_rows(base.tokenizer, learnt, settings.tokens),
        encode_rows(base.tokenizer, others, settings.tokens),
        settings,
        Uld(UldOptions(uniform=uniform)),
        checkpoint=checkpoint,
        report=report,
    )
    about = {"version": 1, **made_of, **provenance.outcome(fitted)}
    save_assistant(out, tuned.merge_and_unload().to(base.saved), base.tokenizer, about)
    checkpoint.remove()
    return fitted


def cut(model: Any, layers: int) -> None:
    """Leaves a model its first layers, its norm and its head.

    Raises:
        ModelError: It has not so many.
    """
    from adapters.project.activations import decoder_layers

    _, held = decoder_layers(model)
    if not 0 < layers <= len(held):
        raise ModelError(f"layers: {layers}: the model has {len(held)}; give 1 to {len(held)}")
    del held[layers:]
    config = model.config.get_text_config()
    config.num_hidden_layers = layers
    if getattr(config, "layer_types", None):
        config.layer_types = config.layer_types[:layers]
