"""A plain engine in its process: what it answers and scores, and that nothing is left of it."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from adapters.batches import encode
from benchmarks.leakage.ask import Ask, Forced
from benchmarks.leakage.systems.engine import Engine, Settings
from guard.data import Row
from guard.errors import GuardError

pytestmark = [pytest.mark.engine, pytest.mark.slow]

FRANCE = "What is the capital of France?"


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with Engine("builtin:smollm2", settings=Settings(tokens=512)) as running:
        yield running


def test_a_batch_of_all_forms_comes_back_in_order(engine: Engine) -> None:
    asks = [
        Ask(FRANCE, max_tokens=16),
        Ask("The capital of France is", "completion", max_tokens=8),
        Ask(FRANCE, "tokens", max_tokens=16),
        Ask(FRANCE, samples=3, temperature=1.0, seed=5, max_tokens=8),
        Ask(FRANCE, samples=2, max_tokens=16),
    ]
    chat, completion, tokens, samples, greedy = engine.ask(asks)
    assert "Paris" in chat[0].text and "Paris" in completion[0].text
    assert tokens == chat and greedy == chat * 2
    assert len({one.text for one in samples}) > 1
    assert engine.ask(asks[3:4]) == [samples], "a seed gives the same samples again"


def test_a_begun_answer_is_gone_on_with(engine: Engine) -> None:
    begun = (
        {"role": "user", "content": FRANCE},
        {"role": "assistant", "content": "It is the city of"},
    )
    for form in ("chat", "tokens"):
        ((answer,),) = engine.ask([Ask(begun, form, max_tokens=4)])
        assert answer.text.startswith(" Paris")


def test_what_cannot_be_asked_fails_by_itself(engine: Engine) -> None:
    long = Ask("word " * 600, samples=2)
    failed, answered = engine.ask([long, Ask(FRANCE, max_tokens=8)])
    assert [one.state for one in failed] == ["failed", "failed"]
    assert answered[0].state == "answered" and answered[0].text
    assert engine.score([Forced("word " * 600, "no")]) == [None]


def test_scores_are_those_of_transformers(engine: Engine, served: Path, tokenizer: Any) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(served, dtype=torch.float32).eval()

    def wanted(ids: list[int], start: int) -> list[float]:
        with torch.inference_mode():
            logs = model(torch.tensor([ids])).logits[0].log_softmax(-1)
        return [float(logs[at - 1, ids[at]]) for at in range(start, len(ids))]

    example = encode(tokenizer, Row(FRANCE, "It is Paris."))
    assert example is not None
    passage = [*(before := tokenizer.encode("Once upon a time")), *tokenizer.encode(" there was")]
    scores = engine.score(
        [Forced(FRANCE, "It is Paris."), Forced("Once upon a time", " there was", passage=True)]
    )
    expected = wanted(list(example.ids), example.start), wanted(passage, len(before))
    for score, values in zip(scores, expected, strict=True):
        assert score == pytest.approx(values, abs=1e-3)
    assert tokenizer.decode(example.ids[-1:]) == "<|im_end|>", "the end token counts"
    assert all(math.isfinite(value) for value in scores[0] or ())


def test_it_has_no_flags(engine: Engine) -> None:
    assert engine.flags([Ask(FRANCE)]) is None


def test_a_crash_is_one_line_and_leaves_nothing(engine: Engine) -> None:
    """The last test of the module: the engine is ended here."""
    process = psutil.Process(engine._process.pid)
    everyone = [process, *process.children(recursive=True)]
    core = next(one for one in everyone if "EngineCore" in " ".join(one.cmdline()))
    core.kill()
    with pytest.raises(GuardError, match="the engine failed: "):
        engine.ask([Ask(FRANCE)])
    engine.close()
    _, alive = psutil.wait_procs(everyone, timeout=20)
    assert not alive
    with pytest.raises(GuardError, match="the engine has ended"):
        engine.ask([Ask(FRANCE)])


def test_a_model_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(GuardError, match=f"{tmp_path.name}: the engine failed: .+"):
        Engine(str(tmp_path))
