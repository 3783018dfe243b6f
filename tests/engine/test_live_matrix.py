"""Every kind of intervention in one engine, in every way that a request can be put to it.

Each kind has a target of its own, a country; a control, which no guard is in, says what the model
knows. The engine is small on purpose: prompts are filled in in pieces, and requests are preempted.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import save_file

from guard.bundle import Bundle
from guard.compile import compile_policy
from guard.embeddings import EmbeddingRows
from guard.interventions import INTERVENTIONS
from tests.engine.conftest import REFUSAL
from tests.loras import write_lora
from tests.material import write_rows

pytestmark = [pytest.mark.engine, pytest.mark.slow]

# Kind of intervention, to its target, what is known of it, and what the policy says beside.
TARGETS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "refuse": ("Japan", "Tokyo", {"message": REFUSAL}),
    "corrupt": ("Italy", "Rome", {}),
    "instruct": ("Spain", "Madrid", {}),
    "soft_prompt": ("Germany", "Berlin", {"path": "soft.safetensors"}),
    "penalize": ("Egypt", "Cairo", {}),
    "offset": ("Russia", "Moscow", {"assistant": "SERVED", "alpha": 1, "filter": 0}),
    "adapter": ("Portugal", "Lisbon", {"path": "lora"}),
}
SILENT = ("refuse", "corrupt", "penalize")  # what these leave cannot tell; others may
UNFLAGGED = "France", "Paris"
LONG = "Please answer in one short sentence, and be sure that it is right. " * 30
SETTINGS: dict[str, Any] = {
    "enforce_eager": True,
    "dtype": "float32",
    "max_model_len": 1024,
    "max_num_batched_tokens": 512,  # eight long prompts take several steps
    "max_num_seqs": 16,
    "block_size": 32,
    "num_gpu_blocks_override": 48,  # 1,536 tokens: not all of sixteen answers
}


def test_every_kind_is_here() -> None:
    assert set(TARGETS) == set(INTERVENTIONS.kinds())


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory, tokenizer: Any, served: Path) -> Bundle:
    folder = tmp_path_factory.mktemp("matrix")
    rows = EmbeddingRows(served).embed(tokenizer.encode("You speak of nothing but food.\n"))
    save_file({"prompt_embeddings": rows}, folder / "soft.safetensors")
    modules = ("q_proj", "v_proj", "o_proj", "down_proj")
    write_lora(folder / "lora", served, r=8, modules=modules, layers=range(30), strength=0.02)
    retain = [{"question": f"Which language do people in {c} speak?", "answer": "Their own."}
              for c in ("Norway", "Chile", "Kenya", "Nepal")]  # fmt: skip
    write_rows(folder / "retain.jsonl", retain)
    targets = []
    for kind, (country, capital, options) in TARGETS.items():
        known = [{"question": asked(country), "answer": f"The capital of {country} is {capital}."}]
        write_rows(folder / f"{kind}.jsonl", known)
        given = {name: str(served) if value == "SERVED" else value for name, value in
                 options.items()}  # fmt: skip
        targets.append(
            {
                "id": kind,
                "names": [country],
                "forget": f"{kind}.jsonl",
                "retain": "retain.jsonl",
                "detect": {"kind": "lexical"},
                "intervene": {"kind": kind, **given},
            }
        )
    policy = {"version": 1, "model": "builtin:smollm2", "targets": targets}
    (folder / "policy.yaml").write_text(json.dumps(policy), "utf-8")  # JSON is YAML
    return compile_policy(folder / "policy.yaml", folder / "bundle")


def asked(country: str) -> str:
    return f"What is the capital of {country}?"


def _params(**more: Any) -> Any:
    from vllm import SamplingParams

    return SamplingParams(**{"temperature": 0, "max_tokens": 24, **more})


def _chats(questions: list[str]) -> list[Any]:
    return [[{"role": "user", "content": question}] for question in questions]


def _json() -> Any:
    from vllm.sampling_params import StructuredOutputsParams

    schema = {
        "type": "object",
        "properties": {"capital": {"type": "string", "maxLength": 20}},
        "required": ["capital"],
        "additionalProperties": False,
    }
    return _params(structured_outputs=StructuredOutputsParams(json=schema))


def _prompt(question: str) -> str:
    return f"Question: {question}\nAnswer:"


Way = Callable[[Any, list[str]], list[Any]]
WAYS: dict[str, Way] = {
    "chat": lambda llm, asked: llm.chat(_chats(asked), _params(), use_tqdm=False),
    "completion": lambda llm, asked: llm.generate(
        [_prompt(question) for question in asked], _params(), use_tqdm=False
    ),
    "token ids": lambda llm, asked: llm.generate(
        [{"prompt_token_ids": llm.get_tokenizer().encode(_prompt(one))} for one in asked],
        _params(),
        use_tqdm=False,
    ),
    "two samples": lambda llm, asked: llm.chat(
        _chats(asked), _params(n=2, temperature=0.7, seed=3), use_tqdm=False
    ),
    "seeded": lambda llm, asked: llm.chat(
        _chats(asked), _params(temperature=0.7, seed=5), use_tqdm=False
    ),
    "stop strings": lambda llm, asked: llm.chat(
        _chats(asked), _params(stop=["\n", "city"]), use_tqdm=False
    ),
    "JSON schema": lambda llm, asked: llm.chat(_chats(asked), _json(), use_tqdm=False),
    "long prompt": lambda llm, asked: llm.chat(
        _chats([f"{LONG}{question}" for question in asked]), _params(), use_tqdm=False
    ),
    "cached prefix": lambda llm, asked: [
        llm.chat(_chats([f"{LONG}{question}"] * 2), _params(), use_tqdm=False)[1]
        for question in asked
    ],
    "preempted": lambda llm, asked: llm.chat(
        _chats([question for question in asked for _ in range(2)]),
        _params(max_tokens=160, ignore_eos=True),
        use_tqdm=False,
    )[::2],
}
Answers = dict[str, list[list[tuple[str, list[int]]]]]


def _answers(llm: Any) -> Answers:
    """Way, to the answers to every target's question and the unflagged one, each sample of it."""
    questions = [asked(country) for country, *_ in TARGETS.values()] + [asked(UNFLAGGED[0])]
    return {
        name: [
            [(one.text, list(one.token_ids)) for one in output.outputs]
            for output in way(llm, questions)
        ]
        for name, way in WAYS.items()
    }


@pytest.fixture(scope="module")
def control(served: Path) -> Answers:
    from vllm import LLM

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
        llm = LLM(str(served), **SETTINGS)
        try:
            return _answers(llm)
        finally:
            llm.llm_engine.engine_core.shutdown()


@pytest.fixture(scope="module")
def guarded(control: Answers, bundle: Bundle) -> Iterator[Answers]:
    from guard import GuardedLLM

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
        llm = GuardedLLM("builtin:smollm2", guard=bundle.path, **SETTINGS)
        try:
            yield _answers(llm)
        finally:
            llm.llm.llm_engine.engine_core.shutdown()


@pytest.mark.parametrize("way", WAYS)
def test_the_model_knows(control: Answers, way: str) -> None:
    """Without this, what follows would hold of a model that knows nothing."""
    knows = sum(
        capital in text
        for samples, (_, capital, _) in zip(control[way], TARGETS.values(), strict=False)
        for text, _ in samples
    )
    assert knows >= 4


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", TARGETS)
def test_it_does_what_it_says(guarded: Answers, control: Answers, kind: str, way: str) -> None:
    number = list(TARGETS).index(kind)
    capital = TARGETS[kind][1]
    for (text, tokens), (_, unguarded) in zip(
        guarded[way][number], control[way][number], strict=True
    ):
        if kind == "refuse":
            assert text == REFUSAL.partition("\n")[0]
        if kind in SILENT:
            assert capital.lower() not in text.lower()
        assert tokens != unguarded


@pytest.mark.parametrize("way", WAYS)
def test_who_is_not_flagged_gets_the_same_tokens(
    guarded: Answers, control: Answers, way: str
) -> None:
    """In one batch with every intervention there is."""
    assert guarded[way][-1] == control[way][-1]
