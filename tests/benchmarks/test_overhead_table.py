from collections.abc import Callable

import pytest

from benchmarks.overhead_table import brief, table
from benchmarks.result import Result
from benchmarks.turns import FULL
from guard.errors import GuardError

TRAFFIC = ("none flagged", "10 % flagged", "all flagged")


def test_table(full_result: Result) -> None:
    text = table(full_result)
    assert text.count("×1.00 (1.00 to 1.00) | ×1.00 (1.00 to 1.00)") == 2 * len(FULL.cases)
    assert "| corrupt | 10 % flagged | 16 |" in text
    shown = [line.split(" | ")[1:3] for line in text.splitlines() if "flagged" in line]
    assert shown == [[kind, n] for kind in TRAFFIC for n in ("1", "16", "32") for _ in range(2)]


@pytest.mark.parametrize("view", [table, brief])
def test_what_is_shown_of_all(view: Callable[[Result], str], full_result: Result) -> None:
    text = view(full_result)
    assert "| unseen text | 1.25 ms | 1.25 ms |" in text
    assert "median of 3 pairs" in text and "324 requests, 0 failed" in text
    assert "2 cores of A CPU, 23.5 GiB" in text


def test_in_brief_a_policy_has_one_line(full_result: Result) -> None:
    """Of two concurrencies, with its own figures: throughput under all traffic, then waiting."""
    rows = list(full_result.rows)
    told = {
        ("corrupt: concurrency 32, all flagged", "throughput_ratio"): 0.5,
        ("corrupt: concurrency 1, none flagged", "ttft_ratio"): 1.5,
        ("corrupt: concurrency 16, 10 % flagged", "throughput_ratio"): 7.0,  # not shown
        ("corrupt: concurrency 1, all flagged", "ttft_ratio"): 7.0,
    }
    for at, row in enumerate(rows):
        if (value := told.get((row.split or "", row.metric))) is not None:
            rows[at] = row.model_copy(update={"value": value, "low": None, "high": None})
    header, _, refuse, corrupt = brief(full_result.model_copy(update={"rows": rows})).splitlines()[
        :4
    ]
    at_once = [f"throughput, {kind}, {n} at once" for kind in TRAFFIC for n in (1, 32)]
    at_once += [f"time to first token, none flagged, {n} at once" for n in (1, 32)]
    assert header == f"| policy | {' | '.join(at_once)} |"
    same = "×1.00 (1.00 to 1.00)"
    assert refuse == f"| refuse | {' | '.join([same] * 8)} |"
    assert corrupt == f"| corrupt | {' | '.join([*[same] * 5, '×0.50', '×1.50', same])} |"


def test_a_figure_that_there_is_none_of_is_a_dash(full_result: Result) -> None:
    rows = tuple(row for row in full_result.rows if row.metric != "itl_ratio")
    text = table(full_result.model_copy(update={"rows": rows}))
    assert text.count("| – |") == 2 * len(FULL.cases)
    of_one = [
        row for row in full_result.rows
        if row.split != "refuse: concurrency 1, 10 % flagged" or row.metric != "throughput_ratio"
    ]  # fmt: skip
    assert brief(full_result.model_copy(update={"rows": of_one})).count("| – |") == 1


@pytest.mark.parametrize("view", [table, brief])
def test_a_split_of_another_form_is_an_error(
    view: Callable[[Result], str], full_result: Result
) -> None:
    rows = [row.model_copy(update={"split": "8 users"}) for row in full_result.rows]
    with pytest.raises(GuardError, match="'8 users' is not of the form"):
        view(full_result.model_copy(update={"rows": rows}))
