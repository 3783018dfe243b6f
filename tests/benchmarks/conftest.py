import pytest

from benchmarks.overhead import served_rows
from benchmarks.result import Result, Row
from benchmarks.turns import FULL, SYSTEMS, Turn
from tests.benchmarks.test_result import RESULT
from tests.benchmarks.turns import load_of


@pytest.fixture
def full_result() -> Result:
    """A result with every row that the overhead benchmark gives."""
    turns = [
        Turn(case, system, load_of(first, 0.1 * first), 0)
        for case in FULL.cases
        for first in (1.0, 2.0, 4.0)
        for system in SYSTEMS
    ]
    decisions = [
        Row(system="guard.decide", split=kind, metric=metric, value=1.25, n=9)
        for kind in ("all targets named", "unseen text", "remembered text")
        for metric in ("decide_ms", "decide_ms_p99")
    ]
    rows = [*served_rows("refuse", turns), *served_rows("corrupt", turns), *decisions]
    return RESULT.model_copy(update={"rows": tuple(rows)})
