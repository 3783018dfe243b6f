"""One target fitted: which stages it has, what is kept of it, and when it is refused."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from guard import self_test as picking
from guard.choices import DetectChoice, Intervene, InterveneChoice
from guard.compile import Remembered
from guard.data import Row
from guard.detectors.base import Examples, Parts, Vectors
from guard.detectors.detection import Detection, placed
from guard.detectors.heldout import SIDES
from guard.encoder import Encoder
from guard.errors import DataError, PolicyError
from guard.everyday import everyday
from guard.fitting import fit_target, needs, remarks, share, stages_of
from guard.manifest import StageRecord
from guard.output.choices import OutputChoice
from guard.policy import Target
from guard.self_test import SELF_TESTS
from guard.view import View
from tests.material import PERSON, PERSON_NEIGHBOURS, PERSON_ROWS
from tests.small import few

RATE = 0.02


@pytest.fixture(scope="module", autouse=True)
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Few everyday prompts, so that a target is fitted in a second."""
    with pytest.MonkeyPatch.context() as patch:
        few(patch, tmp_path_factory.mktemp("cache"))
        yield


@pytest.fixture(scope="module")
def remembered(encode: Encoder) -> Remembered:
    return Remembered(encode, [row.prompt for row in everyday(None)])


def choice(kind: str, **options: Any) -> DetectChoice:
    return DetectChoice.model_validate({"kind": kind, **options})


def target(kind: str = "cascade", *, intervene: str = "refuse", **options: Any) -> Target:
    """A target as a policy settles it."""
    if kind == "cascade":
        options.setdefault("multilingual", False)
    detect = choice(kind, **{"max_false_positive_rate": RATE, **options})
    return Target(
        id="it",
        mode="enforce",
        names=(PERSON,),
        detect=detect,
        intervene=Intervene(sure=(InterveneChoice(kind=intervene),)),
        output=OutputChoice(check=()),
    )


def examples(
    forget: Sequence[tuple[str, str]] = PERSON_ROWS,
    retain: Sequence[tuple[str, str]] = PERSON_NEIGHBOURS,
    names: Sequence[str] = (PERSON,),
) -> Examples:
    ours, others = (tuple(Row(*pair) for pair in side) for side in (forget, retain))
    return Examples(tuple(names), ours, others, everyday(None))


def fit(
    one: Target, rows: Examples, encode: Remembered, said: list[str] | None = None
) -> tuple[dict[str, Any], dict[str, Any]]:
    shared = share([(one, rows)], encode, {})
    return fit_target(one, rows, shared, encode, (said if said is not None else []).append)


# Stages.


def test_a_cascade_is_its_stages_at_one_rate() -> None:
    stages = stages_of(choice("cascade", max_false_positive_rate=0.004, max_miss_rate=0.1))
    assert [d.kind for d, _, _ in stages] == ["lexical", "static", "similarity", "multilingual"]
    assert {options.max_false_positive_rate for _, options, _ in stages} == {0.004}
    assert {whole.model_dump()["max_miss_rate"] for _, _, whole in stages} == {0.1}
    without = stages_of(choice("cascade", multilingual=False))
    assert [d.kind for d, _, _ in without] == ["lexical", "static", "similarity"]


@pytest.mark.parametrize("kind", ["lexical", "similarity", "multilingual", "classifier", "ood"])
def test_any_other_kind_is_its_own_stage(kind: str) -> None:
    ((detector, options, whole),) = stages_of(choice(kind, max_false_positive_rate=0.3))
    assert detector.kind == kind and options is whole
    assert options.max_false_positive_rate == 0.3


def test_what_targets_need_is_what_their_stages_are() -> None:
    assert needs([]) == set()
    assert needs([target("lexical"), target("similarity")]) == {"lexical", "similarity"}
    assert needs([target()]) == {"lexical", "static", "similarity"}


def test_what_is_shared_is_made_once(remembered: Remembered) -> None:
    pairs = [(target(), examples()), (target("similarity"), examples())]
    shared = share(pairs, remembered, {})
    assert shared.keys() == {"static", "similarity"}
    again = share(pairs, remembered, shared)
    assert all(again[kind] is parts for kind, parts in shared.items())
    held = {"similarity": Parts({"mine": 1})}
    mixed = share(pairs, remembered, held)
    assert mixed["similarity"] is held["similarity"] and mixed.keys() == shared.keys()
    assert held.keys() == {"similarity"}  # what was given is left as it is


# What comes out.


def test_a_record_says_what_the_stages_do(remembered: Remembered) -> None:
    said: list[str] = []
    record, arrays = fit(target(), examples(), remembered, said)
    stages = [StageRecord.model_validate(stage) for stage in record["stages"]]
    assert [stage.kind for stage in stages] == ["lexical", "static", "similarity"]
    names, glance, meaning = stages
    assert names.threshold is not None and names.floor is None and names.sieve is None
    assert glance.threshold is None and glance.calibration is None and glance.sieve is not None
    assert glance.scores.keys() == {"positives", "neighbours", "background", "foreign"}
    assert meaning.calibration is not None and meaning.calibration["requested"] == RATE
    for stage in stages:
        lengths = [len(arrays[stage.scores[side]]) for side in SIDES]
        assert lengths == [len(PERSON_ROWS), len(PERSON_NEIGHBOURS), len(everyday(None))]
    used = {file for stage in stages for file in (*stage.arrays.values(), *stage.scores.values())}
    assert arrays.keys() == used
    assert record["detection"]["detected"] == 1.0
    assert record["detection"]["everyday_flagged"] <= RATE * len(everyday(None))
    assert said == [f"  it: {line}" for stage in stages for line in remarks(stage)]
    assert not any(question in line for line in said for question, _ in PERSON_ROWS)


def test_fitting_twice_gives_the_same(remembered: Remembered) -> None:
    one, two = (fit(target(), examples(), remembered) for _ in range(2))
    assert one[0] == two[0]
    assert all(np.array_equal(a, two[1][n], equal_nan=True) for n, a in one[1].items())


@pytest.mark.parametrize("intervene", ["refuse", "corrupt"])
def test_the_intervention_is_settled_with_its_defaults(
    remembered: Remembered, intervene: str
) -> None:
    record, _ = fit(target("lexical", intervene=intervene), examples(), remembered)
    assert record["interventions"][0]["kind"] == intervene
    assert record["interventions"][0][
        "options"
    ]  # as it is, whatever later versions make the default
    assert record["mode"] == "enforce"


def test_stages_that_have_nothing_to_go_by_are_left_out(remembered: Remembered) -> None:
    record, _ = fit(target(), examples(forget=()), remembered)
    assert [stage["kind"] for stage in record["stages"]] == ["lexical"]
    nameless = [(f"what is {n} and {n}?", "It is a number.") for n in range(30)]
    record, _ = fit(target(), examples(nameless, names=()), remembered)
    assert [stage["kind"] for stage in record["stages"]] == ["static", "similarity"]


def test_the_glance_passes_what_the_policy_lets_it(remembered: Remembered) -> None:
    """The forget rows bound it from above; what costs next to nothing is given beyond."""
    unnamed = examples(names=(), forget=[(q.replace(PERSON, "she"), a) for q, a in PERSON_ROWS])
    floors = {}
    for rate in (0.0, 0.5, 1.0):
        record, _ = fit(target(pass_rate=rate), unnamed, remembered)
        (glance,) = (stage for stage in record["stages"] if stage["kind"] == "static")
        assert glance["sieve"]["missed"] <= 0.005
        assert glance["sieve"]["passed"] >= rate * 0.6  # foreign prompts are not counted
        floors[rate] = glance["floor"]
    assert floors[0.0] >= floors[0.5] >= floors[1.0]


# The self-test.


def test_self_test_prompts_are_decided_as_they_say(remembered: Remembered) -> None:
    rows, one = examples(), target()
    shared = share([(one, rows)], remembered, {})
    record, arrays = fit_target(one, rows, shared, remembered, lambda line: None)
    stages = [StageRecord.model_validate(stage) for stage in record["stages"]]
    parts = {kind: {"it": part} for kind, part in placed(stages, arrays).items()}
    running = Detection(parts, shared, remembered)

    def flags(prompt: str) -> bool:
        scores = running(View.of_text(prompt), frozenset({"it"}))
        return any(score.flags for score in scores.values())

    assert 0 < len(record["positives"]) <= SELF_TESTS
    assert all(map(flags, record["positives"]))
    assert len(record["negatives"]) == SELF_TESTS
    assert not any(map(flags, record["negatives"]))
    assert set(record["negatives"]) <= {row.prompt for row in rows.retain}


def test_each_stage_that_flags_is_tried(remembered: Remembered) -> None:
    """Names must not be all that a live guard is asked about."""
    nameless = [(question.replace(PERSON, "the glazier"), a) for question, a in PERSON_ROWS[:12]]
    record, _ = fit(target(), examples(forget=nameless), remembered)
    named, asked = f"Who is {PERSON}?", {question for question, _ in nameless}
    assert named in record["positives"]
    assert asked & set(record["positives"])


@pytest.mark.parametrize("name", [PERSON, "The Frost Glazier"])
def test_names_are_asked_about_before_questions(remembered: Remembered, name: str) -> None:
    record, _ = fit(target("lexical"), examples(names=(name,)), remembered)
    assert record["positives"][0] == f"Who is {name}?"


def test_few_neighbours_are_filled_up_with_everyday_prompts(remembered: Remembered) -> None:
    record, _ = fit(target("lexical"), examples(retain=PERSON_NEIGHBOURS[:1]), remembered)
    first, *others = record["negatives"]
    assert first == PERSON_NEIGHBOURS[0][0]
    assert len(others) == 2 and set(others) <= {row.prompt for row in everyday(None)}


# What is refused.


def test_what_is_not_settled_is_refused(remembered: Remembered) -> None:
    bare = Target(id="it", names=(PERSON,))
    for one in (bare, bare.model_copy(update={"detect": DetectChoice()})):
        with pytest.raises(PolicyError, match="not settled"):
            fit_target(one, examples(), {}, remembered, lambda line: None)


@pytest.mark.parametrize("kind", ["lexical", "similarity", "cascade"])
def test_nothing_to_calibrate_on_is_refused(remembered: Remembered, kind: str) -> None:
    with pytest.raises(DataError, match="retain: give a file of neighbours"):
        fit(target(kind), examples(retain=()), remembered)


@pytest.mark.parametrize("kind", ["similarity", "multilingual", "classifier", "ood"])
def test_nothing_to_go_by_is_refused(remembered: Remembered, kind: str) -> None:
    with pytest.raises(DataError, match=f"detector '{kind}' has nothing to go by: give a forget"):
        fit(target(kind), examples(forget=()), remembered)


def test_too_few_everyday_prompts_are_refused(remembered: Remembered) -> None:
    with pytest.raises(DataError, match=r"cannot vouch for a false-positive rate of 0.001: it"):
        fit(target(max_false_positive_rate=0.001), examples(), remembered)


def test_a_guard_that_flags_nothing_of_its_own_is_refused(
    remembered: Remembered, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(picking, "Detection", Fixed(flagged=()))
    with pytest.raises(DataError, match="flags none of the target's own prompts") as error:
        fit(target("lexical"), examples(), remembered)
    assert PERSON not in str(error.value)


def test_a_guard_that_flags_every_neighbour_is_refused(
    remembered: Remembered, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even where no everyday prompt is flagged."""
    rows = examples()
    asked = [row.prompt for row in (*rows.forget, *rows.retain)]
    monkeypatch.setattr(picking, "Detection", Fixed(flagged=asked))
    with pytest.raises(DataError, match="flags every neighbour"):
        fit(target("lexical"), rows, remembered)
    monkeypatch.setattr(picking, "Detection", Fixed(flagged=asked[:-1]))
    record, _ = fit(target("lexical"), rows, remembered)
    assert record["negatives"][0] == asked[-1] and len(record["negatives"]) == SELF_TESTS


class Fixed:
    """Stands for a running detection that flags some prompts."""

    def __init__(self, flagged: Sequence[str]) -> None:
        self.flagged = set(flagged)

    def __call__(self, *_: object) -> Any:
        from guard.decision import Score

        def decide(view: View, targets: frozenset[str]) -> dict[str, Score]:
            return {"it": Score(float(view.text in self.flagged), 0.5, "lexical")}

        return decide


# What an operator is told.


def stage(kind: str = "similarity", **changes: Any) -> StageRecord:
    calibration = {"rows": [40, 30, 999], "detected": 0.9, "neighbours_flagged": 0.1}
    empty: dict[str, Any] = {"data": {}, "arrays": {}, "scores": {}, "threshold": 0.5, "sure": 1}
    record = {**empty, "kind": kind, "floor": None, "sieve": None, "calibration": calibration}
    return StageRecord.model_validate({**record, **changes})


def test_remarks() -> None:
    assert remarks(stage()) == [
        "similarity flags, of the held-out rows: forget rows 90%, neighbours 10%"
    ]
    unknown = {"rows": [0, 0, 999], "detected": None, "neighbours_flagged": None}
    assert remarks(stage("lexical", calibration=unknown)) == [
        "lexical flags, of the held-out rows: none"
    ]
    few_rows = {"rows": [40, 19, 999], "detected": 0.9, "neighbours_flagged": 0.1}
    _, warning = remarks(stage(calibration=few_rows))
    assert warning.startswith("warning: similarity: 40 forget and 19 retain rows are few; give 20")
    sieve = {"floor": 0.1, "missed": 0.002, "missed_upper": 0.01, "passed": 0.05}
    glance = stage("static", threshold=None, calibration=None, floor=0.1, sieve=sieve)
    assert remarks(glance) == [
        "static dismisses 95.0% of everyday prompts and 0.2% of the held-out forget rows"
    ]


# Encoding each text once.


class Counting:
    """Counts what is encoded."""

    folder = "nowhere"

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, texts: Sequence[str]) -> Vectors:
        self.asked.extend(texts)
        return np.array([[len(text), 1.0] for text in texts], np.float32).reshape(-1, 2)


def test_each_text_is_encoded_once() -> None:
    counting = Counting()
    encode = Remembered(counting)  # type: ignore[arg-type]
    assert encode(["a", "bb", "a"]).tolist() == [[1, 1], [2, 1], [1, 1]]
    assert encode(["bb", "ccc"]).tolist() == [[2, 1], [3, 1]]
    assert encode([]).shape == (0, 2)
    assert counting.asked == ["a", "bb", "ccc", "-"]
    assert encode.folder == "nowhere"


def test_everyday_prompts_come_from_their_cache_once_most_are_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cached: list[list[str]] = []

    def vectors(encoder: Any, texts: Sequence[str]) -> Vectors:
        cached.append(list(texts))
        return np.full((len(texts), 2), 7, np.float32)

    monkeypatch.setattr("guard.compile.everyday_vectors", vectors)
    counting = Counting()
    encode = Remembered(counting, ["x", "yy", "z"])  # type: ignore[arg-type]
    assert encode(["x", "a"]).tolist() == [[1, 1], [1, 1]]  # a row that happens to be one
    assert cached == [] and counting.asked == ["x", "a"]
    assert encode(["yy", "bb", "x", "x"]).tolist() == [[7, 7], [2, 1], [7, 7], [7, 7]]
    assert cached == [["x", "yy", "z"]] and counting.asked == ["x", "a", "bb"]
    encode(["x", "yy", "z", "bb"])
    assert len(cached) == 1 and counting.asked == ["x", "a", "bb"]


def test_what_leaves_no_doubt_scores_above_every_row_that_must_be_kept(
    remembered: Remembered,
) -> None:
    record, arrays = fit(target(), examples(), remembered)
    for stage in record["stages"]:
        if stage["threshold"] is None:
            assert stage["sure"] is None
            continue
        scores = {side: arrays[file] for side, file in stage["scores"].items()}
        highest = np.nanmax(scores["neighbours"])
        assert stage["sure"] >= stage["threshold"] and stage["sure"] > highest


def test_targets_of_one_kind_name_the_same_encoder(remembered: Remembered) -> None:
    """They share it: the first target's would silently be everybody's."""
    one = target("classifier")
    other = target("classifier", encoder="elsewhere").model_copy(update={"id": "other"})
    examples = Examples((), (), (), ())
    with pytest.raises(DataError, match=r"target other: detect: encoder: .* share one"):
        share([(one, examples), (other, examples)], remembered, {})


def test_where_no_prompt_is_judged_only_answers_are(remembered: Remembered) -> None:
    rows = examples()
    off = DetectChoice.model_validate("off")
    bare = target().model_copy(update={"detect": off})
    with pytest.raises(DataError, match="nothing would guard it; give an 'output'"):
        fit_target(bare, rows, {}, remembered, lambda line: None)
    output = OutputChoice.model_validate({"check": "exact"})
    record, _ = fit_target(
        bare.model_copy(update={"output": output}), rows, {}, remembered, lambda line: None
    )
    assert record["stages"] == [] and record["positives"] == []
    assert 0 < len(record["negatives"]) <= SELF_TESTS
    assert record["output"]["checks"][0]["kind"] == "exact"
