"""The classifier: independent targets, honest held-out scores, an encoder tuned or not."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from safetensors.numpy import load_file, save_file

import guard
from guard.data import Row, read_rows
from guard.detectors import classifier as module
from guard.detectors.base import Encode, Examples, Fitted, Parts, Placed, Vectors
from guard.detectors.classifier import Classifier, ClassifierOptions
from guard.encoder import Encoder
from guard.view import View, Window
from tests.material import (
    BOOK_NEIGHBOURS,
    BOOK_PASSAGES,
    BOOK_ROWS,
    PERSON_NEIGHBOURS,
    PERSON_PARAPHRASES,
    PERSON_ROWS,
    UNRELATED,
)

PACKAGE = Path(guard.__file__).parent
BACKGROUND = tuple(read_rows(PACKAGE / "background.jsonl"))[::3]


def demo(subject: str) -> Examples:
    forget, retain = (
        tuple(read_rows(PACKAGE / "demo" / subject / f"{side}.jsonl"))
        for side in ("forget", "retain")
    )
    return Examples((), forget, retain, BACKGROUND)


def as_rows(pairs: Sequence[tuple[str, str]]) -> tuple[Row, ...]:
    return tuple(Row(*pair) for pair in pairs)


PERSON = Examples((), as_rows(PERSON_ROWS), as_rows(PERSON_NEIGHBOURS), BACKGROUND)
BOOK = Examples(
    (), (*map(Row, BOOK_PASSAGES), *as_rows(BOOK_ROWS)), as_rows(BOOK_NEIGHBOURS), BACKGROUND
)
FROZEN = ClassifierOptions()


def fit(examples: Examples, encode: Encode, shared: Parts | None = None) -> Fitted:
    fitted = Classifier.fit(examples, FROZEN, encode, shared)
    assert fitted is not None
    return fitted


def finite(scores: Sequence[float]) -> list[float]:
    return [score for score in scores if np.isfinite(score)]


def placed(fitted: Fitted) -> Placed:
    """Placed at log-odds of nothing, or above every everyday prompt."""
    return Placed(fitted.parts, max(0.0, *finite(fitted.background)))


def scores(detector: Classifier, target: str, texts: Sequence[str]) -> list[float]:
    asked = frozenset({target})
    return [detector.score(View.of_text(text), asked)[target].value for text in texts]


class Remembering:
    """Encodes each text once, as compiling does: the tests fit the same rows again and again."""

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder
        self.folder = encoder.folder
        self.seen: dict[str, Vectors] = {}

    def __call__(self, texts: Sequence[str]) -> Vectors:
        new = [text for text in dict.fromkeys(texts) if text not in self.seen]
        if new:
            self.seen.update(zip(new, self.encoder(new), strict=True))
        return np.stack([self.seen[text] for text in texts])


@pytest.fixture(scope="module")
def encode(encode: Encoder) -> Remembering:
    """The real sentence encoder."""
    return Remembering(encode)


@pytest.fixture(scope="module")
def person(encode: Encode) -> Fitted:
    return fit(PERSON, encode)


@pytest.fixture(scope="module")
def book(encode: Encode) -> Fitted:
    return fit(BOOK, encode)


@pytest.fixture(scope="module")
def both(person: Fitted, book: Fitted, encode: Encode) -> Classifier:
    return Classifier({"person": placed(person), "book": placed(book)}, encode)


@pytest.fixture(scope="module")
def tuned(encode: Encode) -> Parts:
    """An encoder tuned for the person alone."""
    options = ClassifierOptions(tune=True, epochs=2)
    shared = Classifier.share({"person": PERSON}, options, encode)
    assert shared is not None
    return shared


@pytest.fixture(scope="module")
def on_tuned(encode: Encode, tuned: Parts) -> Fitted:
    return fit(PERSON, encode, tuned)


# What it finds.


def test_the_target_is_told_from_its_neighbours(both: Classifier) -> None:
    own = [*PERSON_PARAPHRASES, *(question for question, _ in PERSON_ROWS)]
    threshold = both.targets["person"].threshold
    assert np.mean(np.array(scores(both, "person", own)) >= threshold) >= 0.95
    rest = [*UNRELATED, *(question for question, _ in [*PERSON_NEIGHBOURS, *BOOK_ROWS])]
    assert np.mean(np.array(scores(both, "person", rest)) >= threshold) <= 0.05


@pytest.mark.parametrize("subject", ["newton", "shakespeare"])
def test_rows_that_were_held_out_are_told_apart(subject: str, encode: Encode) -> None:
    from sklearn.metrics import roc_auc_score

    fitted = fit(demo(subject), encode)
    rest = [*fitted.neighbours, *fitted.background]
    labels = np.repeat([1, 0], [len(fitted.positives), len(rest)])
    assert roc_auc_score(labels, [*fitted.positives, *rest]) > 0.97


def test_a_target_of_many_people_has_a_head_for_each(encode: Encode) -> None:
    alone = fit(demo("newton"), encode)
    mixed = Examples(
        (),
        (*demo("newton").forget, *PERSON.forget, *BOOK.forget),
        (*demo("newton").retain, *PERSON.retain, *BOOK.retain),
        BACKGROUND,
    )
    together = fit(mixed, encode)
    assert len(together.parts.arrays["biases"]) > len(alone.parts.arrays["biases"])
    assert np.mean(np.array(together.positives) > max(together.background)) > 0.9


# Targets do not touch one another.


class Table:
    """An encoder of known vectors: text "i" has the vector of row i."""

    folder = ""

    def __init__(self, vectors: Vectors) -> None:
        self.vectors = vectors

    def __call__(self, texts: Sequence[str]) -> Vectors:
        return self.vectors[[int(text) for text in texts]]


@given(st.integers(0, 2**32), st.integers(1, 30), st.integers(1, 400), st.integers(1, 40))
def test_other_targets_do_not_show_in_a_score(
    seed: int, targets: int, width: int, windows: int
) -> None:
    """To the last bit, however many they are and whatever shape the matrices get."""
    random = np.random.default_rng(seed)
    heads = random.integers(1, 5, size=targets)
    parts = {
        f"t{n}": Placed(
            Parts(
                arrays={
                    "weights": (20 * random.normal(size=(count, width))).astype(np.float32),
                    "biases": random.normal(size=count).astype(np.float32),
                }
            ),
            0.0,
        )
        for n, count in enumerate(heads)
    }
    encode = Table(random.normal(size=(windows, width)).astype(np.float32))
    asked = [Window(str(n), 0, 1) for n in range(windows)]
    all_at_once = Classifier(parts, encode).window_scores(asked, frozenset(parts))
    for target, part in parts.items():
        alone = Classifier({target: part}, encode).window_scores(asked, frozenset({target}))
        assert [found[target] for found in all_at_once] == [found[target] for found in alone]
        weights, biases = part.parts.arrays["weights"], part.parts.arrays["biases"]
        plain = (encode.vectors @ weights.T + biases).max(axis=1)
        assert [found[target] for found in alone] == pytest.approx(plain, rel=1e-3, abs=1e-3)


def test_only_the_targets_asked_for_are_scored(both: Classifier) -> None:
    windows = View.of_text(PERSON_ROWS[0][0]).windows
    assert [set(found) for found in both.window_scores(windows, frozenset({"book"}))] == [{"book"}]
    assert both.window_scores((), frozenset({"book"})) == []


def test_a_target_is_added_without_retraining(
    encode: Encode, tuned: Parts, on_tuned: Fitted
) -> None:
    """The encoder was tuned for another target; heads of both are fitted on it, each alone."""
    before = {name: array.copy() for name, array in tuned.arrays.items()}
    added = fit(BOOK, encode, tuned)
    again = fit(PERSON, encode, tuned)
    assert all(np.array_equal(before[name], array) for name, array in tuned.arrays.items())
    for name, array in on_tuned.parts.arrays.items():
        assert np.array_equal(array, again.parts.arrays[name])
    grown = Classifier({"person": placed(on_tuned), "book": placed(added)}, encode, tuned)
    alone = Classifier({"person": placed(on_tuned)}, encode, tuned)
    own = [*PERSON_PARAPHRASES, *UNRELATED]
    assert scores(grown, "person", own) == scores(alone, "person", own)
    assert np.mean(np.array(scores(grown, "person", PERSON_PARAPHRASES)) > 0) == 1.0
    assert np.mean(np.array(scores(grown, "book", BOOK_PASSAGES)) > 0) >= 0.8
    assert max(scores(grown, "book", UNRELATED)) < 0


# How it is fitted.


def test_the_same_rows_give_the_same_heads(person: Fitted, encode: Encode) -> None:
    again = fit(PERSON, encode)
    assert again.positives == person.positives and again.background == person.background
    for name, array in person.parts.arrays.items():
        assert array.dtype == np.float32
        assert np.array_equal(array, again.parts.arrays[name])


def test_a_bundle_gets_heads_and_nothing_of_the_rows(person: Fitted) -> None:
    assert person.parts.data == {}
    assert set(person.parts.arrays) == {"weights", "biases"}
    weights, biases = (person.parts.arrays[name] for name in ("weights", "biases"))
    assert weights.shape == (len(biases), 384) and len(biases) < len(PERSON.forget)


def test_a_row_is_scored_by_heads_that_never_saw_it(person: Fitted, encode: Encode) -> None:
    detector = Classifier({"it": placed(person)}, encode)
    seen = scores(detector, "it", [row.prompt for row in PERSON.forget])
    assert np.mean(person.positives) < np.mean(seen) - 0.1
    assert len(person.positives) == len(PERSON.forget)
    assert len(person.neighbours) == len(PERSON.retain)
    assert len(person.background) == len(BACKGROUND)


def test_a_copy_vouches_for_nobody(encode: Encode) -> None:
    """A stray row scores as low with copies of itself around as it does without."""
    stray = Row("Which is the best way to grow tomatoes on a balcony?")
    copies = (stray, Row(stray.prompt.upper()), Row(stray.prompt + " "))
    one = Examples((), (*PERSON.forget, stray), PERSON.retain, BACKGROUND)
    several = Examples((), (*PERSON.forget, *copies), PERSON.retain, BACKGROUND)
    lowest = min(fit(one, encode).positives[:-1])
    assert fit(one, encode).positives[-1] < lowest
    assert max(fit(several, encode).positives[-3:]) < lowest


def test_rows_that_tuned_the_encoder_have_no_say(on_tuned: Fitted) -> None:
    rows = (*PERSON.forget, *PERSON.retain, *BACKGROUND)
    trained = np.array([module._trained(row) for row in rows])
    assert 0.7 < trained.mean() < 0.9
    found = np.array([*on_tuned.positives, *on_tuned.neighbours, *on_tuned.background])
    assert np.isnan(found[trained]).all()
    assert np.isfinite(found[~trained]).mean() > 0.8  # a copy of a trained row has none either


def test_whether_a_row_is_kept_out_is_up_to_the_row() -> None:
    assert module._trained(Row(" Who is  THIS?")) == module._trained(Row("who is this?", "Nobody"))


def test_names_say_nothing_of_prompts(encode: Encode, person: Fitted) -> None:
    name = Row("Odalys Brennick", is_name=True)
    fitted = fit(Examples((), (name, *PERSON.forget), PERSON.retain, BACKGROUND), encode)
    assert np.isnan(fitted.positives[0])
    assert fitted.positives[1:] == person.positives
    for examples in (
        Examples((), (name,), PERSON.retain, BACKGROUND),
        Examples((), PERSON.forget, (), ()),
    ):
        assert Classifier.fit(examples, FROZEN, encode) is None


@pytest.mark.parametrize("forget", [1, 2, 5])
@pytest.mark.parametrize("retain", [0, 1, 4])
def test_tiny_sets_are_fitted(encode: Encode, forget: int, retain: int) -> None:
    fitted = fit(Examples((), PERSON.forget[:forget], PERSON.retain[:retain], BACKGROUND), encode)
    detector = Classifier({"it": placed(fitted)}, encode)
    assert scores(detector, "it", [PERSON.forget[0].prompt])[0] > max(
        scores(detector, "it", UNRELATED)
    )
    assert np.isfinite(fitted.positives).all() or forget == 1


def test_nothing_is_tuned_unless_asked_for(encode: Encode) -> None:
    assert Classifier.share({"person": PERSON}, FROZEN, encode) is None
    empty = Examples((), (), PERSON.retain, BACKGROUND)
    assert Classifier.share({"it": empty}, ClassifierOptions(tune=True), encode) is None


@pytest.mark.parametrize("options", [{"C": 0}, {"C": float("inf")}, {"epochs": 0}, {"rank": 0}])
def test_wrong_options_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        ClassifierOptions.model_validate(options)


# How it runs.


def test_parts_survive_a_file(person: Fitted, tuned: Parts, encode: Encode, tmp_path: Path) -> None:
    save_file(dict(person.parts.arrays), tmp_path / "parts.safetensors")
    save_file(dict(tuned.arrays), tmp_path / "shared.safetensors")
    parts = Parts(arrays=load_file(tmp_path / "parts.safetensors"))
    shared = Parts(arrays=load_file(tmp_path / "shared.safetensors"))
    texts = [*PERSON_PARAPHRASES, *UNRELATED]
    one = Classifier({"it": placed(person)}, encode, tuned)
    two = Classifier({"it": Placed(parts, one.targets["it"].threshold)}, encode, shared)
    assert scores(one, "it", texts) == scores(two, "it", texts)


def test_running_needs_neither_sklearn_nor_torch(person: Fitted, tmp_path: Path) -> None:
    save_file(dict(person.parts.arrays), tmp_path / "parts.safetensors")
    code = (
        "import sys, numpy as np\n"
        "from safetensors.numpy import load_file\n"
        "from guard.detectors.base import Parts, Placed\n"
        "from guard.detectors.classifier import Classifier\n"
        "from guard.view import View\n"
        "encode = lambda texts: np.ones((len(texts), 384), np.float32)\n"
        "parts = Parts(arrays=load_file(sys.argv[1]))\n"
        "detector = Classifier({'it': Placed(parts, 0.0)}, encode)\n"
        "assert detector.score(View.of_text('Hello.'), frozenset({'it'}))\n"
        "print([m for m in ('sklearn', 'torch', 'peft', 'transformers') if m in sys.modules])\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "parts.safetensors")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@given(st.text(max_size=300))
@settings(max_examples=25)
def test_any_text_has_a_finite_score(both: Classifier, text: str) -> None:
    for score in both.score(View.of_text(text), frozenset(both.targets)).values():
        assert np.isfinite(score.value)


@pytest.mark.parametrize("text", ["", "?", "\0", "\ud800 Hello", "a" * 5000, "光" * 600])
def test_a_tuned_encoder_reads_any_text(
    person: Fitted, tuned: Parts, encode: Encode, text: str
) -> None:
    detector = Classifier({"it": placed(person)}, encode, tuned)
    (found,) = detector.window_scores([Window(text, 0, len(text))], frozenset({"it"}))
    assert np.isfinite(found["it"])


def test_a_score_that_is_no_number_is_an_error() -> None:
    """It compares as below every threshold: the text would pass."""
    arrays = {"weights": np.ones((1, 4), np.float32), "biases": np.zeros(1, np.float32)}
    broken = Table(np.full((1, 4), np.nan, np.float32))
    detector = Classifier({"it": Placed(Parts(arrays=arrays), 0.0)}, broken)
    with pytest.raises(ValueError, match="not finite"):
        detector.score(View.of_text("0"), frozenset({"it"}))
