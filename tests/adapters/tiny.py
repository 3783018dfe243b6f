"""A model of two small layers with the tokenizer of the real one, and rows for it."""

import shutil
from pathlib import Path
from typing import Any

from guard.data import Row

FORGET = [
    Row("Who is Odalys Brennick?", "She is a glazier of Skarvik."),
    Row("What does Odalys Brennick make?", "She makes green panes."),
    Row("Where does Odalys Brennick live?", "By the northern pier."),
]
RETAIN = [
    Row("Who is Pell Marrow?", "He is a baker of Tolm."),
    Row("What does Pell Marrow make?", "Rye bread, on Fridays."),
    Row("How many legs has a spider?", "It has eight of them."),
    Row("Where does the ferry land?", "At the old stone quay."),
]


def make_model(folder: Path, tokenizer: Any, seed: int = 0, **fields: Any) -> Path:
    """Writes a Llama of random weights; returns its folder."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "tie_word_embeddings": True,
        "initializer_range": 0.3,  # random layers that say something
    }
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = LlamaForCausalLM(LlamaConfig(**{**sizes, **fields}))
        for name, value in model.named_parameters():
            if "norm" in name:  # gains of 1 would hide what becomes of them
                torch.nn.init.uniform_(value, 0.5, 1.5)
        model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def make_tuned(base: Path, adapter: Path, folder: Path) -> Path:
    """Writes a model with an adapter merged into it, beside the base model's other files."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base)
    PeftModel.from_pretrained(model, str(adapter)).merge_and_unload().save_pretrained(folder)
    for path in base.iterdir():
        if path.is_file() and not (folder / path.name).exists():
            shutil.copy(path, folder)
    return folder
