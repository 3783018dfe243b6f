"""What holds for every check. A new kind joins by being registered."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from guard.output import CHECKS
from guard.output.base import Asked, Known
from guard.parts import Parts
from tests.output.answers import FORGET, NAME, asked, fitted, leave, material

KINDS = CHECKS.kinds()
CHECKED = {kind: fitted(CHECKS.get(kind)) for kind in KINDS}
QUESTIONS = ["", FORGET[0].prompt, "Where was she born?"]
SAID = [NAME, "Odalys", " was", " born in", " Bergen", ".", "\n", "1961", " Booker Prize", "é"]
SAID += [FORGET[3].answer, FORGET[2].answer[:40], " ", "\u200b", "東京", "-"]
PIECES = st.lists(st.sampled_from(SAID), max_size=12).map("".join)
ASKED = st.builds(
    asked,
    st.sampled_from(QUESTIONS),
    st.sampled_from(["", FORGET[1].answer]),
    given=st.sampled_from([frozenset(), frozenset("t")]),
    doubted=st.sampled_from([frozenset(), frozenset("t")]),
)


@pytest.mark.parametrize("kind", KINDS)
@given(text=PIECES.filter(bool), what=ASKED, steps=st.tuples(st.integers(1, 9), st.integers(1, 50)))
def test_what_is_decided_does_not_depend_on_the_pieces(
    kind: str, text: str, what: Asked, steps: tuple[int, int]
) -> None:
    one, other = (leave(CHECKED[kind].start(what), text, step) for step in steps)
    assert one[1] == other[1]


@pytest.mark.parametrize("kind", KINDS)
@given(text=PIECES.filter(bool), what=ASKED)
def test_reading_again_says_the_same(kind: str, text: str, what: Asked) -> None:
    reader = CHECKED[kind].start(what)
    assert reader.read(text, done=False) == reader.read(text, done=False)


@pytest.mark.parametrize("kind", KINDS)
@given(text=st.text(max_size=80))
def test_any_text_can_be_read(kind: str, text: str) -> None:
    if text:
        leave(CHECKED[kind].start(asked(doubted=frozenset("t"))), text)
    reading = CHECKED[kind].start(asked()).read("", done=True)
    assert (reading.safe, reading.hit) == (0, None)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_fitted_can_be_stored(kind: str) -> None:
    check = CHECKS.get(kind)
    options = check.Options()
    parts = check.fit(material(), options)
    stored = Parts(json.loads(json.dumps(parts.data)), parts.arrays)
    text = FORGET[3].answer
    what = asked(FORGET[3].prompt, doubted=frozenset("t"))
    again = leave(check([Known("t", options, stored)]).start(what), text)
    assert again == leave(CHECKED[kind].start(what), text)
    assert again[1] is not None


@pytest.mark.parametrize("kind", KINDS)
def test_fitting_twice_gives_the_same(kind: str) -> None:
    check = CHECKS.get(kind)
    one, other = (check.fit(material(), check.Options()) for _ in range(2))
    assert one.data == other.data
    assert all((one.arrays[name] == other.arrays[name]).all() for name in one.arrays)


@pytest.mark.parametrize("kind", KINDS)
def test_a_check_of_no_target_lets_everything_go(kind: str) -> None:
    check = CHECKS.get(kind)([])
    assert leave(check.start(asked()), FORGET[0].answer) == (FORGET[0].answer, None)


@pytest.mark.parametrize("kind", KINDS)
def test_an_unknown_option_is_refused(kind: str) -> None:
    with pytest.raises(ValidationError, match="unknown field"):
        CHECKS.get(kind).Options.model_validate({"thresold": 1})
