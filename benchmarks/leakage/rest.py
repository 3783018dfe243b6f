"""All else that was measured of what was asked as it is: a line for each metric and split."""

from benchmarks.leakage.shown import FORGET, QUALITY, RETAIN, RETRAINED, TARGET, Shown
from benchmarks.leakage.written import PARTS, UTILITY, Lines, number, shares
from benchmarks.metrics import METRICS

COLUMNS = 6  # of systems in a table, beside the models that are compared with
_BESIDE = ("blocked", "failed", "unscored", PARTS)  # stand beside other figures
_BETTER = {"higher": "higher", "lower": "lower", "retrained": "as retrained"}


def rest_tables(shown: Shown) -> list[Lines]:
    """Returns the headings and the lines of what no other table shows; none where that is all.

    A line names the metric, the split (and of how many cases a figure is), and what a good system's
    value is like. There are no intervals: those are in the result.
    """
    above = {
        (shown.leak, FORGET), (shown.leak, RETAIN), ("unchanged", RETAIN), (UTILITY, "kept"),
        *((metric, FORGET) for metric in ("probability", "truth_ratio", QUALITY)),
    }  # fmt: skip
    if any(shown.get(system, "entity_leakage", FORGET, attack)
           for system in shown.systems for attack in shown.attacks if attack):  # fmt: skip
        above.add(("entity_leakage", FORGET))
    wanted = [one for one in shown.unattacked() if one not in above and one[0] not in _BESIDE]
    wanted.sort(key=lambda one: _place(one[0]))
    if not wanted:
        return []
    return [
        (
            ["asked as it is", "of", "better", *systems],
            [
                [
                    metric,
                    f"{split}{_number(shown, metric, split)}",
                    _better(metric),
                    *(_written(shown, system, metric, split) for system in systems),
                ]
                for metric, split in wanted
            ],
        )
        for systems in side_by_side(shown)
    ]


def _number(shown: Shown, metric: str, split: str) -> str:
    """Of how many cases a figure is, in the system with most."""
    most = _most(shown, metric, split)
    return f" ({most})" if most else ""


def _most(shown: Shown, metric: str, split: str) -> int:
    rows = [shown.get(system, metric, split) for system in shown.systems]
    return max((row.n or 0 for row in rows if row is not None), default=0)


def _written(shown: Shown, system: str, metric: str, split: str) -> str:
    """A figure without its interval, and what it does not stand on where others do."""
    row = shown.get(system, metric, split)
    if row is None:
        return "–"
    size = abs(row.value)
    told = number(row.value, 3 if size < 10 else 1 if size < 100 else 0)
    notes = shares(shown, system, None, split)
    if row.n is not None and row.n < _most(shown, metric, split):
        notes.append(f"{row.n} of {_most(shown, metric, split)}")
    return f"{told} [{', '.join(notes)}]" if notes else told


def side_by_side(shown: Shown) -> list[list[str]]:
    """Returns the systems of each table, as many as can be read side by side.

    The models that are compared with are in each.
    """
    models = [name for name in (TARGET, RETRAINED) if name in shown.systems]
    others = [system for system in shown.ranked() if system not in models]
    some = [others[at : at + COLUMNS] for at in range(0, len(others), COLUMNS)] or [[]]
    return [models + systems for systems in some]


def _place(metric: str) -> int:
    """Where a figure stands: as the metrics are registered."""
    for at, one in enumerate(METRICS.values()):
        if metric in one.FIGURES:
            return at
    return len(METRICS)


def _better(metric: str) -> str:
    for one in METRICS.values():
        if metric in one.FIGURES:
            return _BETTER[one.FIGURES[metric]]
    return "–"
