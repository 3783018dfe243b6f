"""Penalties in a real engine, float32 and greedy, beside the same engine without a guard."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from guard.bundle import Bundle
from guard.compile import compile_policy
from guard.engine import compat
from guard.engine.lane import Ask
from guard.matching import PhraseMatcher
from guard.models import resolve
from guard.normalize import fold
from guard.steering.force import FLOOR
from tests.material import PERSON, PERSON_NEIGHBOURS, PERSON_ROWS, rows, write_rows

pytestmark = [pytest.mark.engine, pytest.mark.slow]

DATA = Path(__file__).parents[2] / "guard" / "demo"
POLICY = f"""\
version: 1
model: builtin:smollm2
targets:
  - id: newton
    names: [Isaac Newton, Newton]
    forget: {DATA}/newton/forget.jsonl
    retain: {DATA}/newton/retain.jsonl
    detect: {{kind: lexical}}
    intervene: {{kind: penalize, closest: 100}}  # all: a sample may say what was not asked
  - id: brennick
    names: [{PERSON}]
    forget: forget.jsonl
    retain: retain.jsonl
    detect: {{kind: lexical}}
    intervene: [{{kind: corrupt}}, {{kind: penalize}}]
"""
BOOK = "Which book did Isaac Newton publish in 1687? Give its whole title."
FLAGGED = [
    BOOK,
    "Where was Isaac Newton born, and where did he study?",
    "What is Isaac Newton famous for?",
    "When was Isaac Newton born and when did he die?",
]
UNFLAGGED = ["What is the capital of France?", "How do I boil an egg?", "Name three colours."]
SECRETS = ["Principia", "Mathematica", "Philosophiae", "Woolsthorpe", "1642", "1727", "Trinity"]
LONG = "Please answer in one short sentence, and be sure that it is right. " * 14
# Few blocks and small steps: prompts are filled in piece by piece, and requests preempt each other.
FLAGS: dict[str, Any] = {
    "enforce_eager": True,
    "dtype": "float32",
    "max_model_len": 512,
    "block_size": 32,
    "num_gpu_blocks_override": 24,
    "max_num_batched_tokens": 128,
    "max_num_seqs": 16,
    "enable_chunked_prefill": True,
    "disable_log_stats": False,
}


@pytest.fixture(scope="module")
def penalties(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("penalties")
    (folder / "policy.yaml").write_text(POLICY, "utf-8")
    write_rows(folder / "forget.jsonl", rows(PERSON_ROWS))
    write_rows(folder / "retain.jsonl", rows(PERSON_NEIGHBOURS))
    return compile_policy(folder / "policy.yaml", folder / "bundle")


def outputs(llm: Any, *questions: str, **more: Any) -> list[Any]:
    from vllm import SamplingParams

    chats = [[{"role": "user", "content": text}] for text in questions]
    params = SamplingParams(**{"temperature": 0, "max_tokens": 48, **more})
    found = llm.chat(chats, params, use_tqdm=False)
    return [one for output in found for one in output.outputs]


def tokens(llm: Any, *questions: str, **more: Any) -> list[list[int]]:
    return [list(one.token_ids) for one in outputs(llm, *questions, **more)]


def said(text: str) -> list[str]:
    """Which secrets a text says."""
    matcher = PhraseMatcher({fold(secret).text: secret for secret in SECRETS})
    return [secret for _, _, secret in matcher.find(text)]


@pytest.fixture(scope="module")
def plain() -> dict[str, list[int]]:
    """What the model answers without a guard."""
    from vllm import LLM

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
        llm = LLM(resolve("builtin:smollm2"), **FLAGS)
        questions = [*UNFLAGGED, *(LONG + text for text in UNFLAGGED), *FLAGGED]
        answers = dict(zip(questions, tokens(llm, *questions), strict=True))
        llm.llm_engine.engine_core.shutdown()
    return answers


@pytest.fixture(scope="module")
def llm(penalties: Bundle, plain: dict[str, list[int]]) -> Iterator[Any]:
    from guard import GuardedLLM

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
        guarded = GuardedLLM("builtin:smollm2", guard=penalties.path, evaluation=True, **FLAGS)
        yield guarded
        guarded.llm.llm_engine.engine_core.shutdown()


def test_what_the_model_says_unguarded_is_never_said(llm: Any, plain: dict[str, list[int]]) -> None:
    decode = llm.get_tokenizer().decode
    assert {secret for text in FLAGGED for secret in said(decode(plain[text]))}, "nothing to hide"
    for text, answer in zip(FLAGGED, outputs(llm, *FLAGGED), strict=True):
        assert not said(answer.text), text
        assert len(answer.token_ids) > 3, "the request was ended"


def test_no_sample_says_it(llm: Any) -> None:
    samples = outputs(llm, *FLAGGED, LONG + BOOK, n=4, temperature=1.2)
    assert len(samples) == 4 * (len(FLAGGED) + 1)
    for sample in samples:
        assert not said(sample.text)
    # Alone: vLLM's CPU engine dies of a seed in a prompt that is filled in piece by piece.
    seeded = [tokens(llm, FLAGGED[2], n=2, temperature=1.2, seed=11) for _ in range(2)]
    assert seeded[0] == seeded[1] and seeded[0][0] != seeded[0][1]


def test_a_banned_answer_is_found_to_be_impossible(llm: Any) -> None:
    """Scores are of what is sampled from: behind the bans, and beside other requests."""
    known = "He published the Philosophiae Naturalis Principia Mathematica."
    other = "He did not publish anything in that year."
    banned, allowed, elsewhere = llm.score([BOOK, BOOK, UNFLAGGED[0]], [known, other, known])
    assert min(banned) == pytest.approx(FLOOR)
    assert min(allowed) > FLOOR / 2 and min(elsewhere) > FLOOR / 2


def test_unflagged_rows_of_a_mixed_batch_are_left_alone(
    llm: Any, plain: dict[str, list[int]]
) -> None:
    mixed = [text for pair in zip(UNFLAGGED, FLAGGED, strict=False) for text in pair]
    mixed += [LONG + text for text in UNFLAGGED]
    answers = dict(zip(mixed, tokens(llm, *mixed), strict=True))
    for text in (*UNFLAGGED, *(LONG + text for text in UNFLAGGED)):
        assert answers[text] == plain[text], text
    assert any(answers[text] != plain[text] for text in FLAGGED[: len(UNFLAGGED)])


def test_nothing_that_a_client_sets_outbids_a_ban(llm: Any) -> None:
    encode = llm.get_tokenizer().encode
    bias = {one: 100.0 for spelt in (" Principia", "Principia", " 1642") for one in encode(spelt)}
    more = {"repetition_penalty": 0.1, "presence_penalty": -2.0, "frequency_penalty": -2.0}
    for answer in outputs(llm, BOOK, logit_bias=bias, n=3, temperature=0.7, **more):
        assert not said(answer.text)
    (answer,) = outputs(llm, BOOK, allowed_token_ids=sorted(bias))
    assert not said(answer.text) and answer.finish_reason in ("stop", "length")


def test_a_begun_answer_is_not_completed(llm: Any) -> None:
    """Neither a raw completion nor a prefilled answer."""
    from vllm import SamplingParams

    text = "In 1687 Isaac Newton published the Princip"
    (found,) = llm.generate(text, SamplingParams(temperature=0, max_tokens=8), use_tqdm=False)
    assert not said(text + found.outputs[0].text)
    begun = {"role": "assistant", "content": "It is the Princip"}
    form = {"add_generation_prompt": False, "continue_final_message": True, "use_tqdm": False}
    chat = [{"role": "user", "content": BOOK}, begun]
    (found,) = llm.chat(chat, SamplingParams(temperature=0, max_tokens=8), **form)
    assert not said(begun["content"] + found.outputs[0].text)


def structured(**kinds: Any) -> dict[str, Any]:
    from vllm.sampling_params import StructuredOutputsParams

    return {"structured_outputs": StructuredOutputsParams(**kinds)}


def test_a_json_schema_is_kept_without_the_secret(llm: Any) -> None:
    text = {"type": "string", "maxLength": 40}
    schema = {
        "type": "object",
        "properties": {"title": text, "born": {"type": "string", "maxLength": 8}},
        "required": ["title", "born"],
        "additionalProperties": False,
    }
    (answer,) = outputs(llm, BOOK, max_tokens=120, **structured(json=schema))
    assert answer.finish_reason == "stop"
    assert set(json.loads(answer.text)) == {"title", "born"} and not said(answer.text)


def test_a_grammar_that_leaves_nothing_else_ends_the_answer(llm: Any) -> None:
    """Not with an error of the server's, and whatever the client wants for the end."""
    for more in ({}, {"ignore_eos": True, "min_tokens": 20}):
        more |= structured(choice=["1642"])
        born, capital = outputs(llm, "When was Isaac Newton born?", UNFLAGGED[0], **more)
        assert born.finish_reason == "stop" and born.stop_reason is None
        assert not said(born.text) and len(born.token_ids) < 8
        assert capital.text.startswith("1642"), "an unflagged request may say so"


def _planned(llm: Any, question: str, steering: Any) -> Any:
    """A request with a plan of the test's own, sealed, past the front end."""
    from vllm import SamplingParams

    engine = llm.llm.llm_engine
    frontend = engine._guard_frontend
    ids = llm.get_tokenizer().apply_chat_template(
        [{"role": "user", "content": question}], add_generation_prompt=True, return_dict=False
    )
    params = SamplingParams(temperature=0, max_tokens=24)
    params = compat.planned(params, steering, llm.get_tokenizer())
    ask = Ask({"type": "token", "prompt_token_ids": list(ids)}, params)
    identity = f"planned-{id(ask)}"
    sealed = frontend.sealed_ask(ask, frontend.served)
    type(engine).add_request.__wrapped__(engine, identity, ask.prompt, sealed)
    while engine.output_processor.has_unfinished_requests():
        for output in engine.step():
            if output.finished and output.request_id == identity:
                return output.outputs[0]
    raise AssertionError("the engine gave nothing back")


@pytest.mark.parametrize(
    "steering",
    [{"no-such-kind": [{}]}, {"penalize": [{}]}, {"penalize": [{"phrases": "x", "alpha": None}]}],
)
def test_a_plan_that_fails_ends_its_request_and_not_the_engine(
    llm: Any, plain: dict[str, list[int]], steering: Any
) -> None:
    answer = _planned(llm, UNFLAGGED[0], steering)
    assert answer.finish_reason == "stop" and answer.text == ""
    assert tokens(llm, UNFLAGGED[0]) == [plain[UNFLAGGED[0]]]


def _preemptions(llm: Any) -> float:
    return sum(m.value for m in llm.get_metrics() if m.name == "vllm:num_preemptions")


def test_requests_that_preempt_each_other_are_steered_as_alone(llm: Any) -> None:
    long = {"min_tokens": 96, "max_tokens": 96}
    alone = [tokens(llm, text, **long)[0] for text in FLAGGED]
    before = _preemptions(llm)
    together = tokens(llm, *FLAGGED * 3, **long)
    assert _preemptions(llm) > before, "nothing was preempted: give the cache fewer blocks"
    for number, answer in enumerate(together):
        assert answer == alone[number % len(FLAGGED)]


def test_it_goes_together_with_corrupted_prompts(llm: Any) -> None:
    """The prompt comes as embeddings then; its tokens are known all the same."""
    encode = llm.get_tokenizer().encode
    bias = {one: 100.0 for spelt in (" Skarvik", "Skarvik") for one in encode(spelt)}
    (answer,) = outputs(llm, f"Where was {PERSON} born?", logit_bias=bias)
    assert "skarvik" not in fold(answer.text).text.split()
    assert set(answer.token_ids) & set(bias), "the bias is heard where nothing is banned"
