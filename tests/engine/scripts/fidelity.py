"""Run in a process of its own: do edited prompts reach models of other families as they should?

For a tiny random model, a prompt whose tokens are all given as embeddings read from the checkpoint
must be continued as the same prompt given as tokens.
"""

import itertools
import sys
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    Gemma3TextConfig,
    GPT2Config,
    GraniteConfig,
    Qwen2Config,
)

from guard.embeddings import EmbeddingRows
from guard.engine import compat
from guard.interventions.base import Request
from guard.models import resolve
from guard.view import View

SIZES = {"vocab_size": 49152, "max_position_embeddings": 256}
LLAMA = {
    **SIZES,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
}
CONFIGS = {
    "gemma3": lambda: Gemma3TextConfig(**LLAMA, head_dim=32),  # scaled where it is looked up
    "granite": lambda: GraniteConfig(**LLAMA, embedding_multiplier=12.0),  # scaled after that
    "qwen2": lambda: Qwen2Config(**LLAMA, tie_word_embeddings=False),
    "gpt2": lambda: GPT2Config(vocab_size=49152, n_positions=256, n_embd=64, n_layer=2, n_head=2),
}


def main(kind: str, folder: Path) -> None:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(CONFIGS[kind]())
    for parameter in model.parameters():  # so that what is read makes a difference
        torch.nn.init.normal_(parameter, std=0.3) if parameter.dim() > 1 else None
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(resolve("builtin:smollm2")).save_pretrained(folder)

    from vllm import LLM, SamplingParams

    llm = LLM(
        str(folder),
        enforce_eager=True,
        dtype="float32",
        max_model_len=256,
        enable_prompt_embeds=True,
    )
    ids = [510, 3575, 282, 4649, 314, 7042, 42, 1009, 8]
    rows = EmbeddingRows(folder).embed(ids)
    tokens = {"type": "token", "prompt_token_ids": ids}
    numbers = itertools.count()
    params = SamplingParams(temperature=0, max_tokens=8, logprobs=1, ignore_eos=True)

    def run(prompt: dict[str, object]) -> tuple[list[int], list[float]]:
        engine = llm.llm_engine
        engine.add_request(str(next(numbers)), prompt, params)
        finished = []
        while engine.has_unfinished_requests():
            finished += [output for output in engine.step() if output.finished]
        (completion,) = finished[0].outputs
        steps = zip(completion.logprobs, completion.token_ids, strict=True)
        return list(completion.token_ids), [step[token].logprob for step, token in steps]

    def edited(rows: Any) -> Any:
        request = Request(tuple(ids), View("", ()), ((0, 0),) * len(ids), 0, rows)
        return compat.edited_prompt(llm.llm_engine, tokens, request, "salt")

    plain = run(tokens)
    for positions in (range(len(ids)), (2, 5)):
        edits = {position: rows[position] for position in positions}
        mixed = run(edited(edits))
        assert mixed[0] == plain[0], (kind, list(positions), mixed, plain)
        assert all(abs(a - b) < 1e-3 for a, b in zip(mixed[1], plain[1], strict=True)), (
            kind,
            mixed,
            plain,
        )
    other = run(edited({5: rows[5] * 0}))
    assert other != plain, "an edited embedding must make a difference"
    print("FAITHFUL")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
