"""O3's detector: what it tells apart, what it learns from, and that parts survive a bundle."""

import importlib.resources
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from safetensors.numpy import load_file, save_file
from sklearn.metrics import roc_auc_score

from guard.data import Row, read_rows
from guard.detectors import ood as module
from guard.detectors.base import Examples, Fitted, Parts, Placed
from guard.detectors.mahalanobis import LayerDistribution
from guard.detectors.ood import Ood, Options, soft_weight
from guard.encoder import Encoder
from guard.errors import DataError
from guard.models import resolve
from guard.view import View, Window
from tests.material import PERSON_NEIGHBOURS, PERSON_PARAPHRASES, PERSON_ROWS, UNRELATED

FROZEN = Options(train=False)
EVERYDAY = 60  # prompts of the background: enough to rank by, and quick
SHORT = Options(epochs=1, rank=2)
IT = frozenset({"it"})


def shipped(name: str) -> tuple[Row, ...]:
    return tuple(read_rows(Path(str(importlib.resources.files("guard") / name))))


def person() -> Examples:
    forget = tuple(Row(question, answer) for question, answer in PERSON_ROWS)
    retain = tuple(Row(question, answer) for question, answer in PERSON_NEIGHBOURS)
    return Examples((), forget, retain, shipped("background.jsonl")[:EVERYDAY])


def newton() -> Examples:
    forget, retain = shipped("demo/newton/forget.jsonl"), shipped("demo/newton/retain.jsonl")
    return Examples((), forget, retain, shipped("background.jsonl")[:EVERYDAY])


def fit(examples: Examples, options: Options, encode: Encoder) -> Fitted:
    fitted = Ood.fit(examples, options, encode)
    assert fitted is not None
    return fitted


@pytest.fixture(scope="module")
def frozen(encode: Encoder) -> Fitted:
    return fit(person(), FROZEN, encode)


@pytest.fixture(scope="module")
def trained(encode: Encoder) -> Fitted:
    return fit(person(), SHORT, encode)


def detector_of(**fitted: Fitted) -> Ood:
    """A detector with these targets, and an encoder of its own to load."""
    targets = {name: Placed(found.parts, 0.0) for name, found in fitted.items()}
    return Ood(targets, Encoder(resolve("builtin:minilm")))


@pytest.fixture(scope="module")
def plain(frozen: Fitted) -> Ood:
    return detector_of(it=frozen)


def scores_of(detector: Ood, texts: Sequence[str], target: str = "it") -> list[float]:
    windows = [Window(text, 0, len(text)) for text in texts]
    found = detector.window_scores(windows, frozenset({target}))
    return [scores[target] for scores in found]


def auc(positives: object, negatives: object) -> float:
    above, below = np.asarray(positives), np.asarray(negatives)
    labels = np.r_[np.ones(len(above)), np.zeros(len(below))]
    return float(roc_auc_score(labels, np.r_[above, below]))


@pytest.mark.parametrize("options", [FROZEN, Options(epochs=2)])
def test_held_out_rows_are_told_from_neighbours(options: Options, encode: Encoder) -> None:
    examples = newton()
    fitted = fit(examples, options, encode)
    # What O3 does, all layers voting, sees sentence shape, and Newton's is Galileo's.
    shape = fit(examples, Options(train=False, layers=None), encode)
    assert auc(fitted.positives, fitted.background) > 0.99
    assert auc(fitted.positives, fitted.neighbours) > 0.92
    assert auc(fitted.positives, fitted.neighbours) > auc(shape.positives, shape.neighbours) + 0.05


def test_paraphrases_score_above_all_other_requests(frozen: Fitted, plain: Ood) -> None:
    paraphrases = scores_of(plain, PERSON_PARAPHRASES)
    assert min(paraphrases) > max(*scores_of(plain, UNRELATED), *frozen.background)
    assert auc(paraphrases, frozen.neighbours) > 0.98


@pytest.mark.parametrize("options", [FROZEN, SHORT])
def test_fitting_is_the_same_twice(options: Options, encode: Encoder) -> None:
    one, two = fit(person(), options, encode), fit(person(), options, encode)
    assert one.parts.data == two.parts.data
    assert one.parts.arrays.keys() == two.parts.arrays.keys()
    assert all(np.array_equal(a, two.parts.arrays[n]) for n, a in one.parts.arrays.items())
    assert one.positives == two.positives and one.background == two.background


def test_kept_rows_take_no_part_in_the_fit(frozen: Fitted, encode: Encoder) -> None:
    examples = person()
    other = Examples((), examples.forget, (Row("How do I boil an egg?"),), (Row("Hello"),))
    fitted = fit(other, FROZEN, encode)
    assert fitted.parts.data == frozen.parts.data
    assert all(np.array_equal(a, frozen.parts.arrays[n]) for n, a in fitted.parts.arrays.items())
    assert fitted.positives == frozen.positives
    assert len(fitted.neighbours) == len(fitted.background) == 1


def test_neighbours_are_scored_as_the_running_detector_scores_them(
    trained: Fitted,
) -> None:
    texts = [question for question, _ in PERSON_NEIGHBOURS]
    assert scores_of(detector_of(it=trained), texts) == pytest.approx(
        list(trained.neighbours), abs=1e-3
    )


def test_a_row_is_scored_by_statistics_of_other_folds() -> None:
    vectors = np.random.default_rng(0).normal(size=(30, 2, 8)).astype(np.float32)
    owner = np.repeat(np.arange(15), 2)  # each row has two texts
    asked = vectors[::2]
    found = module._held_out(asked, vectors, owner, seed=1)
    fold = np.random.default_rng(1).permutation(15) % module.FOLDS
    for row in (0, 8):
        others = vectors[fold[owner] != fold[row]]
        assert len(others) == 24 and not (others == asked[row]).all(axis=(1, 2)).any()
        expected = LayerDistribution.fit(others).scores(asked[row : row + 1])[0]
        assert found[row] == pytest.approx(expected)


def test_the_one_class_svm_weighs_layers_upwards_and_leaves_nu_behind() -> None:
    rng = np.random.default_rng(3)
    for nu in (0.05, 0.3):
        # Far below zero: from there, a plain linear one-class SVM would call near far.
        scores = rng.normal(loc=-500, scale=[1.0, 4.0, 2.0], size=(400, 3))
        weights, bias = module._one_class(scores, nu)
        assert (weights >= 0).all()
        assert (weights * scores.std(axis=0).mean()).sum() == pytest.approx(1)
        assert np.mean(scores @ weights + bias < -1e-6) == pytest.approx(nu, abs=0.02)


@given(st.floats(-1e4, 1e4), st.integers(4, 12))
def test_rows_that_all_score_alike_have_a_boundary_too(value: float, n: int) -> None:
    weights, bias = module._one_class(np.full((n, 3), value), 0.01)
    assert np.isfinite(weights).all() and np.isfinite(bias)
    assert np.full(3, value + 10) @ weights + bias > np.full(3, value - 10) @ weights + bias


@pytest.mark.parametrize("which", ["frozen", "trained"])
def test_parts_survive_safetensors_and_json(
    which: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    fitted: Fitted = request.getfixturevalue(which)
    save_file(dict(fitted.parts.arrays), tmp_path / "parts.safetensors")
    arrays = load_file(tmp_path / "parts.safetensors")
    back = Fitted(Parts(json.loads(json.dumps(fitted.parts.data)), arrays), [], [], [])
    texts = [*PERSON_PARAPHRASES, *UNRELATED]
    assert scores_of(detector_of(it=back), texts) == scores_of(detector_of(it=fitted), texts)
    lora = [name for name in arrays if name.startswith("lora.")]
    assert bool(lora) == (which == "trained")
    assert arrays["forget"].dtype == np.float16
    assert not any(row.prompt in json.dumps(fitted.parts.data) for row in person().forget)


def test_targets_keep_their_own_encoders_and_share_the_frozen_one(
    frozen: Fitted, trained: Fitted, plain: Ood
) -> None:
    detector = detector_of(a=trained, b=frozen, c=frozen)
    windows = [Window(text, 0, len(text)) for text in UNRELATED]
    scores = detector.window_scores(windows, frozenset("abc"))
    assert [s["b"] for s in scores] == pytest.approx(scores_of(plain, UNRELATED))
    assert [s["c"] for s in scores] == [s["b"] for s in scores]
    assert [s["a"] for s in scores] == pytest.approx(scores_of(detector, UNRELATED, "a"))
    assert detector._encoders["b"] is detector._encoders["c"] is not detector._encoders["a"]
    assert detector.window_scores(windows, frozenset("b"))[0].keys() == {"b"}
    assert detector.window_scores([], frozenset("abc")) == []


@settings(max_examples=30)
@given(st.text())
def test_any_text_has_a_finite_score(plain: Ood, text: str) -> None:
    values = [score.value for score in plain.score(View.of_text(text), IT).values()]
    assert np.isfinite([*values, *scores_of(plain, [text])]).all()


def test_the_soft_weight_follows_the_score(frozen: Fitted, plain: Ood) -> None:
    asked = scores_of(plain, [question for question, _ in PERSON_ROWS])
    far = scores_of(plain, UNRELATED)
    assert min(plain.weight("it", score) for score in asked) > 0.99
    assert max(plain.weight("it", score) for score in far) < 0.13
    assert soft_weight(frozen.parts)(far[0]) == plain.weight("it", far[0])
    found = plain.score(View.of_text(PERSON_ROWS[0][0]), IT)["it"]
    assert found.weight == plain.weight("it", found.value) > 0.99


def test_too_few_rows_are_refused_and_none_are_not_for_this_kind(encode: Encoder) -> None:
    names = Examples(("A",), (Row("Odalys Brennick", is_name=True),) * 9, (), ())
    assert Ood.fit(names, FROZEN, encode) is None
    few = Examples((), person().forget[:3], (), ())
    with pytest.raises(DataError, match=r"forget: 3 rows have no distribution; give 4 or more"):
        Ood.fit(few, FROZEN, encode)
    least = fit(Examples((), person().forget[:4], person().retain, ()), FROZEN, encode)
    assert np.isfinite([*least.positives, *least.neighbours]).all()


@pytest.mark.parametrize(
    "options", [{"epochs": 0}, {"nu": 0}, {"nu": 1}, {"layers": 0}, {"rank": 0}, {"contrast": -1}]
)
def test_wrong_options_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        Options.model_validate(options)
