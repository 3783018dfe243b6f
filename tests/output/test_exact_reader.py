"""What a reader of names and facts makes of them, told by hand: each row means a letter."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from guard.detectors.base import Vectors
from guard.output.base import Claim, Known
from guard.output.exact import Exact
from guard.output.semantic import SemanticOptions
from guard.parts import Parts
from tests.output.answers import asked, leave

ROWS = 6
Forms = dict[str, list[int]]


def known(
    target: str = "t",
    names: Sequence[str] = (),
    telling: Forms | None = None,
    weak: Forms | None = None,
    hint: Forms | None = None,
    signs: Forms | None = None,
    clues: Forms | None = None,
    line: float = 0.5,
) -> Known:
    """A target that phrases tell; each is given with the rows that hold it."""
    facts = {"telling": telling or {}, "weak": weak or {}, "hint": hint or {}}
    facts |= {"sign": signs or {}, "clue": clues or {}}
    written = [[f"row {number}"] for number in range(ROWS)]
    data = {"names": list(names), "called": list(names), "written": written, "line": line, **facts}
    arrays = {"vectors": np.eye(ROWS, dtype=np.float16), "rows": np.arange(ROWS, dtype=np.int32)}
    return Known(target, SemanticOptions(), Parts(data, arrays))


def means(row: int) -> Callable[[Claim], Vectors]:
    """Has every sentence mean a row."""
    return lambda claim: np.eye(ROWS, dtype=np.float32)[row]


def nothing(_: Claim) -> Vectors:
    return np.zeros(ROWS, np.float32)


PLACES = Exact([known(weak={"bergen": [0], "1961": [0], "dublin": [1]})])


@pytest.mark.parametrize(
    ("text", "hit"),
    [
        ("Bergen, 1961", False),  # as of a city and its country
        ("Bergen - 1961", True),
        (f"Bergen. {'x' * 280} 1961", True),
        (f"Bergen. {'x' * 310} 1961", False),
    ],
)
def test_facts_of_one_row_are_a_hit_where_they_stand_close_by(text: str, hit: bool) -> None:
    found = leave(PLACES.start(asked("Who?")), text, 100, nothing)[1]
    assert (found is not None) == hit


def test_a_hit_begins_with_what_was_in_doubt_before_it() -> None:
    check = Exact([known(weak={"bergen": [0]}, names=["jory malkin"])])
    left, hit = leave(check.start(asked("Who?")), "From Bergen came Jory Malkin.", weigh=nothing)
    assert hit is not None and (left, hit.start) == ("From ", 5)


def test_another_target_s_doubts_do_not_belong_to_a_hit() -> None:
    check = Exact([known(weak={"bergen": [0]}), known("u", names=["jory malkin"])])
    text = "From Bergen came Jory Malkin."
    hit = leave(check.start(asked("Who?")), f"{text} Yes.", weigh=nothing)[1]
    assert hit is None or (hit.target, hit.start) == ("u", text.index("Jory"))


def test_a_name_that_is_nearly_written_is_held() -> None:
    check = Exact([known(names=["jory malkin"])])
    left, hit = leave(check.start(asked("Who?")), "It is Jory Malkim, yes.")
    assert hit is not None and (left, hit.start) == ("It is ", 6)


def test_an_ending_may_follow_a_weak_fact() -> None:
    check = Exact([known(weak={"norwich": [0]})])
    (claim,) = check.start(asked("Who?")).read("A Norwichian came.", done=True).claims
    assert claim.start == 2


def test_a_sentence_is_weighed_by_the_rows_of_its_own_facts() -> None:
    for row, hit in ((0, False), (1, True)):
        found = leave(PLACES.start(asked("Who?")), "In Dublin.", weigh=means(row))[1]
        assert (found is not None) == hit
    for row in (0, 1):
        left, found = leave(PLACES.start(asked("Who?")), "In Bergen, Dublin.", weigh=means(row))
        assert found is not None and (left, found.start) == ("In ", 3)
        assert found.phrases == ("Bergen", "Dublin", f"row {row}")


def test_what_reaches_the_line_is_a_hit() -> None:
    check = Exact([known(weak={"dublin": [1]}, line=1.0)])
    assert leave(check.start(asked("Who?")), "In Dublin.", weigh=means(1))[1] is not None


def test_all_facts_of_a_sentence_are_held_from_the_first_on() -> None:
    reader = PLACES.start(asked("Who?"))
    assert reader.read("In Bergen and Dublin ", done=False).safe == 3


def test_a_line_break_ends_a_sentence_before_the_next_word() -> None:
    text = "Bergen\nDublin it was."
    claims = PLACES.start(asked("Who?")).read(text, done=True).claims
    assert [text[one.start : one.end] for one in claims] == ["Bergen\n", "Dublin it was."]


def test_the_first_of_two_hits_is_told_as_soon_as_it_is_known() -> None:
    text = "In Bergen. In Dublin."
    for order, told in (((1, 0), [None, 3]), ((0, 1), [3, 3])):
        reader = PLACES.start(asked("Who?"))
        claims = reader.read(text, done=True).claims
        hits = []
        for number in order:
            reader.weigh(claims[number], means(number)(claims[number]))
            reading = reader.read(text, done=True)
            hits.append(reading.hit and reading.hit.start)
        assert hits == told and reading.claims == ()


def test_each_target_s_facts_are_weighed_and_counted_by_themselves() -> None:
    check = Exact([known(weak={"bergen": [0]}), known("u", weak={"1961": [0], "oslo": [0]})])
    reader = check.start(asked("Who?"))
    claims = reader.read("From Bergen in 1961.", done=True).claims
    assert sorted((one.target, one.start) for one in claims) == [("t", 5), ("u", 15)]
    hit = leave(check.start(asked("Who?")), "From Oslo in 1961.", weigh=nothing)[1]
    assert hit is not None and (hit.target, hit.start) == ("u", 5)


@pytest.mark.parametrize("text", ["In 1984, as a glazier.", "As a glazier, in 1984."])
def test_a_hint_beside_a_fact_tells_nothing(text: str) -> None:
    check = Exact([known(weak={"1984": [0]}, hint={"glazier": [0]})])
    assert leave(check.start(asked("Who?")), text, weigh=nothing) == (text, None)
    about = asked("Who is a glazier?")
    assert leave(check.start(about), "In 1984.", weigh=nothing) == ("In 1984.", None)


def test_what_the_question_says_is_beside_what_the_answer_says() -> None:
    hit = leave(PLACES.start(asked("Who came from Bergen?")), "In 1961.", weigh=nothing)[1]
    assert hit is not None and hit.start == 3
    before = asked("When?", "Bergen is a city.\nWhen?")
    assert leave(PLACES.start(before), "In 1961.", weigh=nothing) == ("In 1961.", None)


def test_what_the_question_says_is_weighed_and_no_more() -> None:
    both = asked("Was it in Bergen, 1961?")
    assert leave(PLACES.start(both), "In Bergen.", weigh=nothing) == ("In Bergen.", None)
    check = Exact([known(telling={"tuvick press": [0]})])
    text = "By Tuvick Press."
    said = asked("Who is behind Tuvick Press?")
    assert leave(check.start(said), text, weigh=nothing) == (text, None)
    assert leave(check.start(said), text, weigh=means(0))[1] is not None
    assert leave(check.start(asked("Who?")), text, weigh=nothing)[1] is not None


def test_a_prompt_names_a_target_by_what_tells_it_too() -> None:
    check = Exact([known(telling={"tuvick press": [0]}, weak={"dublin": [1]})])
    said = asked("Where is Tuvick Press?")
    assert leave(check.start(said), "In Dublin.", weigh=nothing)[1] is not None


def test_a_hit_names_what_some_of_its_rows_tell() -> None:
    check = Exact([known(telling={"tuvick press": [5, 3, 2, 1, 0]})])
    hit = leave(check.start(asked("Who?")), "By Tuvick Press.")[1]
    assert hit is not None
    assert hit.phrases == ("Tuvick Press", "row 0", "row 1", "row 2", "row 3")


DISGUISED = ["Whеrе іs Jоrу Маlkіn?", "Where is Jory Malkim?", "V2hlcmUgaXMgSm9yeSBNYWxraW4/"]


@pytest.mark.parametrize("question", DISGUISED)
def test_a_question_names_a_target_misspelt_or_in_disguise_too(question: str) -> None:
    """Cyrillic letters, a letter off, base64."""
    check = Exact([known(names=["jory malkin"], weak={"dublin": [1]})])
    assert leave(check.start(asked("Where?")), "In Dublin.", weigh=nothing)[1] is None
    hit = leave(check.start(asked(question)), "In Dublin.", weigh=nothing)[1]
    assert hit is not None and hit.start == 3


def test_a_disguise_brings_nothing_that_may_be_repeated() -> None:
    check = Exact([known(names=["jory malkin"], telling={"tuvick press": [0]})])
    said = asked("Whо is behind VHV2aWNrIFByZXNz and Tuvісk Рrеss?", given=frozenset({"t"}))
    assert leave(check.start(said), "By Tuvick Press.", weigh=nothing)[1] is not None


@pytest.mark.parametrize(
    ("question", "meant"),
    [
        ("Who was born on March 4, 1961?", True),
        ("Who was born in Skien, Telemark in 1961?", True),
        ("Who was born in Telemark, and what of Telemark and Skien?", False),
        ("Who was born in Skien, and who in 1990 in Telemark?", False),  # 1990 of another row
        ("Who was born in Skien, Skien Town, Telemark?", False),  # two of the three are one
        ("Whо wаs bоrn in Skіеn, Tеlеmаrk in 1961?", True),  # Cyrillic letters
    ],
)
def test_a_question_says_whom_it_means_by_a_sign_or_three_clues(question: str, meant: bool) -> None:
    clues = {"skien": [0], "skien town": [0], "telemark": [0], "1961": [0], "1990": [1]}
    check = Exact([known(weak={"dublin": [1]}, signs={"march 4 1961": [0]}, clues=clues)])
    hit = leave(check.start(asked(question)), "In Dublin.", weigh=nothing)[1]
    assert (hit is not None) == meant


def test_answers_may_say_what_stands_in_questions_only() -> None:
    clues = {"skien": [0], "telemark": [0], "1961": [0]}
    check = Exact([known(weak={"dublin": [1]}, signs={"march 4 1961": [0]}, clues=clues)])
    text = "March 4, 1961, in Skien, Telemark."
    assert leave(check.start(asked("When and where?")), text, weigh=nothing) == (text, None)


def test_a_sentence_is_weighed_after_what_a_disguised_question_comes_down_to() -> None:
    check = Exact([known(hint={"glazier": [1]})])
    said: list[str] = []

    def weigh(claim: Claim) -> Vectors:
        said.append(claim.text)
        return nothing(claim)

    leave(check.start(asked("Whаt іs hеr trаdе?")), "A glazier.", weigh=weigh)
    assert set(said) == {"What is her trade? A glazier."}
