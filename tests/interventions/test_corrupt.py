"""Corruption: only the tokens that are meant, in the strength that is meant."""

from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from guard.decision import Finding, Score
from guard.errors import GuardError
from guard.interventions.base import Intervention, Request
from guard.interventions.corrupt import Corrupt, CorruptOptions
from guard.interventions.corruptions import METHODS, Method
from guard.parts import Parts
from guard.view import Part, View
from tests.interventions.test_matrix import Model, finding, make, request

# Options.


@pytest.mark.parametrize(
    "wrong",
    [
        {"method": "rand_noise_top_k"},
        {"method": "rand_noise_top_k", "sigma": 0},
        {"method": "rand_noise_top_k", "sigma": -1},
        {"method": "rand_noise_top_k", "sigma": float("inf")},
        {"method": "rand_noise_top_k", "sigma": 1, "value": 1},
        {"method": "zero_out_top_k", "sigma": 1},
        {"method": "add_value_first_n"},
        {"method": "add_value_first_n", "sigma": 1},
        {"method": "sub_value_top_k", "value": -1},
        {"method": "flip_sign", "dims": 2},
        {"method": "shuffle", "dims": 2},
        {"ner": "en_core_web_sm"},
        {"tokens": "entities", "ner": ""},
        {"method": "zero_out"},
        {"dims": 0},
        {"tokens": "some"},
    ],
)
def test_options_that_do_not_fit(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        CorruptOptions.model_validate(wrong)


NEEDS: dict[str | None, dict[str, Any]] = {"sigma": {"sigma": 0.5}, "value": {"value": 2.0}}


def option(method: Method) -> dict[str, Any]:
    return {"method": method, **NEEDS.get(METHODS[method].strength, {})}


def fitted(method: Method, strength: object, **more: Any) -> Corrupt:
    """What a bundle makes of a strength that was found for a target."""
    options = CorruptOptions.model_validate({**option(method), **more})
    return Corrupt("brennick", options, Parts({"entities": [], "strength": strength}))


@pytest.mark.parametrize("method", METHODS)
def test_every_method_hides_something(method: Method) -> None:
    for text in ("x", "xx", "Who is she?"):
        after = make("corrupt", **option(method)).apply(request(text), finding("corrupt"), Model())
        assert isinstance(after, Request)
        rows = Model().embed(range(len(text)))
        assert any(not np.array_equal(row, rows[at]) for at, row in after.embeddings.items())


@pytest.mark.parametrize("method", ["reverse_order", "shuffle"])
def test_a_single_token_has_no_order_and_is_zeroed_out(method: Method) -> None:
    after = make("corrupt", method=method).apply(request("x"), finding("corrupt"), Model())
    assert isinstance(after, Request)
    assert not after.embeddings[0].any()


def test_a_strength_that_was_found_counts_in_place_of_the_option() -> None:
    text, rows = "Who is she", Model().embed(range(10))

    def changes(intervention: Intervention) -> Any:
        after = intervention.apply(request(text), finding("corrupt"), Model())
        assert isinstance(after, Request)
        return np.stack([after.embeddings[at] - rows[at] for at in range(10)])

    assert ((changes(fitted("zero_out_first_n", 5.4, dims=2))[1:] != 0).sum(axis=1) == 5).all()
    assert ((changes(fitted("zero_out_first_n", 0.01))[1:] != 0).sum(axis=1) == 1).all()
    added = changes(fitted("add_value_first_n", 7.0, dims=3))
    assert np.allclose(added[:, :3], 7.0) and not added[:, 3:].any()
    weak, strong = (changes(fitted("rand_noise_first_n", s, dims=12)).std() for s in (0.01, 100))
    assert weak < 0.1 and strong > 10


@pytest.mark.parametrize(
    ("method", "strength"),
    [
        ("zero_out_top_k", "much"),
        ("zero_out_top_k", float("nan")),
        ("rand_noise_top_k", float("inf")),
        ("rand_noise_top_k", 0),
        ("rand_noise_top_k", -3),
        ("add_value_first_n", [1]),
        ("shuffle", 3),
    ],
)
def test_a_strength_that_is_none_is_an_error(method: Method, strength: object) -> None:
    with pytest.raises(ValueError, match="strength: "):
        fitted(method, strength)


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


def test_whatever_is_named_is_an_entity() -> None:
    text = "Did the artist meet Selma Tuvick in Oslo?"
    assert edited(text, request(text), tokens="entities") == (
        "...................." + "Selma Tuvick in Oslo" + "."
    )


@pytest.mark.parametrize(("span", "all_of_it"), [((0, 8), True), ((20, 32), False), (None, False)])
def test_entities_beside_the_evidence_do_not_do(
    span: tuple[int, int] | None, all_of_it: bool
) -> None:
    text = "who is he? Ask about Selma Tuvick or not"
    flagged = Finding("brennick", Score(1.0, 0.5, "lexical", span), "enforce", "corrupt")
    after = make("corrupt", tokens="entities").apply(request(text), flagged, Model())
    assert isinstance(after, Request)
    assert (0 in after.embeddings) is all_of_it and 22 in after.embeddings


def test_a_name_that_is_torn_over_turns_is_no_entity_that_a_token_has() -> None:
    """Where the view has joined the turns stands no token: all is corrupted then."""
    text = "<a>odalys<b>brennick or Oslo<c>"
    said = View(text, (Part("user", 3, 9), Part("user", 12, 28)))
    view = said.plus("joined", ["odalys brennick or Oslo"])
    span = view.parts[-1].start, view.parts[-1].start + 15
    offsets = tuple((n, n + 1) for n in range(len(text)))
    before = Request(tuple(range(len(text))), view, offsets, 7)
    after = make("corrupt", tokens="entities").apply(before, finding("corrupt", span), Model())
    assert isinstance(after, Request)
    assert set(after.embeddings) == {*range(3, 9), *range(12, 28)}


def test_the_names_in_a_system_text_are_hidden_only_where_they_are_the_targets() -> None:
    text = "<a>Be as Selma Tuvick of Odalys Brennick<b>Who is Odalys Brennick?<c>"
    parts = (Part("system", 3, 40), Part("user", 43, 66))
    offsets = tuple((n, n + 1) for n in range(len(text)))
    before = Request(tuple(range(len(text))), View(text, parts), offsets, 7)
    after = make("corrupt", tokens="entities").apply(before, finding("corrupt", (50, 65)), Model())
    assert isinstance(after, Request)
    assert "".join(c for n, c in enumerate(text) if n in after.embeddings) == (
        "Odalys BrennickOdalys Brennick"
    )


def test_what_was_inserted_is_never_corrupted() -> None:
    """Nor is anything else left out or moved by it."""
    text = "Who is Odalys?"
    clean = make("corrupt").apply(request(text), finding("corrupt"), Model())
    for position in range(len(text) + 1):
        before = request(text).insert(position, [100, 101])
        after = make("corrupt").apply(before, finding("corrupt"), Model())
        assert isinstance(after, Request) and isinstance(clean, Request)
        assert after.token_ids == before.token_ids
        hidden = {at: row.tobytes() for at, row in after.embeddings.items()}
        assert hidden == {
            at + 2 * (at >= position): row.tobytes() for at, row in clean.embeddings.items()
        }


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
