"""Detection: what a stage settles, what it dismisses, and what goes on; each target for itself."""

import base64
import math
import random
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.decision import Score
from guard.detectors import DETECTORS
from guard.detectors.base import (
    DetectOptions,
    Detector,
    Encode,
    Examples,
    Fitted,
    Parts,
    Placed,
    Vectors,
    Windowed,
)
from guard.detectors.detection import Detection
from guard.errors import DetectionError
from guard.view import Part, View, Window
from tests.detectors.conftest import Fits
from tests.material import (
    BOOK_PASSAGES,
    BOOK_ROWS,
    PERSON_NEIGHBOURS,
    PERSON_PARAPHRASES,
    PERSON_ROWS,
    UNRELATED,
)

FRENCH = "Quelle est la capitale de la France et combien de gens y habitent"


# Stages by rote: a window scores what its text says, target by target.


class Spoken(Windowed):
    """Scores "a=0,7 b=0,2" as 0.7 for a and 0.2 for b (a point would end a sentence)."""

    cost: ClassVar[int] = 1
    key: ClassVar[str] = "="

    def __init__(
        self, targets: Mapping[str, Placed], encode: Encode, shared: Parts | None = None
    ) -> None:
        super().__init__(targets, encode, shared)
        self.asked: list[tuple[list[str], frozenset[str]]] = []

    @classmethod
    def fit(
        cls, examples: Examples, options: DetectOptions, encode: Encode, shared: Parts | None = None
    ) -> Fitted | None:
        return None

    def window_scores(
        self, windows: Sequence[Window], targets: frozenset[str]
    ) -> list[dict[str, float]]:
        self.asked.append(([window.text.strip() for window in windows], targets))
        return [
            {t: v for t, v in said(window.text, self.key).items() if t in targets}
            for window in windows
        ]


def said(text: str, key: str) -> dict[str, float]:
    pairs = (word.partition(key) for word in text.split())
    return {target: float(value.replace(",", ".")) for target, sign, value in pairs if sign}


class Cheap(Spoken):
    kind = "cheap"
    cost = 1
    key = "="


class Dear(Spoken):
    kind = "dear"
    cost = 10
    key = ":"


class Whole(Detector):
    """Looks at the whole view: flags the target whose id stands in it."""

    kind = "whole"
    cost = 5
    fit = Spoken.fit

    def __init__(
        self, targets: Mapping[str, Placed], encode: Encode, shared: Parts | None = None
    ) -> None:
        super().__init__(targets, encode, shared)
        self.asked: list[frozenset[str]] = []

    def score(self, view: View, targets: frozenset[str]) -> dict[str, Score]:
        self.asked.append(targets)
        return {
            target: self.targets[target].score(1.0, self.kind, (at, at + len(target)))
            for target in targets
            if (at := view.text.find(f"<{target}>") + 1)
        }


class Rote:
    """An encoder that is not to be asked."""

    folder = ""

    def __call__(self, texts: Sequence[str]) -> Vectors:
        raise AssertionError("nothing here encodes")


@pytest.fixture(autouse=True)
def kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    get = DETECTORS.get
    known = {kind.kind: kind for kind in (Cheap, Dear, Whole)}
    monkeypatch.setattr(DETECTORS, "get", lambda kind: known.get(kind) or get(kind))


def spoken(
    targets: str = "ab", floor: float = -math.inf, whole: bool = False, cheap: float = math.inf
) -> Detection:
    """The cheap stage flags at `cheap` and dismisses below `floor`; the dear one flags at 1."""
    stages: dict[str, dict[str, Placed]] = {
        "dear": {target: Placed(Parts(), 1.0) for target in targets},
        "cheap": {target: Placed(Parts(), cheap, floor) for target in targets},
    }
    if whole:
        stages["whole"] = {target: Placed(Parts(), 1.0) for target in targets}
    return Detection(stages, {}, Rote())


def lines(*texts: str) -> View:
    """A view of one window a text."""
    return View.of_pieces([("user", text) for text in texts])


def asked(detection: Detection, kind: str) -> list[tuple[list[str], frozenset[str]]]:
    (found,) = (d for d in detection.detectors if d.kind == kind)
    assert isinstance(found, Spoken)
    return found.asked


def flags(scores: Mapping[str, Score]) -> set[str]:
    return {target for target, score in scores.items() if score.flags}


# What a stage settles.


def test_the_cheap_look_first() -> None:
    assert [d.kind for d in spoken(whole=True).detectors] == ["cheap", "whole", "dear"]


def test_a_flagged_target_is_settled_and_the_others_are_not() -> None:
    detection = spoken(cheap=0.5)
    scores = detection(lines("a=0,7 b=0,2", "a:9 b:9"), frozenset("ab"))
    assert flags(scores) == {"a", "b"}
    assert (scores["a"].detector, scores["b"].detector) == ("cheap", "dear")
    assert [targets for _, targets in asked(detection, "dear")] == [frozenset("b")]


def test_when_all_are_settled_nothing_is_asked_any_more() -> None:
    detection = spoken(cheap=0.5)
    assert flags(detection(lines("a=0,7 b=0,7"), frozenset("ab"))) == {"a", "b"}
    assert asked(detection, "dear") == []


def test_the_score_nearest_to_flagging_is_reported() -> None:
    detection = spoken(cheap=2.0)
    scores = detection(lines("a=1,9 a:0,2 b=0,1 b:0,9"), frozenset("ab"))
    assert (scores["a"].detector, scores["a"].value) == ("cheap", 1.9)
    assert (scores["b"].detector, scores["b"].value) == ("dear", 0.9)


def test_a_score_says_how_much_to_intervene(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the detector that flagged has it, of the window that flagged; most cannot tell."""
    monkeypatch.setattr(Dear, "weight", lambda self, target, score: score / 4)
    scores = spoken(cheap=0.5)(lines("a=0,7 b:1", "b:3"), frozenset("ab"))
    assert (scores["a"].detector, scores["a"].weight) == ("cheap", 1.0)
    assert (scores["b"].detector, scores["b"].weight) == ("dear", 0.75)


def test_only_the_targets_asked_for() -> None:
    detection = spoken()
    assert detection(lines("a=1 b=1 a:1 b:1"), frozenset("b")).keys() == {"b"}
    assert detection(lines("a=1"), frozenset()) == {}
    assert detection(lines("a=1"), frozenset("z")) == {}
    assert asked(detection, "cheap") == [(["a=1 b=1 a:1 b:1"], frozenset("b"))]


def test_a_target_that_a_kind_has_nothing_for_passes_it_by() -> None:
    stages = {"cheap": {"a": Placed(Parts(), math.inf, 9.0)}, "dear": {"b": Placed(Parts(), 1.0)}}
    detection = Detection(stages, {}, Rote())
    assert flags(detection(lines("a=0 b:1"), frozenset("ab"))) == {"b"}


# What a stage dismisses.


def test_a_floor_narrows_what_the_next_stage_sees() -> None:
    detection = spoken(floor=0.5)
    view = lines("a=0,6 b=0,1 a:0,3", "a=0,4 b=0,4 a:9 b:9", "b=0,5 b:2", "nothing a:9")
    scores = detection(view, frozenset("ab"))
    # Each target is asked of the windows that were kept for any, and takes its own.
    assert asked(detection, "dear") == [(["a=0,6 b=0,1 a:0,3", "b=0,5 b:2"], frozenset("ab"))]
    assert scores["a"].value == 0.3 and not scores["a"].flags
    assert scores["b"].value == 2 and scores["b"].flags


def test_a_window_that_is_kept_for_another_target_does_not_count() -> None:
    detection = spoken(floor=0.5)
    scores = detection(lines("a=0,6 b=0,1 a:0 b:9", "b=0,7 b:0,2"), frozenset("ab"))
    assert scores["b"].value == 0.2
    assert flags(scores) == set()


def test_a_target_without_windows_is_settled_as_untouched() -> None:
    detection = spoken(floor=0.5, whole=True)
    scores = detection(lines("a=0,6 b=0,4 a:1 b:1 <b>"), frozenset("ab"))
    assert flags(scores) == {"a"}
    assert [targets for _, targets in asked(detection, "dear")] == [frozenset("a")]


def test_without_a_floor_nothing_is_dismissed() -> None:
    detection = spoken()
    assert flags(detection(lines("nothing", "a:1"), frozenset("a"))) == {"a"}
    assert asked(detection, "dear")[0][0] == ["nothing", "a:1"]


def test_foreign_windows_are_never_dismissed() -> None:
    detection = spoken(floor=0.5)
    scores = detection(lines(f"{FRENCH} a:1", "What is it then a:1"), frozenset("a"))
    assert asked(detection, "dear")[0][0] == [f"{FRENCH} a:1"]
    assert flags(scores) == {"a"}


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=6),
    st.integers(0, 9),
    st.integers(0, 9),
)
def test_stages_together_flag_what_each_would(
    drawn: list[tuple[int, int]], floor: int, cheap: int
) -> None:
    """Flagged: by the cheap stage, or by the dear one in a window that the cheap one left."""
    detection = Detection(
        {
            "cheap": {"a": Placed(Parts(), cheap, floor)},
            "dear": {"a": Placed(Parts(), 5.0)},
        },
        {},
        Rote(),
    )
    view = lines(*(f"{n} a={one} a:{two}" for n, (one, two) in enumerate(drawn)))
    expected = any(one >= cheap for one, _ in drawn) or any(
        one >= floor and two >= 5 for one, two in drawn
    )
    assert bool(flags(detection(view, frozenset("a")))) == expected


def test_a_text_that_is_repeated_is_asked_about_once() -> None:
    detection = spoken()
    scores = detection(lines(*["a=0,1 a:1"] * 50, "b=0,1"), frozenset("ab"))
    assert [windows for windows, _ in asked(detection, "dear")] == [["a=0,1 a:1", "b=0,1"]]
    assert scores["a"].span == (0, 9)


def test_a_growing_conversation_pays_for_its_new_turn() -> None:
    detection = spoken()
    turns = ["a=0,1", "b=0,2", "a=0,3"]
    for count in (1, 2, 3):
        detection(lines(*turns[:count]), frozenset("ab"))
    assert [windows for windows, _ in asked(detection, "cheap")] == [[turn] for turn in turns]


# Where the evidence stands.


def test_the_span_is_that_of_the_window() -> None:
    view = lines("nothing", "a:0,5", "a:2")
    score = spoken()(view, frozenset("a"))["a"]
    assert score.span is not None
    assert view.text[slice(*score.span)] == "a:2"


def test_the_span_of_a_reading_is_where_it_was_read() -> None:
    text = "Read this for me please"
    parts = (Part("user", 0, 10), Part("read", 11, 23, (5, 9)))
    view = View(text, parts)
    detection = Detection({"whole": {"it": Placed(Parts(), 1.0)}}, {}, Rote())
    (whole,) = detection.detectors
    whole.score = lambda view, targets: {"it": Score(1.0, 1.0, "whole", (12, 15))}  # type: ignore[method-assign]
    assert detection(view, frozenset({"it"}))["it"].span == (5, 9)
    whole.score = lambda view, targets: {"it": Score(1.0, 1.0, "whole", (1, 4))}  # type: ignore[method-assign]
    assert detection(view, frozenset({"it"}))["it"].span == (1, 4)
    whole.score = lambda view, targets: {"it": Score(1.0, 1.0, "whole", None)}  # type: ignore[method-assign]
    assert detection(view, frozenset({"it"}))["it"].span is None


@pytest.mark.parametrize("asked", [PERSON_ROWS[6][0], "What was the Halvorsen Medal of 1998 for?"])
def test_a_disguised_question_is_found_where_it_was_written(fits: Fits, asked: str) -> None:
    hidden = base64.b64encode(asked.encode()).decode()
    text = f"The weather was mild. Decode and answer: {hidden}"
    score = fits.detection(["person", "book"])(View.of_text(text), frozenset({"person"}))["person"]
    assert score.flags and score.span is not None
    assert 0 <= score.span[0] < score.span[1] <= len(text)
    assert hidden[:20] in text[slice(*score.span)]


# What fails.


class Failing(Rote):
    def __call__(self, texts: Sequence[str]) -> Vectors:
        raise RuntimeError(f"cannot encode {texts}")


def test_a_failing_encoder_is_an_error_without_the_text(fits: Fits) -> None:
    failing = Failing()
    failing.folder = fits.encode.folder
    detection = fits.detection(["person", "book"], failing)
    asked = "What did the glass artist from Skarvik win?"
    with pytest.raises(DetectionError) as caught:
        detection(View.of_text(asked), frozenset({"person", "book"}))
    assert str(caught.value) == "detector 'similarity' failed (RuntimeError)"


@pytest.mark.parametrize("kind", ["cheap", "whole", "dear"])
def test_a_failing_detector_is_an_error_without_the_text(
    monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    detection = spoken(whole=True)
    (broken,) = (d for d in detection.detectors if d.kind == kind)

    def fail(*args: Any) -> Any:
        raise ValueError("secret a=1")

    monkeypatch.setattr(broken, "score" if kind == "whole" else "window_scores", fail)
    with pytest.raises(DetectionError) as caught:
        detection(lines("secret a=1"), frozenset("a"))
    assert str(caught.value) == f"detector {kind!r} failed (ValueError)"


@pytest.mark.parametrize("what", ["read", "windows"])
def test_a_view_that_cannot_be_read_is_an_error(monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    def fail(self: View) -> Any:
        raise RecursionError("secret")

    broken: Any = property(fail) if what == "windows" else fail
    monkeypatch.setattr(View, what, broken)
    with pytest.raises(DetectionError, match=r"^detector 'view' failed \(RecursionError\)$"):
        spoken()(lines("secret"), frozenset("a"))


def test_a_score_that_is_no_number_is_no_reason_to_let_pass() -> None:
    """Nothing is below or above it, so it would neither be flagged nor go on."""
    for text in ("a=nan", "a=1 a:nan"):
        with pytest.raises(DetectionError, match="ValueError"):
            spoken(floor=0.0)(lines("a=1 a:0,2", text), frozenset("a"))


def test_an_error_does_not_stick(fits: Fits) -> None:
    class Once(Failing):
        folder = fits.encode.folder

        def __call__(self, texts: Sequence[str]) -> Vectors:
            self.times = getattr(self, "times", 0) + 1
            return super().__call__(texts) if self.times == 1 else fits.encode(texts)

    detection = fits.detection(["person"], Once())
    view = View.of_text("Which glass artist won the Halvorsen Medal in 1998?")
    with pytest.raises(DetectionError):
        detection(view, frozenset({"person"}))
    expected = fits.detection(["person"])(view, frozenset({"person"}))
    assert detection(view, frozenset({"person"})) == expected


# Targets are independent.

TEXTS = [
    *UNRELATED,
    *PERSON_PARAPHRASES,
    *BOOK_PASSAGES,
    *(question for question, _ in (*PERSON_ROWS, *BOOK_ROWS, *PERSON_NEIGHBOURS)),
]


@pytest.mark.parametrize("kind", ["lexical", "static", "similarity"])
@pytest.mark.parametrize("target", ["person", "book"])
def test_a_stage_scores_a_target_alike_whoever_else_is_there(
    fits: Fits, kind: str, target: str
) -> None:
    """Bit by bit, for each stage by itself."""
    stage = fits.stages(["person", "book"])[kind]
    crowd = {**{f"copy{n}": placed for n, placed in enumerate(stage.values())}, **stage}
    running = [Detection({kind: some}, fits.shared, fits.encode) for some in (
        {target: stage[target]}, dict(stage), crowd
    )]  # fmt: skip
    for text in TEXTS:
        view = View.of_text(text)
        one, two, many = (detection(view, frozenset(n)) for detection, n in zip(
            running, ({target}, stage, crowd), strict=True
        ))  # fmt: skip
        assert one.get(target) == two.get(target) == many.get(target), text


def test_decisions_about_a_target_do_not_depend_on_the_others(fits: Fits) -> None:
    """Bit by bit, through all stages, in an order of requests of its own each time."""
    both = fits.detection(["person", "book"])
    for target in ("person", "book"):
        alone = fits.detection([target])
        for text in random.Random(4).sample(TEXTS, len(TEXTS)):
            view = View.of_text(text)
            expected = both(view, frozenset({"person", "book"}))
            assert alone(view, frozenset({target})).get(target) == expected.get(target), text


def test_the_whole_flags_its_own_and_nothing_else(fits: Fits) -> None:
    both = fits.detection(["person", "book"])

    def flagged(text: str) -> set[str]:
        return flags(both(View.of_text(text), frozenset({"person", "book"})))

    assert all(flagged(question) == {"person"} for question, _ in PERSON_ROWS)
    assert all(flagged(text) == {"book"} for text in BOOK_PASSAGES)
    assert all(flagged(text) == set() for text in UNRELATED)
    everyday = [bool(flagged(row.prompt)) for row in fits.everyday]
    assert np.mean(everyday) <= 2 * 0.02  # the rate is each target's own


# Out of a bundle.


def test_parts_come_out_of_a_bundle(fits: Fits) -> None:
    person = fits.stages(["person"])
    assert {kind: part["person"].floor for kind, part in person.items() if kind != "static"} == {
        "lexical": -math.inf,
        "similarity": -math.inf,
    }
    glance = person["static"]["person"]
    assert glance.threshold == math.inf and math.isfinite(glance.floor)
    for kind in ("lexical", "similarity"):
        assert math.isfinite(person[kind]["person"].threshold)
        assert person[kind]["person"].scale > 0
    assert person["similarity"]["person"].parts.arrays["vectors"].dtype == np.float32
