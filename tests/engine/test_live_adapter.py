"""Adapters in a real engine: they answer whom they should, as they should, and nobody else."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from guard.bundle import Bundle
from guard.compile import compile_policy
from guard.interventions.adapter import SLOTS
from guard.versions import new_version
from tests.engine.servers import Server, serve, wait_ready
from tests.loras import write_lora
from tests.material import PERSON_NEIGHBOURS, rows, write_rows

pytestmark = [pytest.mark.engine, pytest.mark.slow]

# More adapters than an engine has slots for: they are loaded, used and put out in turn.
NAMES = {
    "Odalys Brennick": 1.0,
    "Corvin Aldersley": -1.0,
    "Maribeth Solvang": 0.75,
    "Teodric Hulme": -0.75,
    "Yevanna Strake": 1.5,
    "Ludo Pemberwick": -1.5,
}
assert len(NAMES) > SLOTS
HARMLESS = [
    "What is the capital of France?",
    "Name three fruits that are red.",
    "How many days does a week have? Answer in one short sentence.",
]
TOKENS = 16


def question(name: str) -> str:
    return f"What is {name} known for? Tell me in a sentence or two, please, as well as you can."


@pytest.fixture(scope="module")
def lora(tmp_path_factory: pytest.TempPathFactory, served: Path) -> Path:
    """Random numbers, strong enough to change any answer."""
    folder = tmp_path_factory.mktemp("lora") / "random"
    modules = ("q_proj", "v_proj", "o_proj", "gate_proj", "down_proj")
    return write_lora(folder, served, r=8, modules=modules, layers=range(30), strength=0.055)


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory, lora: Path) -> Bundle:
    """One target a name, all with the same adapter at different scales."""
    folder = tmp_path_factory.mktemp("adapters")
    write_rows(folder / "retain.jsonl", rows(PERSON_NEIGHBOURS))
    targets = [
        {
            "id": f"secret-{number}",
            "names": [name],
            "retain": "retain.jsonl",
            "detect": {"kind": "lexical"},
            "intervene": {"kind": "adapter", "path": str(lora), "scale": scale},
        }
        for number, (name, scale) in enumerate(NAMES.items())
    ]
    policy = {"version": 1, "model": "builtin:smollm2", "targets": targets}
    (folder / "policy.yaml").write_text(json.dumps(policy), "utf-8")  # JSON is YAML
    return compile_policy(folder / "policy.yaml", folder / "bundle")


SETTINGS = {
    "enforce_eager": True,
    "dtype": "float32",
    "max_model_len": 512,
    "block_size": 32,
    "kv_cache_memory_bytes": 1 << 29,
}
Answers = list[list[int]]


def answers(llm: Any, questions: list[str]) -> Answers:
    from vllm import SamplingParams

    chats = [[{"role": "user", "content": one}] for one in questions]
    params = SamplingParams(temperature=0, max_tokens=TOKENS)
    outputs = llm.chat(chats, params, use_tqdm=False)
    return [list(output.outputs[0].token_ids) for output in outputs]


@pytest.fixture(scope="module")
def control(served: Path) -> Answers:
    """What an engine without guard and adapters says to harmless and other questions."""
    from vllm import LLM

    llm = LLM(str(served), **SETTINGS)
    try:
        return answers(llm, [*HARMLESS, *map(question, NAMES)])
    finally:
        llm.llm_engine.engine_core.shutdown()


@pytest.fixture(scope="module")
def llm(control: Answers, compiled: Bundle) -> Iterator[Any]:
    from guard import GuardedLLM

    guarded = GuardedLLM("builtin:smollm2", guard=compiled.path, **SETTINGS)
    yield guarded
    guarded.llm.llm_engine.engine_core.shutdown()


def test_rows_without_adapter_are_as_if_there_were_none(llm: Any, control: Answers) -> None:
    """In every mix, and whichever adapter lies in the last slot."""
    names = list(NAMES)
    for first in range(len(names)):
        asked = [*HARMLESS[:1], question(names[first]), *HARMLESS[1:]]
        asked.append(question(names[(first + 1) % len(names)]))
        found = answers(llm, asked)
        assert [found[n] for n in (0, 2, 3)] == control[:3], first
    everything = answers(llm, [*map(question, names), *HARMLESS])
    assert everything[-3:] == control[:3]


def test_each_request_has_its_own_adapter(llm: Any, control: Answers) -> None:
    """The same tokens as PEFT gives with the adapter at that scale; other ones than without."""
    wanted = {name: peft_answer(llm, name) for name in NAMES}
    together = answers(llm, [question(name) for name in NAMES])
    for name, found, plain in zip(NAMES, together, control[3:], strict=True):
        assert found != plain
        assert found[:8] == wanted[name][:8], NAMES[name]
    alone = [answers(llm, [question(name)])[0] for name in NAMES]
    assert alone == together


def peft_answer(llm: Any, name: str) -> list[int]:
    """The rung's own folder, loaded by PEFT into transformers: no code of vLLM's or ours."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    number = list(NAMES).index(name)
    rung = llm.guard.adapters[number]
    folder = llm.llm_engine.model_config.model
    tokenizer = AutoTokenizer.from_pretrained(folder)
    base = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    model = PeftModel.from_pretrained(base, rung.folder)
    chat = [{"role": "user", "content": question(name)}]
    text = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    inputs = tokenizer(text, return_tensors="pt", add_special_tokens=False)
    with torch.inference_mode():
        output = model.generate(**inputs, do_sample=False, max_new_tokens=TOKENS)
    return list(map(int, output[0, inputs["input_ids"].shape[1] :]))


def test_two_targets_of_one_prompt_are_answered_by_the_first_ranked(llm: Any) -> None:
    first, second = list(NAMES)[:2]
    both = f"{question(first)} {question(second)}"
    decision = llm.guard.decide(both)
    assert len(decision.enforced) == 2
    assert len(answers(llm, [both])[0]) > 0


def test_an_existing_llm_on_a_cpu_is_refused(llm: Any, compiled: Bundle) -> None:
    """Its worker was set up before there was a guard: adapters would reach other requests."""
    from types import SimpleNamespace

    from guard import GuardedLLM, GuardError

    engine = SimpleNamespace(vllm_config=llm.llm.llm_engine.vllm_config)
    with pytest.raises(GuardError, match="let adapters answer requests that are not flagged"):
        GuardedLLM(SimpleNamespace(llm_engine=engine), guard=compiled.path)


# Over HTTP.


@pytest.fixture(scope="module")
def held(compiled: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The same for a server, to which another is given."""
    targets = [target.model_dump() for target in compiled.manifest.targets]
    return new_version(compiled, tmp_path_factory.mktemp("held") / "bundle", targets, {})


@pytest.fixture(scope="module")
def server(held: Bundle, tmp_path_factory: pytest.TempPathFactory, llm: Any) -> Iterator[Server]:
    llm.llm.llm_engine.engine_core.shutdown()  # the tests before are done with it
    started = serve(held.path, tmp_path_factory.mktemp("logs") / "server.log")
    try:
        wait_ready(started)
        yield started
    finally:
        started.stop()


def test_no_client_sees_or_chooses_an_adapter(server: Server, compiled: Bundle) -> None:
    from guard import Guard

    adapters = Guard(compiled).adapters
    with server.client() as client:
        before = said(client, question("Odalys Brennick"))
        listed = client.get("/v1/models").text
        assert "builtin:smollm2" in listed
        for adapter in adapters:
            assert adapter.name not in listed
            for name in (adapter.name, f"guard:{adapter.name}", adapter.folder):
                body = {"model": name, "prompt": "Hello", "max_tokens": 1}
                assert client.post("/v1/completions", json=body).status_code == 404, name
        assert said(client, question("Odalys Brennick")) == before


def test_an_answer_by_an_adapter_is_one_of_the_model(server: Server) -> None:
    with server.client() as client:
        body = {
            "model": "builtin:smollm2",
            "messages": [{"role": "user", "content": question("Odalys Brennick")}],
            "max_tokens": 4,
            "logprobs": True,
        }
        answer = client.post("/v1/chat/completions", json=body).json()
    assert answer["model"] == "builtin:smollm2"
    assert "guard" not in json.dumps(answer) and "@" not in answer["id"]
    assert {entry["logprob"] for entry in answer["choices"][0]["logprobs"]["content"]} == {-9999.0}


def test_a_new_version_s_adapters_are_loaded_while_the_server_runs(
    server: Server, held: Bundle
) -> None:
    """The last test of the file: the first target gets a scale that the engine has never met."""
    targets = [target.model_dump() for target in held.manifest.targets]
    with server.client() as client:
        before = [said(client, question(name)) for name in list(NAMES)[:2]]
        targets[0]["interventions"][0]["options"]["scale"] = -2.0
        version = new_version(held, held.path, targets, {}).version
        deadline = time.monotonic() + 120
        while client.get("/guard/ready").json()["bundle"] != version:
            assert time.monotonic() < deadline, server.text()[-2000:]
            time.sleep(0.2)
        after = [said(client, question(name)) for name in list(NAMES)[:2]]
    assert after[0] != before[0] and after[1] == before[1]


def said(client: httpx.Client, text: str) -> str:
    body = {
        "model": "builtin:smollm2",
        "messages": [{"role": "user", "content": text}],
        "temperature": 0,
        "max_tokens": TOKENS,
    }
    answer: str = client.post("/v1/chat/completions", json=body).json()["choices"][0]["message"][
        "content"
    ]
    return answer
