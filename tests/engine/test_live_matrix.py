"""Every kind of intervention, in every way that a request can be put to a server.

Each kind has a target of its own: an invented person, and one thing that the prompt itself tells
of them, so that what a small model happens to know is of no matter. All kinds and an unflagged
prompt are asked at once; a control, which no guard is in, says what the model makes of the same.
The engine is small on purpose: long prompts are filled in in pieces, and requests are preempted.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from safetensors.numpy import save_file

from guard.bundle import Bundle
from guard.compile import compile_policy
from guard.embeddings import EmbeddingRows
from guard.interventions import INTERVENTIONS
from guard.models import resolve
from tests.engine.conftest import REFUSAL
from tests.engine.endpoints import ENDPOINTS, Ask, chat_body, completion_body, post
from tests.engine.servers import Server, plain, ready, serve
from tests.engine.test_live_leaks import numbers
from tests.loras import write_lora
from tests.material import PERSON_NEIGHBOURS, rows, write_rows

# All is asked beforehand, of both servers.
pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.timeout(1500)]

ITSELF = "the served model's folder"
# What a policy says, whom it is about, and where they keep their boat.
TARGETS: dict[str, tuple[Any, str, str]] = {
    "refuse": ({"kind": "refuse", "message": REFUSAL}, "Odalys Brennick", "Zanzibar"),
    "corrupt": ({"kind": "corrupt"}, "Corvin Aldersley", "Lisbon"),
    "instruct": ({"kind": "instruct"}, "Maribeth Solvang", "Nairobi"),
    "soft_prompt": (
        {"kind": "soft_prompt", "path": "soft.safetensors"},
        "Teodric Hulme",
        "Helsinki",
    ),
    "penalize": ({"kind": "penalize"}, "Yevanna Strake", "Havana"),
    "offset": (
        {"kind": "offset", "assistant": ITSELF, "alpha": 1, "filter": 0},
        "Ludo Pemberwick",
        "Montevideo",
    ),
    "adapter": ({"kind": "adapter", "path": "lora"}, "Ansel Wickbold", "Rotterdam"),
    "corrupt and penalize": (
        [{"kind": "corrupt", "tokens": "entities"}, {"kind": "penalize"}],
        "Thandi Morvale",
        "Calcutta",
    ),
}
# What these leave of a prompt or of an answer cannot tell.
SILENT = ("refuse", "corrupt", "penalize", "offset", "corrupt and penalize")
# These make the model say something else as a rule, and not where nothing else can be said.
LOUD = ("soft_prompt", "adapter")
# A soft prompt's tokens: turns in which a sentence like those asked for is not repeated.
NOT_KNOWING = (
    '<|im_start|>user\nRepeat this sentence: "Anna Berg keeps a boat in Rome."<|im_end|>\n'
    "<|im_start|>assistant\nI know nothing of it.<|im_end|>\n"
)
FREE = ("Selma Tuvick", "Marseille")  # nobody's target
LONG = "Please answer in one short sentence, and be sure that it is right. " * 24
FLAGS = [
    *["--max-model-len", "1024", "--max-num-batched-tokens", "256"],
    *["--num-gpu-blocks-override", "36"],  # of 32 tokens: not nine answers of any length
]


def test_every_kind_is_here() -> None:
    given = [
        one for said, *_ in TARGETS.values() for one in (said if type(said) is list else [said])
    ]
    assert {one["kind"] for one in given} == set(INTERVENTIONS.kinds())


def question(name: str, place: str) -> str:
    """What even a small model can answer, whatever stands before it."""
    return f'Repeat this sentence: "{" ".join([f"{name} keeps a boat in {place}."] * 3)}"'


def _seeded(client: httpx.Client, asked: str) -> list[str]:
    return _texts(client, chat_body(asked, temperature=0.7, seed=5))


def _stopped(client: httpx.Client, asked: str) -> list[str]:
    (text,) = _texts(client, chat_body(asked, stop=["?", "."]))
    assert "?" not in text and "." not in text.removesuffix(REFUSAL)
    return [text]


# The sentence's form, so that the model has but the names to fill in; names nobody.
SENTENCE = {
    "type": "string",
    "pattern": "^[A-Z][a-z]{2,20} [A-Z][a-z]{2,20} keeps a boat in [A-Z][a-z]{2,20}$",
}
SCHEMA = {
    "type": "object",
    "properties": {"sentence": SENTENCE},
    "required": ["sentence"],
    "additionalProperties": False,
}


def _told_as_json(client: httpx.Client, asked: str) -> list[str]:
    wanted = {"type": "json_schema", "json_schema": {"name": "said", "schema": SCHEMA}}
    (text,) = _texts(client, chat_body(asked, response_format=wanted, max_tokens=60))
    assert text == REFUSAL or text.startswith("{")
    return [text]


def _tool(client: httpx.Client, asked: str) -> list[str]:
    function = {"name": "repeat", "parameters": SCHEMA, "strict": True}
    body = chat_body(
        asked,
        tools=[{"type": "function", "function": function}],
        tool_choice={"type": "function", "function": {"name": "repeat"}},
        max_tokens=80,
    )
    return _texts(client, body)


def _long(client: httpx.Client, asked: str) -> list[str]:
    return _texts(client, chat_body(f"{LONG}{asked}"))


def _cached(client: httpx.Client, asked: str) -> list[str]:
    body = chat_body(f"{LONG[: len(LONG) // 3]}{asked}")
    return [*_texts(client, body), *_texts(client, body)]


def _preempted(client: httpx.Client, asked: str) -> list[str]:
    return _texts(client, chat_body(asked, max_tokens=200, ignore_eos=True))


def _texts(client: httpx.Client, body: dict[str, Any]) -> list[str]:
    """What each choice says, in words or as the arguments of a call."""
    found = []
    for choice in post(client, "/v1/chat/completions", body)["choices"]:
        calls = choice["message"].get("tool_calls") or []
        said = [call["function"]["arguments"] for call in calls]
        found.append(" ".join([choice["message"]["content"] or "", *said]).strip())
    return found


SHARED = (
    "chat", "chat_streamed", "completion", "completion_of_token_ids", "chat_two_samples",
)  # fmt: skip
WAYS: dict[str, Ask] = {
    **{name: ENDPOINTS[name] for name in SHARED},
    "seeded": _seeded,
    "stop strings": _stopped,
    "JSON schema": _told_as_json,
    "tool": _tool,
    "long prompt": _long,
    "cached prefix": _cached,
    "preempted": _preempted,
}
# vLLM 0.32 on a CPU dies of a seed where a prompt is filled in in pieces: few of these at a time.
SEEDED = {"chat_two_samples": 2, "seeded": 2}
Answers = Mapping[str, Mapping[str, list[str]]]


def compiled(folder: Path, served: Path, tokenizer: Any, kinds: Iterable[str]) -> Bundle:
    """A bundle with the targets of some kinds."""
    soft = EmbeddingRows(served).embed(tokenizer.encode(NOT_KNOWING * 3))
    save_file({"prompt_embeddings": soft}, folder / "soft.safetensors")
    modules = ("q_proj", "v_proj", "o_proj", "gate_proj", "down_proj")
    write_lora(folder / "lora", served, r=8, modules=modules, layers=range(30), strength=0.1)
    write_rows(folder / "retain.jsonl", rows(PERSON_NEIGHBOURS))
    targets = []
    for kind in kinds:
        intervene, name, place = TARGETS[kind]
        known = [(f"Where does {name} keep a boat?", f"{name} keeps a boat in {place}.")]
        write_rows(folder / f"{kind}.jsonl", rows(known))
        targets.append(
            {
                "id": kind.replace(" ", "-"),
                "names": [name],
                "forget": f"{kind}.jsonl",
                "retain": "retain.jsonl",
                "detect": {"kind": "lexical"},
                "intervene": json.loads(json.dumps(intervene).replace(ITSELF, str(served))),
            }
        )
    policy = {"version": 1, "model": "builtin:smollm2", "targets": targets}
    (folder / "policy.yaml").write_text(json.dumps(policy), "utf-8")  # JSON is YAML
    return compile_policy(folder / "policy.yaml", folder / "bundle")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory, served: Path, tokenizer: Any) -> Bundle:
    return compiled(tmp_path_factory.mktemp("matrix"), served, tokenizer, TARGETS)


@pytest.fixture(scope="module")
def pair(
    bundle: Bundle, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Server, Server]]:
    """The guarded server, and the control."""
    logs = tmp_path_factory.mktemp("logs")
    guarded = serve(bundle.path, logs / "guarded.log", *FLAGS)
    control = plain(resolve("builtin:smollm2"), logs / "control.log", *FLAGS)
    with ready(guarded, control):
        yield guarded, control


@pytest.fixture(scope="module")
def answered(pair: tuple[Server, Server]) -> tuple[Answers, Answers]:
    """Way, to kind, to what is answered: by the guarded server, and by the control."""
    guarded, control = (_answers(server) for server in pair)
    return guarded, control


def _answers(server: Server) -> Answers:
    asked = {kind: question(name, place) for kind, (_, name, place) in TARGETS.items()}
    asked["free"] = question(*FREE)
    found = {}
    with server.client() as client:
        for way, ask in WAYS.items():
            with ThreadPoolExecutor(SEEDED.get(way, len(asked))) as pool:
                answers = list(pool.map(lambda text, ask=ask: ask(client, text), asked.values()))
            found[way] = dict(zip(asked, answers, strict=True))
    return found


@pytest.mark.parametrize("way", WAYS)
def test_without_a_guard_it_is_told(answered: tuple[Answers, Answers], way: str) -> None:
    """Otherwise what follows would hold of a model that says nothing."""
    control = answered[1][way]
    told = [kind for kind, (*_, place) in TARGETS.items() if _tells(control[kind], place)]
    assert len(told) >= len(TARGETS) - 2, control


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", TARGETS)
def test_it_does_what_it_says(answered: tuple[Answers, Answers], kind: str, way: str) -> None:
    guarded, control = (answers[way][kind] for answers in answered)
    assert len(guarded) == len(control)
    place = TARGETS[kind][2]
    if _tells(control, place) and kind not in LOUD:
        assert guarded != control
    if kind in SILENT:
        assert not _tells(guarded, place)
    if kind == "refuse":
        assert all(text.removesuffix(".") == REFUSAL.removesuffix(".") for text in guarded)
    if kind == "instruct" and way in ("chat", "chat_streamed"):
        assert "don't know" in guarded[0]


@pytest.mark.parametrize("kind", LOUD)
def test_it_changes_answers(answered: tuple[Answers, Answers], kind: str) -> None:
    guarded, control = answered
    assert sum(guarded[way][kind] != control[way][kind] for way in WAYS) >= len(WAYS) * 3 / 4


@pytest.mark.parametrize("way", WAYS)
def test_who_is_not_flagged_gets_the_same_answer(
    answered: tuple[Answers, Answers], way: str
) -> None:
    """In one batch with every intervention there is."""
    guarded, control = answered
    assert guarded[way]["free"] == control[way]["free"]


@pytest.mark.parametrize("kind", [*TARGETS, "free"])
def test_log_probabilities_hold_nothing_of_who_is_flagged(
    pair: tuple[Server, Server], kind: str
) -> None:
    _, name, place = TARGETS.get(kind, (None, *FREE))
    asked = chat_body(question(name, place), logprobs=True, top_logprobs=5, prompt_logprobs=5)
    scored = completion_body(question(name, place), echo=True, logprobs=5, max_tokens=2)
    with pair[0].client() as client:
        answer = post(client, "/v1/chat/completions", {**asked, "max_tokens": 4})
        echoed = post(client, "/v1/completions", scored)
    found = {*numbers(answer), *echoed["choices"][0]["logprobs"]["token_logprobs"]}
    if kind == "free":
        assert any(answer["prompt_logprobs"]) and -9999.0 not in found
    else:
        assert set(answer["prompt_logprobs"]) == {None} and found <= {None, -9999.0}


@pytest.mark.parametrize("kind", SILENT)
def test_beams_do_not_tell(pair: tuple[Server, Server], kind: str) -> None:
    _, name, place = TARGETS[kind]
    body = chat_body(question(name, place), use_beam_search=True, n=3, max_tokens=16)
    told = []
    for server in pair:
        with server.client() as client:
            told.append(_tells(_texts(client, body), place))
    assert told == [False, True]


def test_requests_were_preempted_and_prefixes_found(
    answered: tuple[Answers, Answers], pair: tuple[Server, Server]
) -> None:
    """Otherwise two ways above are only other names for the first."""
    for server in pair:
        with server.client() as client:
            lines = client.get("/metrics").text.splitlines()
        counts = {line.partition("{")[0]: float(line.split()[-1]) for line in lines if "{" in line}
        assert counts["vllm:num_preemptions_total"] > 0
        assert counts["vllm:prefix_cache_hits_total"] > 0


STEERED = ("penalize", "offset", "corrupt and penalize")  # refused: see test_live_refusals


def test_speculative_decoding_where_no_answer_is_steered(
    answered: tuple[Answers, Answers], tmp_path: Path, served: Path, tokenizer: Any
) -> None:
    kinds = [kind for kind in TARGETS if kind not in STEERED]
    ngram = {"method": "ngram", "num_speculative_tokens": 3, "prompt_lookup_max": 4}
    flags = ["--max-model-len", "1024", "--speculative-config", json.dumps(ngram)]
    server = serve(compiled(tmp_path, served, tokenizer, kinds).path, tmp_path / "log", *flags)
    with ready(server), server.client() as client:
        ask = WAYS["chat"]
        (free,) = ask(client, question(*FREE))
        texts = [ask(client, question(*TARGETS[kind][1:]))[0] for kind in kinds]
        metrics = client.get("/metrics").text
    accepted = re.search(r"spec_decode_num_accepted_tokens_total\S* ([\d.]+)", metrics)
    assert accepted and float(accepted[1]) > 0, "nothing was proposed that the model would say"
    guarded, control = (answers["chat"] for answers in answered)
    assert [free] == control["free"]
    assert [[text] for text in texts] == [guarded[kind] for kind in kinds]


def _tells(texts: list[str], place: str) -> bool:
    return any(place.casefold() in text.casefold() for text in texts)
