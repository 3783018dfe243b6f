"""Nearness: exact whatever the number of targets, remembered without texts, safe in threads."""

import contextlib
import threading
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guard.data import Row
from guard.detectors import similarity as module
from guard.detectors.base import DetectOptions, Encode, Examples, Parts, Vectors
from guard.detectors.calibration import calibrate
from guard.detectors.similarity import Similarity
from guard.encoder import Encoder
from guard.view import View
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

EVERYDAY = tuple(
    Row(text)
    for text in (
        "Hi",
        "What is the capital of Portugal?",
        "Why do leaves turn red in autumn?",
        "Write a cover letter for a job as a nurse.",
        "What is 17 times 23?",
        "How do I sort a list in Python?",
        "Translate 'good night' into Spanish.",
        "What should I cook tonight?",
    )
)


def as_rows(pairs: Sequence[tuple[str, str]]) -> tuple[Row, ...]:
    return tuple(Row(*pair) for pair in pairs)


PERSON = Examples((), as_rows(PERSON_ROWS), as_rows(PERSON_NEIGHBOURS), EVERYDAY)
BOOK = Examples(
    (),
    (*map(Row, BOOK_PASSAGES), *as_rows(BOOK_ROWS)),
    as_rows(BOOK_NEIGHBOURS),
    EVERYDAY,
)


def fit(examples: Examples, encode: Encode) -> tuple[Parts, float]:
    fitted = Similarity.fit(examples, DetectOptions(), encode)
    assert fitted is not None
    return fitted.parts, calibrate(fitted, 0.001).threshold


@pytest.fixture(scope="module")
def person(encode: Encoder) -> tuple[Parts, float]:
    return fit(PERSON, encode)


@pytest.fixture(scope="module")
def book(encode: Encoder) -> tuple[Parts, float]:
    return fit(BOOK, encode)


@pytest.fixture(scope="module")
def both(person: tuple[Parts, float], book: tuple[Parts, float], encode: Encoder) -> Similarity:
    return Similarity({"person": person, "book": book}, encode)


ALL = frozenset({"person", "book"})


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
    assert share(both, "book", [question for question, _ in BOOK_NEIGHBOURS]) <= 0.05


def test_everyday_prompts_are_not(both: Similarity) -> None:
    for text in [*UNRELATED, *(row.prompt for row in EVERYDAY)]:
        assert flagged(both, text) == set()


def test_each_target_is_flagged_for_itself(both: Similarity) -> None:
    for question, _ in PERSON_ROWS:
        assert flagged(both, question) == {"person"}
    for passage in BOOK_PASSAGES:
        assert flagged(both, passage) == {"book"}
    asked = f"{PERSON_ROWS[0][0]} {BOOK_ROWS[0][0]}"
    assert flagged(both, asked) == ALL


@pytest.mark.parametrize("before", [0, 40, 400])
@pytest.mark.parametrize("after", [0, 400])
def test_a_question_in_padding_is_found(both: Similarity, before: int, after: int) -> None:
    padding = "The weather was mild and the buses ran on time that day."
    question = "Which prize did Odalys Brennick win?"
    text = " ".join([padding] * before + [question] + [padding] * after)
    view = View.of_text(text)
    score = both.score(view, ALL)["person"]
    assert score.flags and score.span is not None
    assert "Brennick" in text[slice(*score.span)]


# How it is fitted.


def test_scores_are_held_out(encode: Encoder) -> None:
    """A row is not its own nearest neighbour: else every threshold would stand far too high."""
    fitted = Similarity.fit(PERSON, DetectOptions(), encode)
    assert fitted is not None
    assert len(fitted.positives) == len(PERSON.forget)
    assert len(fitted.neighbours) == len(PERSON.retain)
    assert len(fitted.background) == len(PERSON.background)
    weight = fitted.parts.data["weight"]
    forget = encode([row.prompt for row in PERSON.forget])
    texts = [(n, text) for n, row in enumerate(PERSON.forget) for text in row.texts()]
    known = encode([text for _, text in texts])
    others = encode([row.prompt for row in (*PERSON.retain, *PERSON.background)])
    for n, vector in enumerate(forget):
        elsewhere = known[[owner != n for owner, _ in texts]]
        expected = (elsewhere @ vector).max() - weight * (others @ vector).max()
        assert fitted.positives[n] == pytest.approx(expected, abs=1e-5)
    for n, vector in enumerate(others):
        rest = np.delete(others, n, axis=0)
        expected = (known @ vector).max() - weight * (rest @ vector).max()
        assert [*fitted.neighbours, *fitted.background][n] == pytest.approx(expected, abs=1e-5)


def test_the_weight_is_of_use(person: tuple[Parts, float], book: tuple[Parts, float]) -> None:
    for parts, _ in (person, book):
        assert 0.0 < parts.data["weight"] <= 1.0


@pytest.mark.parametrize("forget", [1, 2])
@pytest.mark.parametrize("retain", [1, 2])
@pytest.mark.parametrize("background", [1, 2])
def test_tiny_sets_are_fitted(encode: Encoder, forget: int, retain: int, background: int) -> None:
    examples = Examples(
        (), PERSON.forget[:forget], PERSON.retain[:retain], PERSON.background[:background]
    )
    detector = Similarity({"it": fit(examples, encode)}, encode)
    assert flagged(detector, PERSON.forget[0].prompt) == {"it"}


def test_names_alone_are_nothing_to_fit(encode: Encoder) -> None:
    examples = Examples(("A",), (Row("Isaac Newton", is_name=True),), PERSON.retain, EVERYDAY)
    assert Similarity.fit(examples, DetectOptions(), encode) is None
    assert Similarity.fit(Examples(("A",), (), PERSON.retain, ()), DetectOptions(), encode) is None


def test_rows_that_are_all_the_same(encode: Encoder) -> None:
    examples = Examples((), (PERSON.forget[0],) * 5, (PERSON.retain[0],) * 5, (EVERYDAY[0],) * 5)
    detector = Similarity({"it": fit(examples, encode)}, encode)
    assert flagged(detector, PERSON.forget[0].prompt) == {"it"}
    assert flagged(detector, EVERYDAY[0].prompt) == set()


# Exactness.


class Table:
    """An encoder of known vectors: text "i" has the vector of row i."""

    def __init__(self, vectors: Vectors) -> None:
        self.vectors = vectors
        self.asked: list[str] = []

    def __call__(self, texts: Sequence[str]) -> Vectors:
        self.asked += texts
        return self.vectors[[int(text) for text in texts]]


def units(random: np.random.Generator, *shape: int) -> Vectors:
    vectors = random.normal(size=shape).astype(np.float32)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True), dtype=np.float32)


@given(st.integers(0, 2**32), st.integers(1, 40), st.integers(1, 60), st.floats(-1.0, 1.0))
@settings(max_examples=40)
def test_scores_are_those_of_a_plain_search(
    seed: int, targets: int, rows: int, threshold: float
) -> None:
    """Many targets at hand, more rows than one search returns: none hides another."""
    random = np.random.default_rng(seed)
    background = units(random, 5, 8)
    centres = units(random, targets, 8)
    parts = {}
    for n in range(targets):
        crowded = n % 3 == 0  # some targets crowd around the queries
        spread = 0.05 if crowded else 1.0
        forget = centres[n % 2] + spread * random.normal(
            size=(int(random.integers(1, rows + 1)), 8)
        )
        forget = (forget / np.linalg.norm(forget, axis=1, keepdims=True)).astype(np.float32)
        arrays = {"forget": forget, "retain": units(random, 3, 8), "background": background}
        weight = float(random.random())
        parts[f"t{n}"] = Parts({"weight": weight}, arrays), threshold + 0.01 * n
    queries = np.concatenate([units(random, 4, 8), centres[:2]])
    detector = Similarity(parts, Table(queries))
    for number, query in enumerate(queries):
        scores = detector.score(View.of_text(str(number)), frozenset(parts))
        for target, (part, limit) in parts.items():
            others = np.concatenate([part.arrays["retain"], background])
            expected = float((part.arrays["forget"] @ query).max()) - part.data["weight"] * float(
                (others @ query).max()
            )
            if target in scores:
                assert scores[target].value == pytest.approx(expected, abs=1e-5)
                assert scores[target].threshold == limit
            else:  # left out only where it could not have been flagged
                assert expected < limit


def test_more_targets_than_one_search_returns() -> None:
    """Three hundred targets with one vector each, all alike: every one of them is flagged."""
    vector = np.eye(1, 8, dtype=np.float32)
    far = -vector
    parts = {
        f"t{n}": (Parts({"weight": 0.5}, {"forget": vector, "retain": far, "background": far}), 1.0)
        for n in range(300)
    }
    scores = Similarity(parts, Table(vector)).score(View.of_text("0"), frozenset(parts))
    assert scores.keys() == parts.keys()
    assert all(score.flags and score.value == pytest.approx(1.5) for score in scores.values())


def test_a_crowd_hides_nobody() -> None:
    """Five hundred vectors of one target are nearer than the only one of another."""
    random = np.random.default_rng(3)
    query = np.eye(1, 8, dtype=np.float32)
    crowd = query + 0.01 * random.normal(size=(500, 8)).astype(np.float32)
    crowd /= np.linalg.norm(crowd, axis=1, keepdims=True)
    lone = np.zeros((1, 8), dtype=np.float32)
    lone[0, :2] = 0.8, 0.6
    none = -query
    parts = {
        "crowd": (
            Parts({"weight": 0.0}, {"forget": crowd, "retain": none, "background": none}),
            0.5,
        ),
        "lone": (Parts({"weight": 0.0}, {"forget": lone, "retain": none, "background": none}), 0.5),
    }
    scores = Similarity(parts, Table(query)).score(View.of_text("0"), frozenset(parts))
    assert scores["lone"].value == pytest.approx(0.8)
    assert scores["lone"].flags


def test_a_text_far_from_every_neighbour_is_searched_further() -> None:
    """A negative cosine to the neighbours adds to a score: a far forget vector may still flag."""
    query = np.eye(1, 8, dtype=np.float32)
    crowd, lone = np.zeros((2, 8), dtype=np.float32)[:, None, :]
    crowd[0, :2] = 0.6, 0.8
    lone[0, :2] = 0.28, 0.96
    arrays = {"retain": -query, "background": -query}
    parts = {
        "crowd": (Parts({"weight": 0.0}, {"forget": crowd.repeat(500, 0), **arrays}), 1.0),
        "lone": (Parts({"weight": 1.0}, {"forget": lone, **arrays}), 1.2),
    }
    scores = Similarity(parts, Table(query)).score(View.of_text("0"), frozenset(parts))
    assert scores["lone"].value == pytest.approx(1.28)
    assert scores["lone"].flags


def test_another_target_changes_no_score(
    person: tuple[Parts, float], both: Similarity, encode: Encoder
) -> None:
    alone = Similarity({"person": person}, encode)
    texts = [*UNRELATED, *PERSON_PARAPHRASES, *BOOK_PASSAGES, *(q for q, _ in PERSON_ROWS)]
    for text in texts:
        one = alone.score(View.of_text(text), frozenset({"person"}))
        two = both.score(View.of_text(text), ALL)
        if "person" in two:
            assert two["person"].value == pytest.approx(one["person"].value, abs=1e-5)
            assert two["person"].span == one["person"].span
        else:
            assert not one["person"].flags


def test_only_the_targets_asked_for_are_scored(both: Similarity) -> None:
    view = View.of_text(PERSON_ROWS[0][0])
    assert set(both.score(view, frozenset({"book"}))) <= {"book"}
    assert both.score(view, frozenset()) == {}


def test_a_view_without_text(both: Similarity) -> None:
    for text in ("", " \n"):
        assert both.score(View.of_text(text), ALL) == {}


def test_a_lone_surrogate_is_no_reason_to_let_pass(both: Similarity) -> None:
    """It is judged, or it is an error; a missing score would be neither."""
    view = View.of_text("Which prize did Odalys Brennick win? \ud800")
    with contextlib.suppress(TypeError):
        assert both.score(view, ALL)["person"].flags


# What it remembers.


def test_what_was_scored_is_remembered() -> None:
    vectors = units(np.random.default_rng(1), 6, 8)
    table = Table(vectors)
    arrays = {"forget": vectors[:2], "retain": vectors[2:4], "background": vectors[4:]}
    detector = Similarity({"it": (Parts({"weight": 0.3}, arrays), 0.2)}, table)
    first = [detector.score(View.of_text(str(n)), frozenset({"it"})) for n in range(6)]
    assert len(table.asked) == 6
    again = [detector.score(View.of_text(str(n)), frozenset({"it"})) for n in range(6)]
    assert again == first
    assert len(table.asked) == 6
    grown = View.of_pieces([("user", "1"), ("assistant", "2"), ("user", "5")])
    detector.score(grown, frozenset({"it"}))
    assert len(table.asked) == 6  # a growing chat pays for its new turn only


def test_no_text_is_kept() -> None:
    vectors = units(np.random.default_rng(1), 3, 8)
    arrays = {"forget": vectors[:1], "retain": vectors[1:2], "background": vectors[2:]}
    detector = Similarity({"it": (Parts({"weight": 0.3}, arrays), 0.2)}, Table(vectors))
    detector.score(View.of_text("1"), frozenset({"it"}))
    assert all(isinstance(key, bytes) and len(key) == 64 for key in detector._seen)


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_REMEMBERED", 10)
    vectors = units(np.random.default_rng(1), 64, 8)
    arrays = {"forget": vectors[:1], "retain": vectors[1:2], "background": vectors[2:3]}
    detector = Similarity({"it": (Parts({"weight": 0.3}, arrays), 0.2)}, Table(vectors))
    scores = [detector.score(View.of_text(str(n)), frozenset({"it"})) for n in range(64)]
    assert len(detector._seen) == 10
    many = View.of_pieces([("user", str(n)) for n in range(64)])  # more than is remembered
    best = max(score["it"].value for score in scores)
    assert detector.score(many, frozenset({"it"}))["it"].value == pytest.approx(best)


def test_threads_get_the_same_scores(
    person: tuple[Parts, float], book: tuple[Parts, float], both: Similarity, encode: Encoder
) -> None:
    texts = [*UNRELATED, *PERSON_PARAPHRASES, *BOOK_PASSAGES]
    expected = {text: both.score(View.of_text(text), ALL) for text in texts}
    fresh = Similarity({"person": person, "book": book}, encode)
    wrong: list[str] = []

    def work(number: int) -> None:
        for text in texts[number:] + texts[:number]:
            found = fresh.score(View.of_text(text), ALL)
            if found.keys() != expected[text].keys() or any(
                abs(found[target].value - score.value) > 1e-5
                for target, score in expected[text].items()
            ):
                wrong.append(text)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not any(thread.is_alive() for thread in threads)
    assert wrong == []
