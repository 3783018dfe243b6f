"""The glance: cheap, dismisses what is far, never flags, each target for itself."""

import math
import time
from dataclasses import replace

import numpy as np
import pytest

from guard.data import Row
from guard.detectors.base import DetectOptions, Examples, Parts, Placed
from guard.detectors.static import Static
from guard.detectors.terms import terms
from guard.errors import ModelError
from guard.view import View
from tests.detectors.conftest import Fits
from tests.material import (
    BOOK_PASSAGES,
    BOOK_ROWS,
    PERSON_PARAPHRASES,
    PERSON_ROWS,
    PERSON_WITHOUT_NAME,
    UNRELATED,
)

ALL = frozenset({"person", "book"})
TEXTS = [
    *UNRELATED,
    *PERSON_PARAPHRASES,
    *PERSON_WITHOUT_NAME,
    *BOOK_PASSAGES,
    *(question for question, _ in (*PERSON_ROWS, *BOOK_ROWS)),
]


def placed(fits: Fits, floor: float | None = None) -> dict[str, Placed]:
    parts = fits.stages(["person", "book"])["static"]
    return {t: p if floor is None else replace(p, floor=floor) for t, p in parts.items()}


def glance(fits: Fits, targets: dict[str, Placed] | None = None) -> Static:
    return Static(targets or placed(fits), fits.encode, fits.shared["static"])


def scores(detector: Static, text: str) -> list[dict[str, float]]:
    return detector.window_scores(View.of_text(text).windows, ALL)


def test_it_dismisses_and_never_flags(fits: Fits) -> None:
    assert Static.dismisses and not Static.flags
    for part in placed(fits).values():
        assert part.threshold == math.inf and math.isfinite(part.floor)
    detector = glance(fits)
    for text in TEXTS:
        assert not any(s.flags for s in detector.score(View.of_text(text), ALL).values())


def test_its_own_prompts_go_on_and_most_others_do_not(fits: Fits) -> None:
    detector = glance(fits)
    for text in (*PERSON_PARAPHRASES, *PERSON_WITHOUT_NAME, *(q for q, _ in PERSON_ROWS)):
        assert any("person" in found for found in scores(detector, text)), text
    for text in BOOK_PASSAGES:
        assert any("book" in found for found in scores(detector, text))
    passed = [any(scores(detector, row.prompt)) for row in fits.everyday]
    assert np.mean(passed) < 0.25


def test_what_lies_below_the_floor_is_left_out(fits: Fits) -> None:
    """And what does not is all there: the floor chooses, it changes no score."""
    everything = glance(fits, placed(fits, -math.inf))
    for floor in (-3.0, -1.0, 0.0, 2.0):
        some = glance(fits, placed(fits, floor))
        for text in TEXTS:
            for found, full in zip(scores(some, text), scores(everything, text), strict=True):
                assert full.keys() == ALL
                assert found == {t: value for t, value in full.items() if value >= floor}


def test_a_target_is_scored_for_itself(fits: Fits) -> None:
    """Bit by bit the same whichever targets there are beside it."""
    full = placed(fits, -math.inf)
    both = glance(fits, full)
    for target in full:
        alone = glance(fits, {target: full[target]})
        many = {f"other{n}": full["book"] for n in range(7)}
        crowd = glance(fits, {**many, target: full[target], "last": full["person"]})
        for text in TEXTS:
            expected = [found[target] for found in scores(both, text)]
            assert [found[target] for found in scores(alone, text)] == expected
            assert [found[target] for found in scores(crowd, text)] == expected


def test_a_score_is_what_the_fit_calls_it(fits: Fits) -> None:
    """The running detector and the calibration must mean the same by a score."""
    examples = fits.examples["person"]
    fitted = Static.fit(examples, DetectOptions(), fits.encode, fits.shared["static"])
    assert fitted is not None
    detector = glance(fits, {"person": Placed(fitted.parts, math.inf)})
    kept = [row.prompt for row in examples.background if len(View.of_text(row.prompt).windows) == 1]
    found = [scores(detector, text)[0]["person"] for text in kept]
    by_text = dict(zip((r.prompt for r in examples.background), fitted.background, strict=True))
    # The words of a kept row are weighed without that row: for everyday rows next to no difference.
    assert np.median(np.abs(np.array(found) - [by_text[text] for text in kept])) < 0.05


def test_scores_are_held_out(fits: Fits) -> None:
    examples = fits.examples["person"]
    fitted = Static.fit(examples, DetectOptions(), fits.encode, fits.shared["static"])
    assert fitted is not None
    assert len(fitted.positives) == len(examples.forget)
    assert len(fitted.neighbours) == len(examples.retain)
    assert len(fitted.background) == len(examples.background)
    detector = glance(fits, {"person": Placed(fitted.parts, math.inf)})
    there = [scores(detector, row.prompt)[0]["person"] for row in examples.forget]
    assert all(out <= full + 1e-3 for out, full in zip(fitted.positives, there, strict=True))
    assert np.mean(fitted.positives) < np.mean(there) - 0.2


def test_few_telling_words_count(fits: Fits) -> None:
    """A long text must not reach a target by many words that each say a little."""
    detector = glance(fits, placed(fits, -math.inf))
    gains = detector._gain(" ".join(q + " " + a for q, a in PERSON_ROWS))
    own = placed(fits)["person"].parts.arrays["gains"]
    assert gains[0] == pytest.approx(np.sort(own)[-4:].sum(), rel=1e-5)
    assert detector._gain("").tolist() == [0.0, 0.0]
    assert detector._gain("Odalys")[1] == 0.0


def test_only_hashes_of_words_are_kept(fits: Fits) -> None:
    arrays = placed(fits)["person"].parts.arrays
    assert arrays["words"].dtype == np.uint64
    assert set(arrays["words"].tolist()) & set(terms("Odalys Brennick"))
    assert set(arrays) == {"vectors", "words", "gains"}
    assert (arrays["gains"] > 0).all()


def test_tiny_sets_are_fitted(fits: Fits) -> None:
    forget, retain, everyday = (
        fits.examples["person"].forget,
        fits.examples["person"].retain,
        fits.everyday,
    )
    for m, n in ((1, 1), (2, 1), (1, 0), (3, 2)):
        examples = Examples((), forget[:m], retain[:n], everyday[:2])
        fitted = Static.fit(examples, DetectOptions(), fits.encode, fits.shared["static"])
        assert fitted is not None
        assert np.isnan(fitted.positives).all() == (m == 1)  # a lone row has no others
        assert len(fitted.positives) == m and len(fitted.neighbours) == n
        detector = glance(fits, {"it": Placed(fitted.parts, math.inf)})
        assert all(np.isfinite(found["it"]) for found in scores(detector, forget[0].prompt))


def test_nothing_to_fit(fits: Fits) -> None:
    names = Examples(("A",), (Row("Isaac Newton", is_name=True),), (), fits.everyday)
    shared = fits.shared["static"]
    assert Static.fit(names, DetectOptions(), fits.encode, shared) is None
    person = fits.examples["person"]
    assert Static.fit(person, DetectOptions(), fits.encode, None) is None


def test_another_encoder_is_refused(fits: Fits) -> None:
    other = Parts(arrays={"weights": np.ones(9, np.float32)})
    with pytest.raises(ModelError, match="compiled with"):
        Static(placed(fits), fits.encode, other)


def test_it_is_a_glance(fits: Fits) -> None:
    """Far below a millisecond on a free core; what runs the encoder takes ten times as long."""
    detector = glance(fits)
    views = [View.of_text(text).windows for text in TEXTS]
    for windows in views:
        detector.window_scores(windows, ALL)
    taken = []
    for windows in views * 3:
        start = time.process_time()
        detector.window_scores(windows, ALL)
        taken.append(time.process_time() - start)
    assert np.median(taken) < 0.003
