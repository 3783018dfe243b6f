"""What is committed agrees with figures that other code recorded of the same models."""

from itertools import chain

import pytest

from benchmarks.result import RESULTS, Row, read

# README of the models of `tofu-mini`, with transformers in bfloat16: ROUGE-L recall, probability
# and truth ratio of the forget questions as they were learned, and ROUGE-L of the retain ones.
RECORDED = {
    "base": (0.355, 0.140, 0.892, 0.335),
    "target": (0.997, 0.990, 0.584, 1.000),
    "retrained": (0.360, 0.106, 0.886, 1.000),
}
TOLERANCES = (0.02, 0.02, 0.03, 0.02)
FIGURES = (
    ("rouge_l", "forget"),
    ("probability", "forget"),
    ("truth_ratio", "forget"),
    ("rouge_l", "retain"),
)


@pytest.fixture(scope="module")
def rows() -> dict[tuple[str, str, str], Row]:
    """Figures of what was asked as it is, by system, metric and split."""
    results = [read(path) for path in sorted(RESULTS.glob("leakage*.json"))]
    return {
        (row.system, row.metric, (row.split or "").removeprefix("tofu-mini: ")): row
        for row in chain.from_iterable(result.rows for result in results)
        if row.attack is None and (row.split or "").startswith("tofu-mini: ")
    }


@pytest.mark.parametrize("model", RECORDED)
@pytest.mark.parametrize("at", range(len(FIGURES)), ids=[" ".join(one) for one in FIGURES])
def test_a_model_measures_as_it_was_recorded(
    rows: dict[tuple[str, str, str], Row], model: str, at: int
) -> None:
    row = rows[(model, *FIGURES[at])]
    assert row.n == 40
    assert row.value == pytest.approx(RECORDED[model][at], abs=TOLERANCES[at])
