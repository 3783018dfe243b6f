"""What a request holds, and how it is edited."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.interventions.base import Adapter, Request
from guard.view import View

ROW = np.ones(3, np.float32)


def request(count: int, embedded: tuple[int, ...] = ()) -> Request:
    """Tokens and characters numbered by their place; some replaced by an embedding that says so."""
    rows = {at: ROW * at for at in embedded}
    offsets = tuple((n, n + 1) for n in range(count))
    return Request(tuple(range(count)), View.of_text("x" * count), offsets, 7, rows)


@given(st.data())
def test_inserting_moves_what_stands_behind(data: st.DataObject) -> None:
    count = data.draw(st.integers(0, 8))
    embedded = tuple(data.draw(st.sets(st.integers(0, max(count - 1, 0))))) if count else ()
    position = data.draw(st.integers(0, count))
    new = data.draw(st.lists(st.integers(100, 200), max_size=4))
    with_rows = data.draw(st.booleans())
    before = request(count, embedded)
    rows = np.full((len(new), 3), -1, np.float32) if with_rows else None
    after = before.insert(position, new, rows)
    assert list(after.token_ids) == [*range(position), *new, *range(position, count)]
    kept = {at: row for at, row in after.embeddings.items() if row[0] >= 0}
    assert {int(row[0]): after.token_ids[at] for at, row in kept.items()} == {
        n: n for n in embedded
    }
    placed = {at for at, row in after.embeddings.items() if row[0] < 0}
    assert placed == (set(range(position, position + len(new))) if with_rows else set())
    for token, (start, end) in zip(after.token_ids, after.offsets, strict=True):
        assert (end - start, start) == ((1, token) if token < 100 else (0, position))


def test_plans_of_one_kind_stand_together() -> None:
    first = request(2).steer("penalize", {"a": 1}).steer("offset", {"b": 2})
    both = first.steer("penalize", {"a": 3})
    assert both.steering == {"penalize": ({"a": 1}, {"a": 3}), "offset": ({"b": 2},)}
    assert first.steering["penalize"] == ({"a": 1},)


@pytest.mark.parametrize(
    "edited",
    [
        request(3).insert(1, [5]),
        request(3, (1,)),
        replace(request(3), adapter=Adapter("a", "folder")),
        request(3).steer("penalize", {}),
    ],
)
def test_every_edit_makes_a_difference(edited: Request) -> None:
    assert edited.differs(request(3)) and request(3).differs(edited)
    assert not edited.differs(edited)


def test_another_embedding_is_a_difference() -> None:
    one, two = request(3, (1,)), request(3, (1,))
    assert not one.differs(two)
    assert one.differs(replace(two, embeddings={1: ROW * 9}))
