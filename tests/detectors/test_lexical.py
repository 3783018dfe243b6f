"""Names: found however they are written, and nobody else's."""

import pytest

from guard.data import Row
from guard.detectors.base import DetectOptions, Encode, Examples, Fitted, Parts
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
    return Lexical(targets, ENCODE)


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


@pytest.mark.parametrize(
    "text", ["Isaac Asimov", "Isaac", "Newtons", "Newtonian", "Isaacnewtonx", "", " ", "ton"]
)
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
    assert set(parts.data) == {"phrases"}
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
