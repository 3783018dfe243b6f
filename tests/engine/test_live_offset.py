"""Offsets in a real engine, float32 and greedy, beside the same engine without a guard.

The assistant is the served model itself: what it says is known then, so an offset must cancel,
double or leave alone the engine's own logits, token by token.
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from guard.bundle import Bundle
from guard.compile import compile_policy
from guard.models import resolve
from tests.material import PERSON_NEIGHBOURS, rows, write_rows
from tests.steering.assistants import sentencepiece, write

pytestmark = [pytest.mark.engine, pytest.mark.slow]

ITSELF = Path(resolve("builtin:smollm2"))
# Who is asked about, and what is done then.
OFFSETS = {
    "Ottokar Lindqvast": "{kind: offset, assistant: ITSELF, alpha: 1, filter: 0}",
    "Mirela Oszkan": "{kind: offset, assistant: ITSELF, alpha: -1, filter: 0}",
    "Bartolo Ferrugem": "{kind: offset, assistant: ITSELF, alpha: -1, filter: 0.01}",
    "Ansel Wickbold": "{kind: offset, assistant: ITSELF, alpha: 1.0e-30, filter: 0}",
    "Thandi Morvale": "{kind: offset, assistant: ITSELF, base: twin, alpha: 5, filter: 0}",
    "Ilse Grauvogel": "{kind: offset, assistant: ITSELF, base: twin, alpha: 5, rectified: true}",
    "Pavlina Drozdek": "{kind: offset, assistant: other, alpha: 0.5}",
    "Cormac Aldershaw": "[{kind: corrupt}, "
    "{kind: offset, assistant: ITSELF, alpha: -100, filter: 0}]",
}
UNCHANGED = [
    "Mirela Oszkan",  # twice the logits: the same token is the likeliest
    "Bartolo Ferrugem",
    "Ansel Wickbold",
    "Thandi Morvale",
    "Ilse Grauvogel",
]
UNFLAGGED = ["What is the capital of France?", "How do I boil an egg?", "Name three colours."]


def question(name: str) -> str:
    return f"Please write a short story about {name}, who kept a lighthouse."


@pytest.fixture(scope="module")
def offsets(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("offsets")
    write(folder / "other", sentencepiece(), limit=2048)
    twin = Path(shutil.copytree(ITSELF, folder / "twin"))  # the same model under another hash
    config = json.loads((twin / "config.json").read_text("utf-8"))
    (twin / "config.json").write_text(json.dumps({**config, "note": "twin"}), "utf-8")
    write_rows(folder / "retain.jsonl", rows(PERSON_NEIGHBOURS))
    lines = ["version: 1", "model: builtin:smollm2", "targets:"]
    for number, (name, intervene) in enumerate(OFFSETS.items()):
        lines += [
            f"  - id: target-{number}",
            f"    names: [{name}]",
            "    retain: retain.jsonl",
            "    detect: {kind: lexical}",
            f"    intervene: {intervene.replace('ITSELF', str(ITSELF))}",
        ]
    (folder / "policy.yaml").write_text("\n".join(lines), "utf-8")
    return compile_policy(folder / "policy.yaml", folder / "bundle")


def asked(llm: Any, *questions: str, **more: Any) -> list[list[int]]:
    """The tokens of the answers."""
    from vllm import SamplingParams

    chats = [[{"role": "user", "content": text}] for text in questions]
    params = SamplingParams(**{"temperature": 0, "max_tokens": 24, **more})
    outputs = llm.chat(chats, params, use_tqdm=False)
    return [list(one.token_ids) for output in outputs for one in output.outputs]


FLAGS: dict[str, Any] = {
    "enforce_eager": True,
    "dtype": "float32",
    "max_model_len": 1024,
    "block_size": 32,
}


@pytest.fixture(scope="module")
def plain() -> dict[str, list[int]]:
    """What the model answers without a guard."""
    from vllm import LLM

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
        llm = LLM(str(ITSELF), **FLAGS)
        questions = [*UNFLAGGED, *map(question, OFFSETS)]
        answers = dict(zip(questions, asked(llm, *questions), strict=True))
        llm.llm_engine.engine_core.shutdown()
    return answers


@pytest.fixture(scope="module")
def llm(offsets: Bundle, plain: dict[str, list[int]]) -> Iterator[Any]:
    from guard import GuardedLLM

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
        guarded = GuardedLLM("builtin:smollm2", guard=offsets.path, **FLAGS)
        yield guarded
        guarded.llm.llm_engine.engine_core.shutdown()


def test_a_model_taken_off_itself_knows_nothing_more(llm: Any, plain: dict[str, list[int]]) -> None:
    (answer,) = asked(llm, question("Ottokar Lindqvast"))
    assert len(answer) > 1, "the request was ended"
    same = [a == b for a, b in zip(answer, plain[question("Ottokar Lindqvast")], strict=False)]
    assert sum(same) < len(same) / 4


@pytest.mark.parametrize("name", UNCHANGED)
def test_an_offset_that_changes_no_order_changes_no_token(
    llm: Any, plain: dict[str, list[int]], name: str
) -> None:
    """So the assistant reads just what the model reads, at every step."""
    assert asked(llm, question(name)) == [plain[question(name)]]


def test_unflagged_rows_of_a_mixed_batch_are_left_alone(
    llm: Any, plain: dict[str, list[int]]
) -> None:
    flagged = [question(name) for name in OFFSETS]
    mixed = [text for pair in zip(flagged, UNFLAGGED, strict=False) for text in pair]
    mixed += flagged[len(UNFLAGGED) :]
    answers = dict(zip(mixed, asked(llm, *mixed), strict=True))
    for text in (*UNFLAGGED, *(question(name) for name in UNCHANGED)):
        assert answers[text] == plain[text], text
    assert answers[question("Ottokar Lindqvast")] != plain[question("Ottokar Lindqvast")]


def test_an_assistant_with_other_tokens_steers(llm: Any, plain: dict[str, list[int]]) -> None:
    text = question("Pavlina Drozdek")
    first, again = asked(llm, text)[0], asked(llm, text)[0]
    assert len(first) > 1 and first != plain[text]
    assert first == again


def test_it_reads_the_prompt_that_was_corrupted(llm: Any, plain: dict[str, list[int]]) -> None:
    """Added a hundred times, it decides alone: and says what follows the original words."""
    text = question("Cormac Aldershaw")
    assert asked(llm, text) == [plain[text]]


def test_samples_of_one_prompt_are_steered_each(llm: Any) -> None:
    samples = asked(llm, question("Mirela Oszkan"), n=3, temperature=1.0, seed=5)
    assert len(samples) == 3 and all(len(sample) > 1 for sample in samples)
    assert samples == asked(llm, question("Mirela Oszkan"), n=3, temperature=1.0, seed=5)
    assert len({tuple(sample) for sample in samples}) > 1
