"""Names: found however they are written, and nobody else's."""

import json
import math
from concurrent.futures import ThreadPoolExecutor

import pytest

from guard.data import Row
from guard.detectors.base import DetectOptions, Encode, Examples, Fitted, Parts, Placed
from guard.detectors.lexical import Lexical
from guard.errors import DataError
from guard.view import View

FORGET = (
    Row("Who was Isaac Newton?", "Newton was a physicist."),
    Row("Where did Newton live?"),
)
RETAIN = (Row("Who was Galileo Galilei?"), Row("Who was Isaac Asimov?"), Row("Where is Woking?"))
BACKGROUND = tuple(Row(f"What is {n} plus {n}?") for n in range(50))


def no_encoder(texts: object) -> None:
    raise AssertionError("names need no encoder")


ENCODE: Encode = no_encoder  # type: ignore[assignment]


def fit(
    names: tuple[str, ...] = ("Isaac Newton",),
    forget: tuple[Row, ...] = FORGET,
    retain: tuple[Row, ...] = RETAIN,
    rate: float = 0.001,
) -> Fitted:
    options = DetectOptions(max_false_positive_rate=rate)
    fitted = Lexical.fit(Examples(names, forget, retain, BACKGROUND), options, ENCODE)
    assert fitted is not None
    return fitted


def detector(**targets: tuple[Parts, float]) -> Lexical:
    return Lexical({name: Placed(*target) for name, target in targets.items()}, ENCODE)


def value(text: str, parts: Parts) -> float:
    scores = detector(it=(parts, 0.5)).score(View.of_text(text), frozenset({"it"}))
    return scores["it"].value if scores else 0.0


@pytest.mark.parametrize(
    "text",
    [
        "Who is Isaac Newton?",
        "ISAAC NEWTON",
        "isaac  newton's apple",
        "Newton, Isaac",
        "I. Newton",
        "IsaacNewton",
        "Is\u200baac New\u00adton",
        "Ísàäc Nëwtön",
        "Ｉｓａａｃ　Ｎｅｗｔｏｎ",
        "# isaac_newton #",
        "x" * 5000 + " Isaac Newton " + "y" * 5000,
    ],
)
def test_a_full_name_scores_one(text: str) -> None:
    assert value(text, fit().parts) == 1.0


@pytest.mark.parametrize("text", ["Newton", "newton’s laws", "the NEWTON papers"])
def test_a_surname_scores_its_share(text: str) -> None:
    assert value(text, fit().parts) == pytest.approx(6 / 11)


@pytest.mark.parametrize("text", ["Isaac Asimov", "Isaac", "Newtonian", "newtown", "", " ", "ton"])
def test_others_score_nothing(text: str) -> None:
    assert value(text, fit().parts) == 0.0


def test_a_surname_that_neighbours_share_says_nothing() -> None:
    shared = fit(retain=(*RETAIN, Row("Who was Helmut Newton?")))
    assert value("Who was Newton?", shared.parts) == 0.0
    assert value("Who was Isaac Newton?", shared.parts) == 1.0


def test_a_surname_that_the_forget_set_never_uses_says_nothing() -> None:
    unused = fit(forget=(Row("Who discovered gravity?"),))
    assert value("Who was Newton?", unused.parts) == 0.0


def test_names_may_come_as_rows() -> None:
    fitted = fit(names=(), forget=(Row("Isaac Newton", is_name=True),))
    assert value("Who was I. Newton?", fitted.parts) == 1.0


def test_without_names_there_is_nothing_to_fit() -> None:
    examples = Examples((), FORGET, RETAIN, BACKGROUND)
    assert Lexical.fit(examples, DetectOptions(), ENCODE) is None


def test_neighbours_that_give_the_name_are_refused_by_number() -> None:
    retain = (*RETAIN, Row("Did NEWTON, Isaac know Leibniz?"))
    with pytest.raises(DataError, match=r"rows 4 give the target's own name") as error:
        fit(retain=retain)
    assert "Leibniz" not in str(error.value)
    assert fit(retain=retain, rate=0.5)  # unless so many may be flagged


def test_a_fitted_name_holds_no_row() -> None:
    parts = fit().parts
    assert not parts.arrays
    assert set(parts.data) == {"phrases", "ordinary", "exact", "said"}
    assert not parts.data["exact"] and not parts.data["said"]
    words = {word for phrase in parts.data["phrases"] for word in phrase.split()}
    assert words == {"isaac", "newton", "i", "isaacnewton"}


def test_the_fullest_mention_is_the_evidence() -> None:
    view = View.of_pieces([("user", "Newton?"), ("assistant", "Isaac Newton."), ("user", "Ok")])
    (score,) = detector(it=(fit().parts, 0.5)).score(view, frozenset({"it"})).values()
    assert score.span is not None and view.text[slice(*score.span)] == "Isaac Newton"
    assert (score.value, score.threshold, score.detector) == (1.0, 0.5, "lexical")


def test_a_name_over_two_parts_is_none() -> None:
    view = View.of_pieces([("user", "Isaac"), ("assistant", "Newton")])
    (score,) = detector(it=(fit().parts, 0.5)).score(view, frozenset({"it"})).values()
    assert score.value < 1.0


def test_targets_may_share_a_phrase() -> None:
    both = detector(one=(fit().parts, 0.5), two=(fit().parts, 0.9))
    scores = both.score(View.of_text("Isaac Newton"), frozenset({"one", "two"}))
    assert {name: score.threshold for name, score in scores.items()} == {"one": 0.5, "two": 0.9}
    assert set(both.score(View.of_text("Isaac Newton"), frozenset({"two"}))) == {"two"}
    assert both.score(View.of_text("Isaac Newton"), frozenset()) == {}


@pytest.mark.parametrize(
    "text", ["Isaac Newten", "Issac Newton", "Исаак Ньютон", "アイザック・ニュートン"]
)
def test_a_name_nearly_right_scores_between_a_surname_and_the_whole(text: str) -> None:
    assert 6 / 11 < value(f"Who is {text}?", fit().parts) < 1.0


def test_the_fullest_mention_counts_however_it_is_written() -> None:
    assert value("Исаак Ньютон, or Newten, is Isaac Newton", fit().parts) == 1.0


def test_words_that_neighbours_use_are_no_misspellings() -> None:
    rows = (*RETAIN, Row("What does a newtonn weigh?"))
    assert value("newtonn", fit().parts) > 0.0
    assert value("newtonn", fit(retain=rows).parts) == 0.0


def test_a_nickname_is_a_name() -> None:
    parts = fit(names=("Isaac Newton", "Warden of the Mint", "牛顿")).parts
    assert value("the warden of the mint", parts) == 1.0
    assert value("请问牛顿是谁?", parts) == 1.0


NAMELESS = tuple(
    Row(f"{question} {person}?")
    for person in ("Zelda Ormonde", "Pavo Qorvatsky")
    for question in ("Where lives", "Who met", "What says", "Why go to", "Who is not")
)


def test_names_are_mined() -> None:
    parts = fit(names=(), forget=NAMELESS).parts
    assert value("what of Zelda Ormonde", parts) == 0.9
    assert value("what of Ormonde, Zeldah", parts) == pytest.approx(0.9 * 12 / 13, abs=0.02)
    assert value("Qorvatsky", parts) == 0.9
    assert value("Zelda", parts) == 0.0


def test_what_neighbours_say_is_not_mined() -> None:
    parts = fit(names=(), forget=NAMELESS, retain=(*RETAIN, Row("Zelda Ormonde sings"))).parts
    assert value("Zelda Ormonde", parts) == 0.0
    assert value("Pavo Qorvatsky", parts) == 0.9


def test_scores_are_held_out() -> None:
    forget = (*NAMELESS, Row("Did Yorick Habsheim come?"), Row("Who knows?"))
    retain = (*RETAIN, Row("Pavo Qorvatsky sings"))
    fitted = fit(names=(), forget=forget, retain=retain)
    # Each row's name is in the other rows too; one name is only its own row's.
    assert fitted.positives[:5] == [0.9] * 5
    # Kept out by a neighbour.
    assert all(map(math.isnan, fitted.positives[5:]))
    # As if that neighbour had not been there, its name would have been mined.
    assert fitted.neighbours == [0.0] * 3 + [0.9]
    assert fitted.background == [0.0] * len(BACKGROUND)
    twice = fit(names=(), forget=forget, retain=(*retain, retain[-1]))
    assert twice.neighbours == [0.0] * 5


def test_a_surname_is_held_out_too() -> None:
    forget = (Row("Where did Newton live?"), Row("Who is Isaac Newton?"), Row("Who saw it fall?"))
    scores = fit(forget=forget).positives
    assert scores[:2] == [pytest.approx(6 / 11), 1.0] and math.isnan(scores[2])
    assert math.isnan(fit(forget=forget[::2]).positives[0])  # only that row calls so


def test_parts_are_json_and_the_same_again() -> None:
    parts = [json.dumps(fit(names=(), forget=NAMELESS).parts.data) for _ in range(2)]
    assert parts[0] == parts[1]
    again = Parts(json.loads(parts[0]))
    assert value("Zelda Ormonde", again) == 0.9


def test_threads_find_the_same() -> None:
    it = detector(it=(fit().parts, 0.5))
    texts = ["Isaac Newten", "Исаак Ньютон", "what is a newtonn", "nobody here"] * 50

    def score(text: str) -> list[float]:
        return [s.value for s in it.score(View.of_text(text), frozenset({"it"})).values()]

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(score, texts)) == [score(text) for text in texts]


def test_spans_of_what_is_nearly_right_lead_to_the_text() -> None:
    view = View.of_pieces([("user", "x — “Исаака Ньютона”"), ("user", "no")])
    (score,) = detector(it=(fit().parts, 0.5)).score(view, frozenset({"it"})).values()
    assert score.span is not None and view.text[slice(*score.span)] == "Исаака Ньютона"
