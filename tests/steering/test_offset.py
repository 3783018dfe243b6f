"""Assistants' logits, taken off by the formulas: against calculation by hand."""

import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from guard.errors import InterventionError, ModelError
from guard.steering.base import Engine
from guard.steering.offset import ROOM, Offset, likely
from guard.steering.vocabulary import NONE, Lexicon, cross
from tests.steering.assistants import (
    TEXTS,
    byte_level,
    engine,
    from_scratch,
    plan,
    sentencepiece,
    write,
)

TOKENIZER = byte_level()
SIZE = len(TOKENIZER)
PROMPT = TOKENIZER.encode(f"<|im_start|>user\n{TEXTS[1]}<|im_end|>\n")
OUTPUT = TOKENIZER.encode(" She was born")
INF = math.inf


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models by name: what is served, an assistant, what it was before, one that spells apart."""
    folder = tmp_path_factory.mktemp("models")
    for seed, name in enumerate(("served", "assistant", "base")):
        write(folder / name, seed=seed)
    write(folder / "other", sentencepiece(), seed=7)
    return folder


@pytest.fixture(scope="module")
def served(folder: Path) -> Engine:
    return engine(folder / "served")


@pytest.fixture(scope="module")
def v() -> torch.Tensor:
    """The served model's logits."""
    return torch.randn(SIZE, generator=torch.Generator().manual_seed(11)) * 4


@pytest.fixture(scope="module")
def a(folder: Path) -> torch.Tensor:
    return from_scratch(folder / "assistant", PROMPT + OUTPUT)


@pytest.fixture(scope="module")
def b(folder: Path) -> torch.Tensor:
    return from_scratch(folder / "base", PROMPT + OUTPUT)


def steered(served: Engine, logits: torch.Tensor, *plans: Any) -> torch.Tensor:
    row = logits.clone()
    Offset(plans, served)(PROMPT, OUTPUT, row)
    return row


def close(one: torch.Tensor, other: torch.Tensor) -> bool:
    return bool(torch.allclose(one, other, atol=1e-4))


def test_uld_takes_the_assistant_off(
    folder: Path, served: Engine, v: torch.Tensor, a: torch.Tensor
) -> None:
    assert close(steered(served, v, plan(folder / "assistant")), v - 0.8 * a)


def test_cmc_adds_it(folder: Path, served: Engine, v: torch.Tensor, a: torch.Tensor) -> None:
    """Which token is likelier, and how much, is as in CMC, which adds to log-probabilities."""
    found = steered(served, v, plan(folder / "assistant", alpha=-0.5)).log_softmax(0)
    assert close(found, (v.log_softmax(0) + 0.5 * a).log_softmax(0))


def test_negation_takes_only_the_difference_off(
    folder: Path, served: Engine, v: torch.Tensor, a: torch.Tensor, b: torch.Tensor
) -> None:
    found = steered(served, v, plan(folder / "assistant", folder / "base", alpha=0.75))
    assert close(found, v - 0.75 * (a - b))


def test_whp_takes_off_what_was_reinforced(
    folder: Path, served: Engine, v: torch.Tensor, a: torch.Tensor, b: torch.Tensor
) -> None:
    against = plan(folder / "assistant", folder / "base", rectified=True, alpha=5.0)
    found = steered(served, v, against)
    assert close(found, v - 5 * (a - b).clamp(min=0))
    assert (found <= v).all() and (found < v).any() and (found == v).any()
    itself = steered(served, v, plan(folder / "assistant", rectified=True))
    assert close(itself, v - 0.8 * (a - v).clamp(min=0))


def test_a_model_taken_off_itself_leaves_no_opinion(folder: Path, served: Engine) -> None:
    logits = from_scratch(folder / "served", PROMPT + OUTPUT)
    found = steered(served, logits, plan(folder / "served", alpha=1.0))
    assert close(found, torch.zeros(SIZE))


def test_a_difference_of_nothing_changes_nothing(
    folder: Path, served: Engine, v: torch.Tensor
) -> None:
    same = plan(folder / "base", folder / "base", alpha=3.0)
    assert torch.equal(steered(served, v, same), v)


def test_plans_add_up_in_any_order(
    folder: Path, served: Engine, v: torch.Tensor, a: torch.Tensor, b: torch.Tensor
) -> None:
    plans = [plan(folder / "assistant", filter=0.1), plan(folder / "base", rectified=True)]
    wanted = v - 0.8 * a - 0.8 * (b - v).clamp(min=0)
    wanted[~likely(v, 0.1)] = -INF
    assert close(steered(served, v, *plans), wanted)
    assert close(steered(served, v, *reversed(plans)), wanted)


@given(st.lists(st.floats(-30, 30), min_size=1, max_size=60), st.floats(1e-4, 0.9))
def test_the_filter_by_hand(numbers: list[float], share: float) -> None:
    values = torch.tensor(numbers, dtype=torch.float64)
    best = max(math.exp(value) for value in numbers)
    first = sorted(numbers, reverse=True)[max(int(share * len(numbers)), 1) - 1]
    for value, passes in zip(numbers, likely(values, share).tolist(), strict=True):
        if not math.isclose(math.exp(value), share * best, rel_tol=1e-6):  # at the edge
            assert passes == (math.exp(value) > share * best or value >= first)


def test_a_fact_learned_by_heart_leaves_others_to_choose_from() -> None:
    """Else its one likely token would remain, whatever the assistant says."""
    values = torch.full((1000,), -10.0)
    values[7], values[1] = 20.0, -9.0
    values[2:6] = torch.tensor([-9.1, -9.2, -9.3, -9.4])
    assert likely(values, 0.006).nonzero().flatten().tolist() == [1, 2, 3, 4, 5, 7]
    assert likely(values, 0).all()


def test_the_filter_looks_at_what_may_be_said(folder: Path, served: Engine) -> None:
    """A grammar rules out the likeliest tokens: the likeliest of the others are chosen among."""
    v = torch.arange(SIZE, 0, -1.0)
    v[:200] = -INF
    row = steered(served, v, plan(folder / "assistant", filter=0.01))
    assert row.isfinite().nonzero().flatten().tolist() == list(range(200, 205))


def test_what_was_ruled_out_stays_so(
    folder: Path, served: Engine, v: torch.Tensor, a: torch.Tensor
) -> None:
    out = torch.arange(SIZE) % 3 == 0
    every = [
        plan(folder / "assistant", alpha=alpha, rectified=rectified, filter=share, base=base)
        for alpha, rectified in ((0.8, False), (-0.8, False), (0.8, True))
        for base in (None, folder / "base")
        for share in (0.0, 0.01)
    ]
    for one in every:
        row = steered(served, v.where(~out, -INF), one)
        assert (row[out] == -INF).all() and not row.isnan().any()
        assert row[~out].isfinite().any()
    assert close(steered(served, v.where(~out, -INF), every[0])[~out], (v - 0.8 * a)[~out])


def test_a_row_with_nothing_left_stays_as_it_is(folder: Path, served: Engine) -> None:
    nothing = torch.full((SIZE,), -INF)
    assert torch.equal(steered(served, nothing, plan(folder / "assistant")), nothing)


def test_no_number_of_the_engines_is_ruled_out(
    folder: Path, served: Engine, v: torch.Tensor
) -> None:
    v = v.clone()
    v[5] = math.nan
    for share in (0.0, 0.01):
        row = steered(served, v, plan(folder / "assistant", filter=share))
        assert row[5] == -INF and not row.isnan().any() and row.isfinite().any()


@pytest.mark.parametrize("value", [math.nan, INF, -INF])
def test_an_assistant_without_numbers_ends_the_request(
    folder: Path, served: Engine, v: torch.Tensor, monkeypatch: pytest.MonkeyPatch, value: float
) -> None:
    def broken(*_: Any) -> torch.Tensor:
        return torch.full((SIZE,), value)

    steering = Offset([plan(folder / "assistant")], served)
    monkeypatch.setattr("guard.steering.assistant.Assistant.forward", broken)
    with pytest.raises(InterventionError, match="no numbers"):
        steering(PROMPT, OUTPUT, v.clone())


def test_tokens_that_the_assistant_rules_out_are_not_pushed_up(
    folder: Path, served: Engine, v: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    says = torch.zeros(SIZE)
    says[3] = -INF
    monkeypatch.setattr("guard.steering.assistant.Assistant.forward", lambda *_: says)
    found = steered(served, v, plan(folder / "assistant"))
    assert close(found[4:], v[4:])  # no opinion: 0 each
    assert abs(found[3] - v[3] - 0.8 * math.log(SIZE / (SIZE - 1))) < 1e-5


def test_tokens_that_it_has_not_are_as_if_it_had_no_idea(
    folder: Path, served: Engine, v: torch.Tensor, a: torch.Tensor
) -> None:
    """A served vocabulary is padded at times: what is behind must not rise above all others."""
    wide = replace(served, vocabulary=SIZE + 3)
    found = steered(wide, torch.cat([v, v[:3]]), plan(folder / "assistant"))
    assert close(found[:SIZE], v - 0.8 * a)
    assert close(found[SIZE:], v[:3] - 0.8 * (a.logsumexp(0) - math.log(SIZE)))
    rectified = plan(folder / "assistant", rectified=True)
    assert torch.equal(steered(wide, torch.cat([v, v[:3]]), rectified)[SIZE:], v[:3])


def test_another_vocabulary_is_crossed(folder: Path, served: Engine, v: torch.Tensor) -> None:
    other = sentencepiece()
    crossing = cross(TOKENIZER, other, SIZE, served.eos)
    assert crossing is not None
    said = from_scratch(folder / "other", crossing.context(PROMPT + OUTPUT))
    uniform = (said.logsumexp(0) - math.log(len(said))).item()
    wanted = [said[token].item() if token != NONE else uniform for token in crossing.index]
    assert close(steered(served, v, plan(folder / "other")), v - 0.8 * torch.tensor(wanted))
    assert crossing.index[TOKENIZER.eos_token_id] == other.eos_token_id
    piece = Lexicon(TOKENIZER).pieces[TOKENIZER.encode(" glazier")[0]]
    assert crossing.index[TOKENIZER.encode(" glazier")[0]] == Lexicon(other).first(piece or b"")


def run(steering: Offset, answer: list[int], v: torch.Tensor) -> list[torch.Tensor]:
    rows = []
    for length in range(len(answer) + 1):
        rows.append(v.clone())
        steering(PROMPT, answer[:length], rows[-1])
    return rows


def test_an_answer_is_read_once(folder: Path, served: Engine, v: torch.Tensor) -> None:
    steering = Offset([plan(folder / "assistant"), plan(folder / "assistant", alpha=0.1)], served)
    (view,) = steering._views.values()
    before, answer = view.assistant.read, TOKENIZER.encode(" ".join(TEXTS))
    run(steering, answer, v)
    assert view.assistant.read - before == len(PROMPT) + len(answer)


def test_an_answer_in_other_words_is_hardly_read_twice(
    folder: Path, served: Engine, v: torch.Tensor
) -> None:
    """As a word grows, the assistant may cut it otherwise; what is before it stays."""
    steering = Offset([plan(folder / "other")], served)
    (view,) = steering._views.values()
    before, answer = view.assistant.read, TOKENIZER.encode(" ".join(TEXTS))
    run(steering, answer, v)
    assert view.crossing is not None
    whole = len(view.crossing.context([*PROMPT, *answer]))
    assert view.assistant.read - before < 2 * whole + len(answer)


@pytest.mark.parametrize("name", ["assistant", "other"])
def test_requests_do_not_disturb_one_another(
    folder: Path, served: Engine, v: torch.Tensor, name: str
) -> None:
    """Nor does one that is preempted, and begins again, find anything else."""
    one, other = (Offset([plan(folder / name)], served) for _ in range(2))
    first, second = TOKENIZER.encode(TEXTS[0])[:20], TOKENIZER.encode(TEXTS[2])[:20]
    for length in range(20):
        rows = v.clone(), v.clone()
        one(PROMPT, first[:length], rows[0])
        other(PROMPT[::-1], second[:length], rows[1])
        if length % 7 == 3:
            one(PROMPT, first[: length // 2], v.clone())
            one = Offset([plan(folder / name)], served)
            again = v.clone()
            one(PROMPT, first[:length], again)
            assert close(again, rows[0])


@pytest.mark.parametrize("base", [None, "base"])
def test_answers_that_go_on_at_once_are_read_at_once(
    folder: Path, served: Engine, v: torch.Tensor, base: str | None
) -> None:
    made = plan(folder / "assistant", base and folder / base)
    steerings = [Offset([made], served) for _ in range(3)]
    prompts = [PROMPT, PROMPT[::-1], PROMPT[:9]]
    answers = [TOKENIZER.encode(text)[:20] for text in TEXTS]
    models = {view.assistant for view in steerings[0]._views.values()}
    for length in range(15):
        rows = [*zip(steerings, prompts, (answer[:length] for answer in answers), strict=True)]
        before = sum(model.passes for model in models)
        Offset.ahead(rows)
        found = [v.clone() for _ in rows]
        for (steering, prompt, answer), logits in zip(rows, found, strict=True):
            steering(prompt, answer, logits)
        if length:  # a prompt is read by itself
            assert sum(model.passes for model in models) - before == len(models)
        for (_, prompt, answer), logits in zip(rows, found, strict=True):
            alone = v.clone()
            Offset([made], served)(prompt, answer, alone)
            assert close(logits, alone)


def test_one_that_cannot_be_read_does_not_keep_others_from_it(short: Path, v: torch.Tensor) -> None:
    steerings = [Offset([plan(short)], engine(short)) for _ in range(3)]
    long = (PROMPT * 9)[: len(PROMPT) + 100 - ROOM + 1]
    (view,) = steerings[0]._views.values()
    for length in range(5):
        answer = [n % SIZE for n in range(200 if length > 2 else length)]
        rows = [(one, p, answer) for one, p in zip(steerings, (PROMPT, long, PROMPT), strict=True)]
        Offset.ahead(rows)
        before = view.assistant.passes
        for number in (0, 2):
            steerings[number](PROMPT, answer, v.clone())
        assert view.assistant.passes == before or length in (0, 3)
    with pytest.raises(InterventionError, match="too long for the assistant"):
        steerings[1](long, answer, v.clone())


def test_an_assistant_is_loaded_once_for_all_requests(folder: Path, served: Engine) -> None:
    Offset.warm(served, [plan(folder / "assistant", folder / "base")])
    views = [Offset([plan(folder / "assistant")], served)._views for _ in range(2)]
    (one,), (other,) = (list(each.values()) for each in views)
    assert one.assistant is other.assistant and one.reader is not other.reader


def test_a_changed_assistant_ends_the_request(folder: Path, served: Engine, tmp_path: Path) -> None:
    shutil.copytree(folder / "assistant", tmp_path / "copy")
    made = plan(tmp_path / "copy")
    write(tmp_path / "copy", seed=99)
    for load in (lambda: Offset([made], served), lambda: Offset.warm(served, [made])):
        with pytest.raises(ModelError, match="is not the assistant"):
            load()


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An assistant that can read 100 tokens more than the prompt."""
    return write(tmp_path_factory.mktemp("short") / "model", limit=len(PROMPT) + 100, seed=5)


def test_of_a_long_answer_the_end_is_read(short: Path, v: torch.Tensor) -> None:
    steering = Offset([plan(short)], engine(short))
    (view,) = steering._views.values()
    before, answer = view.assistant.read, [n % SIZE for n in range(400)]
    rows = run(steering, answer, v)
    for length, left_out in ((0, 0), (100, 0), (101, 50), (150, 50), (151, 100), (400, 300)):
        context = PROMPT + answer[left_out:length]
        assert len(context) <= len(PROMPT) + 100
        assert close(rows[length], v - 0.8 * from_scratch(short, context)), length
    assert view.assistant.read - before < len(PROMPT) + 2.5 * len(answer)


def test_a_prompt_that_it_cannot_read_ends_the_request(short: Path, v: torch.Tensor) -> None:
    steering = Offset([plan(short)], engine(short))
    long = (PROMPT * 9)[: len(PROMPT) + 100 - ROOM]
    steering(long, list(range(200)), v.clone())
    with pytest.raises(InterventionError, match="too long for the assistant"):
        steering([*long, 5], list(range(200)), v.clone())
