"""Corruption: each method against arithmetic by hand, and only the tokens that are meant."""

from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from guard.errors import GuardError
from guard.interventions.base import Request
from guard.interventions.corrupt import CorruptOptions, Method, corrupt
from guard.view import Part, View
from tests.interventions.test_matrix import Model, finding, make, request

METHODS: tuple[Method, ...] = (
    "zero_out_top_k",
    "zero_out_first_n",
    "rand_noise_first_n",
    "rand_noise_top_k",
    "flip_sign",
    "flip_sign_top_k",
    "flip_sign_first_n",
)
ROWS = np.array([[1, -4, 0.5, 3, -2, 0], [0, 0, -7, 1, 2, 3]], dtype=np.float32)


def options(method: Method, dims: int | None = 2, **more: Any) -> CorruptOptions:
    if method.startswith("rand_noise"):
        more = {"sigma": 0.5, **more}
    return CorruptOptions(method=method, dims=dims, **more)


def by(method: Method, dims: int | None = 2, rows: Any = ROWS, seed: int = 0) -> Any:
    return corrupt(rows, options(method, dims), np.random.default_rng(seed))


# Arithmetic.


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("zero_out_top_k", [[1, 0, 0.5, 0, -2, 0], [0, 0, 0, 1, 2, 0]]),
        ("zero_out_first_n", [[0, 0, 0.5, 3, -2, 0], [0, 0, -7, 1, 2, 3]]),
        ("flip_sign", [[-1, 4, -0.5, -3, 2, 0], [0, 0, 7, -1, -2, -3]]),
        ("flip_sign_top_k", [[1, 4, 0.5, -3, -2, 0], [0, 0, 7, 1, 2, -3]]),
        ("flip_sign_first_n", [[-1, 4, 0.5, 3, -2, 0], [0, 0, -7, 1, 2, 3]]),
    ],
)
def test_by_hand(method: Method, expected: list[list[float]]) -> None:
    assert np.array_equal(by(method), np.array(expected, dtype=np.float32))


def test_noise_by_hand() -> None:
    noise = np.random.default_rng(0).normal(0.0, 0.5, ROWS.shape).astype(np.float32)
    first = by("rand_noise_first_n")
    assert np.array_equal(first[:, :2], ROWS[:, :2] + noise[:, :2])
    assert np.array_equal(first[:, 2:], ROWS[:, 2:])
    largest = by("rand_noise_top_k")
    chosen = np.array([[0, 1, 0, 1, 0, 0], [0, 0, 1, 0, 0, 1]], dtype=bool)
    assert np.array_equal(largest[chosen], (ROWS + noise)[chosen])
    assert np.array_equal(largest[~chosen], ROWS[~chosen])


def test_noise_is_as_strong_as_it_should_be() -> None:
    rows = np.zeros((200, 100), dtype=np.float32)
    noisy = corrupt(rows, options("rand_noise_first_n", 100, sigma=3.0), np.random.default_rng(0))
    assert float(noisy.std()) == pytest.approx(3.0, rel=0.05)
    assert float(noisy.mean()) == pytest.approx(0.0, abs=0.1)
    assert len(np.unique(noisy)) > 10_000


@pytest.mark.parametrize("method", METHODS)
@given(st.integers(1, 30), st.integers(1, 40), st.integers(0, 2**32))
def test_properties(method: Method, width: int, dims: int, seed: int) -> None:
    rows = np.random.default_rng(seed).normal(size=(3, width)).astype(np.float32)
    before = rows.copy()
    changed = by(method, dims, rows, seed)
    assert np.array_equal(rows, before)
    assert changed.shape == rows.shape and changed.dtype == np.float32
    assert np.isfinite(changed).all()
    count = width if method == "flip_sign" else min(dims, width)
    assert ((changed != rows).sum(axis=1) == count).all()
    assert np.array_equal(by(method, dims, rows, seed), changed)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("width", "count"), [(576, 96), (6, 1), (5, 1), (1, 1)])
def test_a_sixth_is_changed_by_default(method: Method, width: int, count: int) -> None:
    rows = np.random.default_rng(0).normal(size=(1, width)).astype(np.float32)
    wanted = width if method == "flip_sign" else count
    assert (by(method, None, rows) != rows).sum() == wanted


def test_noise_hangs_on_the_seed() -> None:
    one, two = by("rand_noise_top_k", seed=1), by("rand_noise_top_k", seed=2)
    assert not np.array_equal(one, two)
    assert np.array_equal(one, by("rand_noise_top_k", seed=1))


@pytest.mark.parametrize(
    "wrong",
    [
        {"method": "rand_noise_top_k"},
        {"method": "rand_noise_top_k", "sigma": 0},
        {"method": "rand_noise_top_k", "sigma": -1},
        {"method": "zero_out_top_k", "sigma": 1},
        {"method": "zero_out"},
        {"dims": 0},
        {"tokens": "some"},
    ],
)
def test_options_that_do_not_fit(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        CorruptOptions.model_validate(wrong)


# Which tokens.


def edited(text: str, before: Request, **chosen: Any) -> str:
    """The characters whose embeddings were changed; a dot for each that was not."""
    after = make("corrupt", **chosen).apply(before, finding("corrupt"), Model())
    assert isinstance(after, Request)
    return "".join(c if n in after.embeddings else "." for n, c in enumerate(text))


def test_all_but_a_last_mark() -> None:
    text = "Who is she?"
    assert edited(text, request(text)) == "Who is she."
    assert edited("Who is she", request("Who is she")) == "Who is she"


def test_only_what_roles_wrote() -> None:
    text = "<a>Be brief.<b>Who is Odalys?<c>"
    parts = (Part("user", 3, 12), Part("user", 15, 29))
    offsets = tuple((n, n + 1) for n in range(len(text)))
    before = Request(tuple(range(len(text))), View(text, parts), offsets, 7)
    assert edited(text, before) == "...Be brief....Who is Odalys...."


@pytest.mark.parametrize(("span", "touched"), [((15, 29), False), ((5, 8), True)])
def test_a_system_text_is_left_alone_unless_it_is_the_evidence(
    span: tuple[int, int], touched: bool
) -> None:
    text = "<a>Be brief.<b>Who is Odalys?<c>"
    parts = (Part("system", 3, 12), Part("user", 15, 29))
    offsets = tuple((n, n + 1) for n in range(len(text)))
    before = Request(tuple(range(len(text))), View(text, parts), offsets, 7)
    after = make("corrupt").apply(before, finding("corrupt", span), Model())
    assert isinstance(after, Request)
    assert (3 in after.embeddings) is touched
    assert 15 in after.embeddings


def test_entities_only() -> None:
    text = "Who is Odalys Brennick of Skarvik?"
    found = edited(text, request(text), tokens="entities")
    assert "Odalys Brennick" in found and "Who" not in found and not found.endswith("?")


def test_entities_are_found_however_they_are_written() -> None:
    for text in ("who is ODALYS brennick", "Brennick, O.", "what of odalys\u200b brennick's"):
        assert "rennick" in edited(text, request(text), tokens="entities").lower()


def test_without_an_entity_all_is_corrupted() -> None:
    text = "Who is the glass artist?"
    assert edited(text, request(text), tokens="entities") == "Who is the glass artist."


def test_a_token_that_only_overlaps_is_changed() -> None:
    text = "<a>Odalys<b>"
    view = View(text, (Part("user", 3, 9),))
    offsets = ((0, 2), (2, 5), (5, 8), (8, 10), (10, 12))
    after = make("corrupt").apply(
        Request((0, 1, 2, 3, 4), view, offsets, 7), finding("corrupt"), Model()
    )
    assert set(cast(Request, after).embeddings) == {1, 2, 3}


def test_a_token_of_no_width_is_not_changed() -> None:
    view = View("ab", (Part("user", 0, 2),))
    before = Request((0, 1, 2), view, ((0, 0), (0, 1), (1, 2)), 7)
    after = make("corrupt").apply(before, finding("corrupt"), Model())
    assert set(cast(Request, after).embeddings) == {1, 2}


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 8)), max_size=6),
    st.lists(st.tuples(st.integers(0, 30), st.integers(1, 6)), min_size=1, max_size=20),
)
def test_tokens_are_those_that_overlap(
    spans: list[tuple[int, int]], tokens: list[tuple[int, int]]
) -> None:
    """Against a plain look at every pair."""
    from guard.interventions.corrupt import _tokens

    wanted = [(low, low + size) for low, size in spans]
    offsets = tuple((start, start + size) for start, size in tokens)
    before = Request(tuple(range(len(offsets))), View("", ()), offsets, 7)
    expected = [
        position
        for position, (start, end) in enumerate(offsets)
        if any(low < high and start < high and low < end for low, high in wanted)
    ]
    assert _tokens(before, wanted) == expected


def test_what_is_changed_is_what_the_method_says() -> None:
    text = "Who is she?"
    after = make("corrupt", method="flip_sign").apply(request(text), finding("corrupt"), Model())
    assert isinstance(after, Request)
    rows = Model().embed(range(len(text)))
    for at, row in after.embeddings.items():
        assert np.array_equal(row, -rows[at])


def test_a_second_target_flips_nothing_back() -> None:
    flip = make("corrupt", method="flip_sign")
    once = cast(Request, flip.apply(request(), finding("corrupt"), Model()))
    twice = cast(Request, flip.apply(once, finding("corrupt"), Model()))
    assert twice == once


def test_nothing_to_corrupt_is_an_error() -> None:
    with pytest.raises(GuardError, match="nothing that could be corrupted"):
        make("corrupt").apply(
            Request((1,), View("<a>", ()), ((0, 3),), 7), finding("corrupt"), Model()
        )


def test_it_asks_for_prompt_embeddings() -> None:
    assert make("corrupt").engine_args == {"enable_prompt_embeds": True}
