"""The requests of a batch are steered each by its own tokens, and nothing reaches another."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Self

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from guard.steering import STEERINGS
from guard.steering.base import Engine, Steering
from guard.steering.pieces import Vocabulary
from guard.steering.rows import Rows

LETTERS = "abcd "
VOCABULARY = Vocabulary([part.encode() for part in (*LETTERS, "ab", " ab", "bc", "cd", "", "")])
SIZE, END, PLACES = len(VOCABULARY.texts), 10, 4
ENGINE = Engine("toy", SIZE, (END,), "cpu")
Plans = Mapping[str, Sequence[Mapping[str, Any]]]


def plan(*phrases: str, alpha: float = 0.5) -> dict[str, Any]:
    points = [ord(char) for char in "\0".join(phrases)]
    return {"phrases": points, "alpha": alpha, "beta": 0.0, "delta": 0.7, "answers": []}


class Brittle(Steering):
    """Fails after the token 3."""

    kind = "brittle"

    def __call__(self, prompt: Sequence[int], output: Sequence[int], logits: torch.Tensor) -> None:
        logits[0] = 7.0
        if output and output[-1] == 3:
            raise RuntimeError("She was born in Skarvik")


class Counting(Steering):
    """Adds what it was told, so that a wrong prompt or answer shows."""

    kind = "counting"

    def __call__(self, prompt: Sequence[int], output: Sequence[int], logits: torch.Tensor) -> None:
        logits[1] += sum(prompt) + 10 * sum(output) + 100 * len(output)


class Sociable(Steering):
    """Keeps whom it was asked about at once, and fails at that where it is told to."""

    kind = "sociable"
    asked: ClassVar[list[list[int]]] = []
    fails: ClassVar[bool] = False

    @classmethod
    def ahead(cls, rows: Sequence[tuple[Self, Sequence[int], Sequence[int]]]) -> None:
        cls.asked.append([prompt[0] for _, prompt, _ in rows])
        if cls.fails:
            raise RuntimeError("She was born in Skarvik")

    def __call__(self, prompt: Sequence[int], output: Sequence[int], logits: torch.Tensor) -> None:
        logits[1] += prompt[0]


@pytest.fixture(autouse=True, scope="module")
def toys() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("guard.steering.penalize.vocabulary", lambda engine: VOCABULARY)
        patch.setitem(STEERINGS._loaded, "brittle", Brittle)
        patch.setitem(STEERINGS._loaded, "counting", Counting)
        patch.setitem(STEERINGS._loaded, "sociable", Sociable)
        yield


CHOICES: list[Plans | None] = [
    None,
    {"penalize": [plan("abc", "cd")]},
    {"penalize": [plan("a b"), plan("dab", "d", alpha=0.0)], "counting": [{}]},
    {"counting": [{}]},
    {"penalize": [plan("a", "b", "c", "d", "ab", "bc", "cd")]},
]


class Plain:
    """The same batch, each answer steered from scratch each time."""

    def __init__(self) -> None:
        self.held: dict[int, tuple[Plans, list[int], list[int]]] = {}

    def apply(self, logits: torch.Tensor) -> torch.Tensor:
        logits = logits.clone()
        for place, (plans, prompt, output) in self.held.items():
            row = logits[place]
            for kind in ("counting", "penalize"):  # a ban comes last
                if kind in plans:
                    STEERINGS.get(kind)(plans[kind], ENGINE)(list(prompt), list(output), row)
            if not torch.isfinite(row).any():
                row[END] = 0.0
        return logits


tokens = st.integers(0, SIZE - 1)
places = st.integers(0, PLACES - 1)
operations = st.one_of(
    st.tuples(st.just("add"), places, st.integers(0, len(CHOICES) - 1), st.lists(tokens)),
    st.tuples(st.just("remove"), places),
    st.tuples(st.just("move"), places, places),
    st.tuples(st.just("swap"), places, places),
    st.tuples(st.just("token"), places, tokens),
    st.tuples(st.just("preempt"), places, places, st.integers(0, 3)),
)


@settings(max_examples=1000)
@given(st.lists(operations, max_size=25), st.integers(0, 1 << 16))
def test_any_program_agrees_with_answers_steered_from_scratch(
    program: list[Any], seed: int
) -> None:
    rows, plain = Rows(ENGINE), Plain()
    random = torch.Generator().manual_seed(seed)
    for name, place, *more in program:
        held = plain.held
        if name == "add":
            held.pop(place, None)
            plans, prompt, output = CHOICES[more[0]], more[1][:3], more[1][3:]
            if plans is not None:
                held[place] = plans, prompt, output
            rows.add(place, plans, prompt, output, END)
        elif name == "remove":
            held.pop(place, None)
            rows.remove(place)
        elif name == "move" and place != more[0]:
            row = held.pop(place, None)
            held.pop(more[0], None)
            if row:
                held[more[0]] = row
            rows.move(place, more[0])
        elif name == "swap" and place != more[0]:
            one, other = held.pop(place, None), held.pop(more[0], None)
            held |= {at: row for at, row in ((more[0], one), (place, other)) if row}
            rows.swap(place, more[0])
        elif name == "token" and place in held:
            held[place][2].append(more[0])  # the list that the rows hold, too
        elif name == "preempt" and place in held:
            plans, prompt, output = held.pop(place)
            rows.remove(place)
            resumed = list(output[: len(output) - more[1]])  # some tokens may not have counted
            held[more[0]] = plans, list(prompt), resumed
            rows.add(more[0], plans, list(prompt), resumed, END)
        logits = torch.randn(PLACES, SIZE, generator=random)
        wanted = plain.apply(logits)
        rows.apply(logits)
        assert torch.equal(logits, wanted), (name, place, more)
        assert len(rows) == len(held)


def test_rows_without_a_plan_are_not_touched() -> None:
    rows = Rows(ENGINE)
    rows.add(1, {"penalize": [plan("a")]}, (), [], END)
    logits = torch.randn(3, SIZE)
    logits[0, 2], logits[2, 5] = float("nan"), float("-inf")
    before = logits.clone()
    rows.apply(logits)
    for untouched in (0, 2):
        assert logits[untouched].numpy().tobytes() == before[untouched].numpy().tobytes()
    assert logits[1, 0] == float("-inf")


def test_rows_may_stand_in_any_order() -> None:
    rows = Rows(ENGINE)
    rows.add(7, {"counting": [{}]}, (), (), END)
    rows.tokens(7, (1,), (2, 3))
    logits = torch.zeros(2, SIZE)
    rows.apply(logits, [3, 7])
    assert logits[0].abs().sum() == 0.0
    assert logits[1, 1] == 1 + 50 + 200


def only_end(row: torch.Tensor) -> bool:
    return int(torch.isfinite(row).sum()) == 1 and bool(torch.isfinite(row[END]))


def test_a_failure_ends_one_request_and_tells_nothing(caplog: pytest.LogCaptureFixture) -> None:
    rows, output = Rows(ENGINE), [1]
    rows.add(0, {"brittle": [{}]}, (), output, END)
    rows.add(1, {"counting": [{}]}, (), [2], END)
    rows.apply(torch.zeros(2, SIZE))
    assert not rows.failures
    output.append(3)
    logits = torch.zeros(2, SIZE)
    with caplog.at_level(logging.DEBUG):
        rows.apply(logits)
    assert only_end(logits[0])
    assert logits[1, 1] == 120.0
    assert rows.failures == {"brittle": 1}
    assert "brittle" in caplog.text and "RuntimeError" in caplog.text
    assert "Skarvik" not in caplog.text and caplog.records[-1].exc_info is None
    output.append(4)  # the engine asks once more before it has seen the end
    rows.apply(logits)
    assert only_end(logits[0])
    assert rows.failures == {"brittle": 1}, "it is not asked again"


@pytest.mark.parametrize(
    "plans",
    [
        {"no-such-kind": [{}]},
        {},
        {"penalize": [{}]},
        {"penalize": [plan("")]},
        {"penalize": [{**plan("a"), "phrases": ["x"]}]},
        {"penalize": "abc"},
        {"penalize": [plan("ab")], "counting": None, "brittle": [{}], "other": []},
        "text",
        [1],
    ],
)
def test_a_plan_that_is_none_ends_the_request(plans: Any) -> None:
    rows = Rows(ENGINE)
    rows.add(0, plans, (), [], END)
    logits = torch.zeros(1, SIZE)
    rows.apply(logits)
    assert only_end(logits[0])
    assert sum(rows.failures.values()) == 1


def test_a_token_that_is_not_known_ends_the_request() -> None:
    rows = Rows(ENGINE)
    rows.add(0, {"penalize": [plan("a")]}, (), [1, -1], END)
    logits = torch.zeros(1, SIZE)
    rows.apply(logits)
    assert only_end(logits[0])


@pytest.mark.parametrize("value", [float("-inf"), float("nan")])
def test_a_row_with_nothing_left_ends(value: float) -> None:
    rows = Rows(ENGINE)
    rows.add(0, {"counting": [{}]}, (), [], END)
    logits = torch.full((1, SIZE), value)
    rows.apply(logits)
    assert only_end(logits[0])


def test_without_an_end_of_its_own_a_request_takes_the_models() -> None:
    rows = Rows(ENGINE)
    rows.add(0, {}, (), [])
    logits = torch.zeros(1, SIZE)
    rows.apply(logits)
    assert only_end(logits[0])


@pytest.fixture
def sociable(monkeypatch: pytest.MonkeyPatch) -> type[Sociable]:
    monkeypatch.setattr(Sociable, "asked", [])
    return Sociable


def test_what_is_cheaper_for_several_is_done_for_those_that_are_steered(
    sociable: type[Sociable],
) -> None:
    rows, failing = Rows(ENGINE), [1]
    some: Plans = {"sociable": [{}]}
    rows.add(0, some, [10], [], END)
    rows.apply(torch.zeros(1, SIZE))
    assert sociable.asked == [], "one by itself"
    rows.add(1, {"counting": [{}]}, [11], [], END)
    rows.add(2, {**some, "counting": [{}]}, [12], [], END)
    rows.add(3, some, [13], [5, -1], END)  # its last token is not known
    rows.add(4, {"brittle": [{}], **some}, [14], failing, END)
    rows.apply(torch.zeros(5, SIZE))
    assert sociable.asked.pop() == [10, 12, 14]
    failing.append(3)
    rows.apply(torch.zeros(5, SIZE))
    assert sociable.asked.pop() == [10, 12, 14]
    rows.apply(torch.zeros(5, SIZE))
    assert sociable.asked.pop() == [10, 12], "one was ended"
    rows.apply(torch.zeros(2, SIZE), [2, 7])
    assert sociable.asked == []
    rows.apply(torch.zeros(3, SIZE), [2, 7, 0])
    assert sociable.asked.pop() == [12, 10]


def test_where_that_fails_each_is_steered_by_itself(
    sociable: type[Sociable], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sociable, "fails", True)
    rows = Rows(ENGINE)
    for place in range(2):
        rows.add(place, {"sociable": [{}]}, [10 + place], [], END)
    for _ in range(3):
        logits = torch.zeros(2, SIZE)
        rows.apply(logits)
        assert logits[:, 1].tolist() == [10, 11]
    assert not rows.failures, "nobody was failed"
    assert sociable.asked == [[10, 11]], "it is not tried again"
    (told,) = [record.getMessage() for record in caplog.records]
    assert "'sociable'" in told and "RuntimeError" in told and "Skarvik" not in told
