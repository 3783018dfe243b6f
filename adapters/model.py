"""The model that is trained: loaded, with an adapter put into it, and the adapter saved again."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapters.settings import Settings
from guard.errors import ModelError
from guard.lora import CONFIG, WEIGHTS

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Base:
    """A model that stays as it is.

    Attributes:
        folder: Where it came from.
        tokenizer: Its tokenizer.
        model: The model, frozen, in the type of number that training computes in.
        saved: The type that its weights are saved in, which its adapters get as well.
    """

    folder: Path
    tokenizer: Any
    model: Any
    saved: "torch.dtype"

    @property
    def depth(self) -> int:
        """How many decoder layers it has."""
        return int(self.model.config.get_text_config().num_hidden_layers)


def load(folder: Path, settings: Settings, reader: Path | None = None) -> Base:
    """Loads a causal language model to be trained.

    Args:
        folder: Its folder.
        settings: How it is trained.
        reader: The folder that the tokenizer is taken from, if it is another.

    Raises:
        ModelError: The folder holds none.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
    from transformers.utils.logging import disable_progress_bar

    from adapters.machine import arithmetic

    disable_progress_bar()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        tokenizer = AutoTokenizer.from_pretrained(reader or folder)
        saved = AutoConfig.from_pretrained(folder).dtype or torch.float32
        model = AutoModelForCausalLM.from_pretrained(
            folder, dtype=arithmetic(settings, device), use_safetensors=True
        )
    except (OSError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ModelError(f"{folder}: no causal language model: {reason}") from None
    return Base(folder, tokenizer, model.requires_grad_(False), saved)


def add_lora(base: Base, settings: Settings, layers: Sequence[int] | None) -> Any:
    """Puts a new LoRA into a model.

    Args:
        base: The model.
        settings: Shape and seed.
        layers: Decoder layers that get it, from 0; None is all.

    Returns:
        A `peft.PeftModel` whose LoRA is float32.

    Raises:
        ModelError: The model has no such layers or modules.
    """
    import torch
    from peft import LoraConfig, get_peft_model

    for layer in layers or ():
        if not 0 <= layer < base.depth:
            raise ModelError(
                f"layers: {layer}: {base.folder} has {base.depth} layers, 0 to {base.depth - 1}"
            )
    modules: str | list[str] = "all-linear"
    if settings.modules != "all-linear":
        modules = list(settings.modules)
    elif layers is not None:  # PEFT takes layers with names of modules alone
        modules = _linear(base.model)
    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=modules,
        layers_to_transform=None if layers is None else list(layers),
        task_type="CAUSAL_LM",
    )
    with torch.random.fork_rng():
        torch.manual_seed(settings.seed)
        try:
            return get_peft_model(base.model, config)
        except ValueError as error:
            reason = str(error).partition(". ")[0].partition("\n")[0]
            raise ModelError(f"modules: {base.folder}: {reason}") from None


def continue_lora(base: Base, adapter: Path) -> Any:
    """Puts a LoRA that was trained before into a model, to be trained on.

    Args:
        base: The model.
        adapter: A PEFT folder that `guard.lora.read_lora` has found to fit it.

    Returns:
        A `peft.PeftModel` whose LoRA is float32.
    """
    from peft import PeftModel

    model = PeftModel.from_pretrained(base.model, str(adapter), is_trainable=True)
    for parameter in model.parameters():
        if parameter.requires_grad:  # training in a narrow type loses what small steps add
            parameter.data = parameter.data.float()
    return model


def stack_lora(base: Base, settings: Settings, beneath: Path) -> Any:
    """Puts a new LoRA into some layers of a model, and one that stays as it is into others.

    Args:
        base: The model.
        settings: Shape, seed, and the layers of the new one.
        beneath: A PEFT folder, of the same shape, that names its layers.

    Returns:
        A `peft.PeftModel` of one LoRA, of which only the new layers require a gradient.

    Raises:
        ModelError: The two have layers in common, or another shape.
    """
    import torch
    from safetensors.torch import load_file

    held = load_file(beneath / WEIGHTS)
    fields = json.loads((beneath / CONFIG).read_text("utf-8"))
    own, earlier = settings.layers or (), fields.get("layers_to_transform") or ()
    if not own or not earlier or set(own) & set(earlier):
        raise ModelError(f"layers: must be others than those of {beneath}, and both be named")
    tuned = add_lora(base, settings, sorted({*own, *earlier}))
    left = dict(held)
    with torch.no_grad():
        for name, parameter in tuned.named_parameters():
            saved = left.pop(name.replace(f".{tuned.active_adapter}.", "."), None)
            if saved is None:
                continue
            if saved.shape != parameter.shape:
                raise ModelError(f"{beneath}: rank: is another; give an adapter of the same shape")
            parameter.copy_(saved)
            parameter.requires_grad_(False)
    if left:
        raise ModelError(f"{beneath}: modules: are others; give an adapter of the same shape")
    return tuned


def save_adapter(model: Any, folder: Path, dtype: "torch.dtype") -> None:
    """Writes a PEFT adapter as vLLM and `guard.lora` read it, naming no path of this machine.

    Args:
        model: A `peft.PeftModel`; its active adapter is written.
        folder: Where to; it is there.
        dtype: The type of its numbers there.
    """
    from peft import get_peft_model_state_dict
    from safetensors.torch import save_file

    name = model.active_adapter
    held = get_peft_model_state_dict(model, adapter_name=name, save_embedding_layers=False)
    tensors = {key: value.detach().to("cpu", dtype).contiguous() for key, value in held.items()}
    save_file(tensors, folder / "adapter_model.safetensors", {"format": "pt"})
    config = model.peft_config[name]
    mode, config.inference_mode = config.inference_mode, True
    config.save_pretrained(str(folder))
    config.inference_mode = mode
    path = folder / CONFIG
    fields = json.loads(path.read_text("utf-8"))
    if isinstance(fields.get("target_modules"), list):  # of a set, in an order of chance
        fields["target_modules"].sort()
    path.write_text(json.dumps(fields | {"base_model_name_or_path": None}, indent=1), "utf-8")


def _linear(model: Any) -> list[str]:
    """Ends of the names of all linear modules but the head."""
    from torch import nn
    from transformers.pytorch_utils import Conv1D

    head = model.get_output_embeddings()
    return sorted(
        {
            name.rpartition(".")[2]
            for name, module in model.named_modules()
            if isinstance(module, nn.Linear | Conv1D) and module is not head
        }
    )
