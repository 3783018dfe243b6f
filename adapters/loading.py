"""A model to be read with, and a LoRA on it at whatever scale."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from guard.embeddings import EmbeddingRows
from guard.errors import ModelError
from guard.identity import model_folder
from guard.models import resolve


def load(model: str) -> tuple[Path, Any, Any]:
    """Loads a causal language model to be read with: float32 on a CPU, else bfloat16.

    Args:
        model: A Hugging Face id or folder, or a built-in.

    Returns:
        Its folder, its tokenizer and the model.

    Raises:
        ModelError: There is none.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils.logging import disable_progress_bar

    folder = model_folder(resolve(model))
    here = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind = torch.float32 if here.type == "cpu" else torch.bfloat16
    disable_progress_bar()
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder)
        found = AutoModelForCausalLM.from_pretrained(folder, dtype=kind, use_safetensors=True)
    except (OSError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ModelError(f"{folder}: no causal language model: {reason}") from None
    return folder, tokenizer, found.eval().requires_grad_(False).to(here)


class Scaled:
    """A model with a LoRA that can be multiplied, as `guard.ladder` does by its alpha.

    Args:
        model: The model; the LoRA is put into it, and `scale` takes effect there.
        adapter: The LoRA's PEFT folder, which `guard.lora.read_lora` takes.
    """

    def __init__(self, model: Any, adapter: Path) -> None:
        import warnings

        from peft import PeftModel

        with warnings.catch_warnings():
            # PEFT goes by the ends of names: in layers that the adapter leaves alone, it makes
            # LoRAs of zeros, and says so.
            warnings.filterwarnings("ignore", "Found missing adapter keys")
            tuned = PeftModel.from_pretrained(model, str(adapter)).eval()
        # alpha / r, or alpha / √r: what a rank-stabilised LoRA divides by is in it already.
        self._full: Mapping[Any, Mapping[str, float]] = {
            module: dict(module.scaling)
            for module in tuned.modules()
            if hasattr(module, "lora_A") and hasattr(module, "scaling")
        }
        self._tuned = tuned
        self.model: Any = tuned.get_base_model()

    def scale(self, factor: float) -> None:
        """Multiplies the LoRA by a number; 0 leaves the model as it was."""
        for module, scaling in self._full.items():
            for name, full in scaling.items():
                module.scaling[name] = full * factor

    def merged(self) -> Any:
        """Adds the LoRA to the weights at the scale it has; there is no changing it afterwards."""
        return self._tuned.merge_and_unload()


def embedding_factor(model: Any, folder: Path) -> float:
    """What an engine's embeddings are multiplied by to be those that a model in transformers takes.

    An engine takes them as its look-up gives them (`guard.embeddings`). Some models multiply them
    only behind the look-up here, and would do so once more.

    Args:
        model: The model.
        folder: Its folder.

    Raises:
        ModelError: Its embeddings cannot be read.
    """
    table = model.get_input_embeddings()
    own = float(getattr(table, "scalar_embed_scale", getattr(table, "embed_scale", 1.0)))
    return own / EmbeddingRows(folder).scale
