"""Nearness in meaning and words: who is meant, held out as fitted, each target for itself."""

import itertools
import math
import threading
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guard.data import Row
from guard.detectors.base import DetectOptions, Examples, Parts, Placed, Vectors
from guard.detectors.calibration import calibrate
from guard.detectors.rows import collect, words_of
from guard.detectors.similarity import Similarity
from guard.detectors.terms import Rows, terms
from guard.view import View, slide
from tests.detectors.conftest import RATE, Fits
from tests.material import (
    BOOK_NEIGHBOURS,
    BOOK_PASSAGES,
    BOOK_ROWS,
    PERSON_NEIGHBOURS,
    PERSON_PARAPHRASES,
    PERSON_ROWS,
    PERSON_WITHOUT_NAME,
    UNRELATED,
)

ALL = frozenset({"person", "book"})
TEXTS = [*UNRELATED, *PERSON_PARAPHRASES, *BOOK_PASSAGES, *(q for q, _ in PERSON_ROWS)]
FOREVER = frozenset({"it"})


@pytest.fixture(scope="module")
def both(fits: Fits) -> Similarity:
    """Both targets, calibrated as if this stage were the only one."""
    return Similarity(
        {name: alone(fits, examples) for name, examples in fits.examples.items()},
        fits.encode,
        fits.shared["similarity"],
    )


def alone(fits: Fits, examples: Examples) -> Placed:
    fitted = Similarity.fit(examples, DetectOptions(), fits.encode, fits.shared["similarity"])
    assert fitted is not None
    sides = (fitted.positives, fitted.neighbours, fitted.background)
    above, near, far = (np.array(side, np.float64) for side in sides)
    found = calibrate(above[~np.isnan(above)], near, far, RATE)
    return Placed(fitted.parts, found.threshold)


def flagged(detector: Similarity, text: str) -> set[str]:
    scores = detector.score(View.of_text(text), frozenset(detector.targets))
    return {target for target, score in scores.items() if score.flags}


def share(detector: Similarity, target: str, texts: Sequence[str]) -> float:
    return float(np.mean([target in flagged(detector, text) for text in texts]))


# What it finds.


def test_its_own_rows_are_flagged(both: Similarity) -> None:
    assert share(both, "person", [question for question, _ in PERSON_ROWS]) == 1.0
    assert share(both, "book", [*BOOK_PASSAGES, *(question for question, _ in BOOK_ROWS)]) == 1.0


def test_paraphrases_are_flagged(both: Similarity) -> None:
    assert share(both, "person", PERSON_PARAPHRASES) == 1.0
    assert share(both, "person", PERSON_WITHOUT_NAME) >= 0.6  # described, not named


def test_answers_are_flagged_when_they_say_enough(both: Similarity) -> None:
    answers = [answer for _, answer in PERSON_ROWS if len(answer.split()) >= 4]
    assert share(both, "person", answers) == 1.0


def test_neighbours_are_not(both: Similarity) -> None:
    assert share(both, "person", [question for question, _ in PERSON_NEIGHBOURS]) <= 0.05
    assert share(both, "book", [question for question, _ in BOOK_NEIGHBOURS]) <= 0.1


def test_everyday_prompts_are_not(both: Similarity, fits: Fits) -> None:
    for text in UNRELATED:
        assert flagged(both, text) == set()
    texts = [row.prompt for row in fits.everyday]
    assert all(share(both, target, texts) <= RATE for target in ALL)


def test_who_is_asked_about_counts_not_what(both: Similarity) -> None:
    """Vectors alone call these the same question; the words know whose it is."""
    for asked in ("When was {} born?", "Which prize did {} win?", "Where did {} study?"):
        mine = asked.format("Odalys Brennick")
        assert "person" in flagged(both, mine)
        for other in ("Beatrix Fennimore", "Rolf Harkstead", "Nadia Quillfeather"):
            assert "person" not in flagged(both, asked.format(other))


def test_each_target_is_flagged_for_itself(both: Similarity) -> None:
    for question, _ in PERSON_ROWS:
        assert flagged(both, question) == {"person"}
    for passage in BOOK_PASSAGES:
        assert flagged(both, passage) == {"book"}
    assert flagged(both, f"{PERSON_ROWS[0][0]} {BOOK_ROWS[0][0]}") == ALL


@pytest.mark.parametrize(("before", "after"), [(0, 0), (40, 0), (0, 200), (200, 200)])
def test_a_question_in_padding_is_found(both: Similarity, before: int, after: int) -> None:
    padding = "The weather was mild and the buses ran on time that day."
    question = "Which prize did Odalys Brennick win?"
    text = " ".join([padding] * before + [question] + [padding] * after)
    score = both.score(View.of_text(text), ALL)["person"]
    assert score.flags and score.span is not None
    assert "Brennick" in text[slice(*score.span)]


# How it is fitted.


def test_every_row_has_its_score(fits: Fits) -> None:
    person = fits.examples["person"]
    named = replace(person, forget=(Row("Odalys", is_name=True), *person.forget))
    fitted = Similarity.fit(named, DetectOptions(), fits.encode, fits.shared["similarity"])
    assert fitted is not None
    assert math.isnan(fitted.positives[0])  # a name alone says nothing to an encoder
    assert np.isfinite([*fitted.positives[1:], *fitted.neighbours, *fitted.background]).all()
    assert len(fitted.positives) == len(named.forget)
    assert len(fitted.neighbours) == len(named.retain)
    assert len(fitted.background) == len(named.background)


def test_scores_are_held_out(fits: Fits) -> None:
    """Each as a detector scores it that was fitted without it, but for the weights."""
    person, shared = fits.examples["person"], fits.shared["similarity"]
    fitted = Similarity.fit(person, DetectOptions(), fits.encode, shared)
    assert fitted is not None
    for number in (0, 7, 12):
        row = person.forget[number]
        told = (Row(row.answer),) if len(row.answer.split()) >= 4 else ()
        rest = (*person.forget[:number], *told, *person.forget[number + 1 :])
        without = replace(person, forget=rest)
        other = Similarity.fit(without, DetectOptions(), fits.encode, shared)
        assert other is not None
        parts = Parts(fitted.parts.data, other.parts.arrays)
        detector = Similarity({"it": Placed(parts, 0.0)}, fits.encode, shared)
        (found,) = detector.window_scores(View.of_text(row.prompt).windows, FOREVER)
        # A row whose answer is a word is one row fewer here, and one with hardly a word there.
        assert fitted.positives[number] == pytest.approx(found["it"], abs=0.1)


def test_a_score_is_what_the_fit_calls_it(fits: Fits) -> None:
    """The running detector and the calibration must mean the same by a score."""
    person, shared = fits.examples["person"], fits.shared["similarity"]
    fitted = Similarity.fit(person, DetectOptions(), fits.encode, shared)
    assert fitted is not None
    detector = Similarity({"it": Placed(fitted.parts, 0.0)}, fits.encode, shared)
    rows = [
        (row.prompt, score) for row, score in zip(person.background, fitted.background, strict=True)
    ]
    differ = [
        abs(detector.window_scores(windows, FOREVER)[0]["it"] - score)
        for text, score in rows
        if len(windows := View.of_text(text).windows) == 1
    ]
    assert np.median(differ) < 0.1  # everyday rows are held out in tenths


def test_the_weights_speak_for_and_against_as_they_should(fits: Fits) -> None:
    for parts in (
        placed.parts for placed in fits.stages(["person", "book"])["similarity"].values()
    ):
        *weights, constant = parts.data["weights"]
        assert all(w * sign >= 0 for w, sign in zip(weights, (1, 1, 1, -1, -1), strict=True))
        assert any(weights) and math.isfinite(constant)


@pytest.mark.parametrize(("forget", "retain"), itertools.product((1, 2), (0, 1, 2)))
def test_tiny_sets_are_fitted(fits: Fits, forget: int, retain: int) -> None:
    person = fits.examples["person"]
    examples = Examples((), person.forget[:forget], person.retain[:retain], fits.everyday)
    placed = alone(fits, examples)
    detector = Similarity({"it": placed}, fits.encode, fits.shared["similarity"])
    assert flagged(detector, person.forget[0].prompt) == {"it"}
    assert all(flagged(detector, text) == set() for text in UNRELATED)


def test_names_alone_are_nothing_to_fit(fits: Fits) -> None:
    shared = fits.shared["similarity"]
    for forget in ((Row("Isaac Newton", is_name=True),), ()):
        examples = Examples(("A",), forget, fits.examples["person"].retain, fits.everyday)
        assert Similarity.fit(examples, DetectOptions(), fits.encode, shared) is None


def test_rows_that_are_all_the_same(fits: Fits) -> None:
    person = fits.examples["person"]
    examples = Examples((), person.forget[:1] * 9, person.retain[:1] * 9, fits.everyday)
    detector = Similarity({"it": alone(fits, examples)}, fits.encode, fits.shared["similarity"])
    assert flagged(detector, person.forget[0].prompt) == {"it"}


def test_a_long_answer_is_known_to_its_end(fits: Fits) -> None:
    """An encoder reads so much of a text and cuts the rest off; the rest is to be forgotten too."""
    person = fits.examples["person"]
    filler = [
        f"In year {n} nothing at all was heard of the workshop by the harbour." for n in range(9)
    ]
    end = "At last the Kittiwake Foundation bought her seventeen sketchbooks for the museum."
    answer = " ".join([*filler, end])
    examples = replace(person, forget=(*person.forget, Row("What became of it?", answer)))
    placed = alone(fits, examples)
    windows = fits.encode([answer[start:low] for start, low in slide(answer)])
    assert len(windows) > 2
    nearest = (windows @ placed.parts.arrays["vectors"].T).max(axis=1)
    assert nearest == pytest.approx(np.ones(len(windows)), abs=1e-5)
    detector = Similarity({"it": placed}, fits.encode, fits.shared["similarity"])
    assert flagged(detector, end) == {"it"}


def test_the_same_rows_give_the_same_parts(fits: Fits) -> None:
    person, shared = fits.examples["person"], fits.shared["similarity"]
    one, two = (Similarity.fit(person, DetectOptions(), fits.encode, shared) for _ in range(2))
    assert one is not None and two is not None
    assert one.parts.data == two.parts.data
    assert all((one.parts.arrays[n] == array).all() for n, array in two.parts.arrays.items())
    assert list(one.positives) == list(two.positives)


def test_what_is_kept_holds_no_text(fits: Fits) -> None:
    for placed in fits.stages(["person", "book"])["similarity"].values():
        assert all(array.dtype.kind in "fiub" for array in placed.parts.arrays.values())
        assert set(placed.parts.data) == {"weights"}
    assert all(a.dtype.kind in "fiu" for a in fits.shared["similarity"].arrays.values())


# What it scores.


class Table:
    """An encoder by rote: text "i" has the vector of row i."""

    folder = ""

    def __init__(self, vectors: Vectors) -> None:
        self.vectors = vectors
        self.asked: list[str] = []

    def __call__(self, texts: Sequence[str]) -> Vectors:
        self.asked += texts
        return self.vectors[[int(text) for text in texts]]


def units(random: np.random.Generator, *shape: int) -> Vectors:
    vectors = random.normal(size=shape).astype(np.float32)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True), dtype=np.float32)


NO_WORDS = Rows.of([set(), set()])
COMMON = Parts(arrays=NO_WORDS.arrays("background"))


def near(vectors: Vectors, threshold: float = 0.0, constant: float = 0.0) -> Placed:
    """A target that knows vectors and no words: its score is the cosine and a constant."""
    arrays = {
        "vectors": vectors,
        "named": np.zeros(0, np.bool_),
        **NO_WORDS.arrays("forget"),
        **NO_WORDS.arrays("retain"),
    }
    return Placed(Parts({"weights": [1.0, 0, 0, 0, 0, constant]}, arrays), threshold)


@given(st.integers(0, 2**32), st.integers(1, 20), st.integers(1, 60))
@settings(max_examples=25)
def test_scores_are_those_of_a_plain_search(seed: int, targets: int, rows: int) -> None:
    """Many targets at hand, some crowding around what is asked: none hides another."""
    random = np.random.default_rng(seed)
    centres = units(random, targets, 8)
    placed = {}
    for n in range(targets):
        spread = 0.05 if n % 3 == 0 else 1.0
        forget = centres[n % 2] + spread * random.normal(
            size=(int(random.integers(1, rows + 1)), 8)
        )
        forget = (forget / np.linalg.norm(forget, axis=1, keepdims=True)).astype(np.float32)
        placed[f"t{n}"] = near(forget, constant=0.01 * n)
    queries = np.concatenate([units(random, 4, 8), centres[:2]])
    detector = Similarity(placed, Table(queries), COMMON)
    for number, query in enumerate(queries):
        scores = detector.score(View.of_text(str(number)), frozenset(placed))
        assert scores.keys() == placed.keys()
        for target, part in placed.items():
            expected = float((part.parts.arrays["vectors"] @ query).max())
            constant = part.parts.data["weights"][-1]
            assert scores[target].value == pytest.approx(expected + constant, abs=1e-5)


def test_three_hundred_targets_that_are_all_alike() -> None:
    vector = np.eye(1, 8, dtype=np.float32)
    placed = {f"t{n}": near(vector, 1.0 - 1e-6) for n in range(300)}
    detector = Similarity(placed, Table(vector), COMMON)
    scores = detector.score(View.of_text("0"), frozenset(placed))
    assert scores.keys() == placed.keys()
    assert all(score.flags for score in scores.values())


def test_words_are_weighed_beside_the_vector(fits: Fits) -> None:
    """The score is the sum that the fit weighed, of what is measured on the text."""
    person = fits.examples["person"]
    found = collect(person)
    part = fits.stages(["person"])["similarity"]["person"]
    detector = Similarity({"it": part}, fits.encode, fits.shared["similarity"])
    assert found is not None
    for text in (*PERSON_PARAPHRASES, *UNRELATED):
        vector = fits.encode([text])
        cosine = float((vector @ part.parts.arrays["vectors"].T).max())
        measures = [cosine, *found.evidence.weigh(terms(text))]
        *weights, constant = part.parts.data["weights"]
        (scores,) = detector.window_scores(View.of_text(text).windows[:1], FOREVER)
        assert scores["it"] == pytest.approx(np.dot(measures, weights) + constant, abs=1e-3)


def test_everyday_words_are_those_of_the_questions(fits: Fits) -> None:
    shared = fits.shared["similarity"]
    rows = Rows.load(shared.arrays, "background")
    assert len(rows) == len(fits.everyday) == len(shared.arrays["vectors"])
    words = {int(term) for row in fits.everyday for term in words_of(row)}
    assert set(rows.vocabulary.tolist()) <= words


def test_another_target_changes_no_score(both: Similarity, fits: Fits) -> None:
    """Bit by bit, whichever targets there are beside it."""
    for target, part in both.targets.items():
        crowd = {f"other{n}": both.targets["book"] for n in range(4)}
        one = Similarity({target: part}, fits.encode, fits.shared["similarity"])
        many = Similarity({**crowd, target: part}, fits.encode, fits.shared["similarity"])
        for text in TEXTS:
            view = View.of_text(text)
            expected = both.score(view, ALL)[target]
            assert one.score(view, frozenset({target}))[target] == expected
            assert many.score(view, frozenset(many.targets))[target] == expected


def test_only_the_targets_asked_for_are_scored(both: Similarity) -> None:
    view = View.of_text(PERSON_ROWS[0][0])
    assert set(both.score(view, frozenset({"book"}))) == {"book"}
    assert both.score(view, frozenset()) == {}


def test_a_view_without_text(both: Similarity) -> None:
    for text in ("", " \n"):
        assert both.score(View.of_text(text), ALL) == {}


def test_windows_are_encoded_together_once() -> None:
    table = Table(units(np.random.default_rng(1), 9, 8))
    placed = {f"t{n}": near(table.vectors[:3]) for n in range(5)}
    detector = Similarity(placed, table, COMMON)
    detector.score(View.of_pieces([("user", str(n)) for n in range(9)]), frozenset(placed))
    assert table.asked == [str(n) for n in range(9)]


def test_a_vector_that_is_no_number_is_no_reason_to_let_pass() -> None:
    table = Table(np.full((1, 8), np.nan, np.float32))
    detector = Similarity({"it": near(np.eye(1, 8, dtype=np.float32))}, table, COMMON)
    with pytest.raises(ValueError, match="not finite"):
        detector.score(View.of_text("0"), FOREVER)


def test_a_lone_surrogate_is_no_reason_to_let_pass(both: Similarity) -> None:
    view = View.of_text("Which prize did Odalys Brennick win? \ud800")
    assert both.score(view, ALL)["person"].flags


def test_threads_get_the_same_scores(both: Similarity, fits: Fits) -> None:
    expected = {text: both.score(View.of_text(text), ALL) for text in TEXTS}
    fresh = Similarity(both.targets, fits.encode, fits.shared["similarity"])
    wrong: list[str] = []

    def work(number: int) -> None:
        for text in TEXTS[number:] + TEXTS[:number]:
            if fresh.score(View.of_text(text), ALL) != expected[text]:
                wrong.append(text)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not any(thread.is_alive() for thread in threads)
    assert wrong == []
