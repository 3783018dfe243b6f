"""The views of an overhead result: whole, and in brief for the README."""

import re
from dataclasses import dataclass

from benchmarks.decide import NAMES, REMEMBERED, UNSEEN
from benchmarks.result import Result, Row
from benchmarks.table import figure, markdown, setting
from guard.errors import GuardError

METRICS = {"throughput": "throughput", "ttft": "time to first token", "itl": "between tokens"}
RATIO = "guarded/plain"
_SPLIT = re.compile(r"(?P<policy>.*): concurrency (?P<users>\d+), (?P<traffic>.*)")
_KINDS = {NAMES: "names settle it", UNSEEN: "unseen text", REMEMBERED: "remembered text"}
_NONE = "–"


@dataclass(frozen=True)
class _Cost:
    """The ratios of one policy with one kind of traffic, by metric."""

    policy: str
    traffic: str
    users: int
    ratios: dict[str, Row]

    def of(self, metric: str) -> str:
        row = self.ratios.get(metric)
        return _NONE if row is None else figure(row, "×")


def table(result: Result) -> str:
    """Renders a result: a line for each policy, kind of traffic and concurrency.

    Raises:
        GuardError: A split is not of the form ``corrupt: concurrency 8, none flagged``.
    """
    header = ["policy", "traffic", "concurrency", *METRICS.values()]
    lines = [
        [cost.policy, cost.traffic, str(cost.users), *map(cost.of, METRICS)]
        for cost in sorted(_costs(result), key=lambda cost: (_share(cost.traffic), cost.users))
    ]
    return "\n".join([markdown(header, lines), _decisions(result), _said(result)])


def brief(result: Result) -> str:
    """Renders a result for the README: a line for each policy, at the least and most concurrency.

    Raises:
        GuardError: A split is not of the form ``corrupt: concurrency 8, none flagged``.
    """
    costs = {(cost.policy, cost.traffic, cost.users): cost for cost in _costs(result)}
    users = sorted({users for _, _, users in costs})
    columns = [
        (metric, traffic, number)
        for metric in ("throughput", "ttft")
        for traffic in sorted({traffic for _, traffic, _ in costs}, key=_share)
        if metric == "throughput" or not _share(traffic)
        for number in dict.fromkeys((users[0], users[-1]))
    ]
    header = [f"{METRICS[metric]}, {traffic}, {n} at once" for metric, traffic, n in columns]
    lines = [
        [
            policy,
            *(
                cost.of(metric) if (cost := costs.get((policy, traffic, number))) else _NONE
                for metric, traffic, number in columns
            ),
        ]
        for policy in dict.fromkeys(policy for policy, _, _ in costs)
    ]
    return "\n".join([markdown(["policy", *header], lines), _decisions(result), _said(result)])


def _costs(result: Result) -> list[_Cost]:
    found: dict[str, dict[str, Row]] = {}
    for row in result.rows:
        if row.system == RATIO:
            metric = row.metric.removesuffix("_ratio")
            found.setdefault(row.split or "", {})[metric] = row
    return [_cost(split, ratios) for split, ratios in found.items()]


def _cost(split: str, ratios: dict[str, Row]) -> _Cost:
    match = _SPLIT.fullmatch(split)
    if match is None:
        raise GuardError(
            f"overhead: split {split!r} is not of the form 'corrupt: concurrency 8, …'"
        )
    return _Cost(match["policy"], match["traffic"], int(match["users"]), ratios)


def _share(traffic: str) -> int:
    """How much is flagged, in per cent."""
    words = {"none": 0, "all": 100}
    first = traffic.split(" ")[0]
    return words[first] if first in words else int(first)


def _decisions(result: Result) -> str:
    found = {(row.system, row.split, row.metric): row for row in result.rows}
    return markdown(
        ["one decision", "median", "99 %"],
        [
            [
                label,
                figure(found["guard.decide", kind, "decide_ms"], "ms"),
                figure(found["guard.decide", kind, "decide_ms_p99"], "ms"),
            ]
            for kind, label in _KINDS.items()
        ],
    )


def _said(result: Result) -> str:
    pairs = next(row.n for row in result.rows if row.system == RATIO)
    counts = [row for row in result.rows if row.metric == "failed"]
    asked, failed = sum(row.n or 0 for row in counts), sum(row.value for row in counts)
    return (
        f"Guarded divided by plain: median of {pairs} pairs (lowest to highest); "
        f"{asked} requests, {failed:.0f} failed. {setting(result)}\n"
    )
