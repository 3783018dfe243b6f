"""The page's plots: the forget–utility plane, and leak@k system by system."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from benchmarks.leakage.shown import RETRAINED, TARGET, Shown
from benchmarks.leakage.written import number
from benchmarks.result import Row
from guard.report.svg import COLOURS, STYLE, svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_CLOSE = 0.02  # of an axis: points no farther apart share a label
_LEAST_QUALITY = 1e-10  # p-values below are all the same
_LINE = 6  # numbers in a line of a label
_CHARACTER = 0.024  # of an axis: what a character of a label is wide, and half of what it is high
_Box = tuple[float, float, float, float]  # left, low, right, high


def plane(shown: Shown, metric: str, numbers: Mapping[str, int], ident: str) -> Markup | None:
    """Draws every system by what it has forgotten and what it still knows.

    Args:
        shown: The figures.
        metric: What stands for forgetting: ``forget_quality``, or the leakage metric.
        numbers: What each system is called in the plot.
        ident: Begins every id in the SVG.

    Returns:
        The plot; None where fewer than two systems have both figures.
    """
    import matplotlib
    from matplotlib.figure import Figure

    quality = metric == "forget_quality"
    points = {}
    for system in shown.systems:
        utility, forgot = shown.get(system, "model_utility", "kept"), shown.get(system, metric)
        if utility is not None and forgot is not None:
            least = _LEAST_QUALITY if quality else 0.0
            points[system] = (utility.value, max(forgot.value, least))
    if len(points) < 2:
        return None
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(4.4, 3.6), layout="constrained")
        figure.patch.set_visible(False)
        axes = figure.subplots()
        axes.patch.set_visible(False)
        axes.set_xlabel("model utility (more is better)")
        if quality:
            axes.set_yscale("log")
            axes.set_ylim(_LEAST_QUALITY / 3, 3)
            axes.set_ylabel("forget quality, p (more is better)")
        else:
            axes.set_ylim(-0.04, 1.06)
            axes.set_ylabel(f"forget {shown.leaks}, {'as learned'}")
        wide = max(x for x, _ in points.values()) or 1.0
        axes.set_xlim(-0.05 * wide, 1.12 * wide)
        if RETRAINED in points:
            x, y = points[RETRAINED]
            for draw, at in ((axes.axvline, x), (axes.axhline, y)):
                draw(at, color=COLOURS["chosen"], lw=1, ls=(0, (4, 3)))
        for system, (x, y) in points.items():
            marker, colour, size = _marker(system)
            axes.plot(x, y, marker, color=colour, ms=size, zorder=3, clip_on=False)
        _labels(axes, points, numbers)
    said = "; ".join(
        f"{system}: utility {number(x)}, {number(y)}" for system, (x, y) in points.items()
    )
    name = "forget quality" if quality else f"forget {shown.leaks}"
    return svg(figure, ident, f"Model utility and {name} of every system", f"{said}.")


def curves(shown: Shown, system: str, ident: str) -> Markup | None:
    """Draws a system's leak@k beside the retrained model's; None where it has none.

    Args:
        shown: The figures.
        system: Whose.
        ident: Begins every id in the SVG.
    """
    import matplotlib
    from matplotlib.figure import Figure

    own, ideal = shown.curve(system), shown.curve(RETRAINED)
    if not own:
        return None
    with matplotlib.rc_context({**STYLE, "font.size": 9}):
        figure = Figure(figsize=(1.9, 1.4), layout="constrained")
        figure.patch.set_visible(False)
        axes = figure.subplots()
        axes.patch.set_visible(False)
        axes.set_xscale("log", base=2)
        ticks = shown.counts[::2]
        axes.set_xticks(ticks, [str(k) for k in ticks])
        axes.minorticks_off()
        axes.set_ylim(0, 1)
        axes.set_yticks([0, 0.5, 1], ["0", "0.5", "1"])
        axes.set_xlabel("k")
        if ideal:
            _curve(axes, ideal, "chosen", (0, (4, 2)), "s")
        if system != RETRAINED:
            _curve(axes, own, "forget", "-", "o")
    said = "; ".join(f"leak@{k} {number(row.value)}" for k, row in own)
    beside = "; ".join(f"leak@{k} {number(row.value)}" for k, row in ideal)
    words = f"{said}." + (f" The retrained model: {beside}." if ideal else "")
    return svg(figure, ident, f"leak@k of {system}", words)


def _curve(
    axes: "Axes", rows: Sequence[tuple[int, Row]], colour: str, dashes: Any, marker: str
) -> None:
    counts, values = [k for k, _ in rows], [row.value for _, row in rows]
    axes.plot(counts, values, marker=marker, ms=4, color=COLOURS[colour], ls=dashes, lw=1.6,
              clip_on=False)  # fmt: skip
    bounded = [(k, row.low, row.high) for k, row in rows]
    held = [(k, low, high) for k, low, high in bounded if low is not None and high is not None]
    if held:
        x, low, high = zip(*held, strict=True)
        axes.fill_between(x, low, high, color=COLOURS[colour], alpha=0.18, lw=0)


def _marker(system: str) -> tuple[str, str, float]:
    """Shape, colour and size of a system's point: the models compared with are told by shape."""
    special = {RETRAINED: ("*", COLOURS["chosen"], 14.0), TARGET: ("D", COLOURS["forget"], 7.0)}
    return special.get(system, ("o", COLOURS["neighbours"], 6.0))


def _labels(
    axes: "Axes", points: Mapping[str, tuple[float, float]], numbers: Mapping[str, int]
) -> None:
    """Writes systems' numbers beside their points, together where points lie on each other."""
    to_axes = axes.transData + axes.transAxes.inverted()
    groups: list[tuple[tuple[float, float], list[int]]] = []
    for system, point in points.items():
        x, y = (float(at) for at in to_axes.transform(point))
        for (near_x, near_y), members in groups:
            if abs(x - near_x) < _CLOSE and abs(y - near_y) < _CLOSE:
                members.append(numbers[system])
                break
        else:
            groups.append(((x, y), [numbers[system]]))
    taken: list[_Box] = [(x - 0.015, y - 0.02, x + 0.015, y + 0.02) for (x, y), _ in groups]
    for (x, y), members in groups:
        names = [str(one) for one in sorted(members)]
        lines = [", ".join(names[at : at + _LINE]) for at in range(0, len(names), _LINE)]
        wide, high = _CHARACTER * max(map(len, lines)), _CHARACTER * 2 * len(lines)
        boxes = [
            (left, low, left + wide, low + high)
            for left in (x + 0.025, x - 0.025 - wide)
            for low in (y, y - high, y - high / 2)
        ]
        middle = x - wide / 2
        boxes += [(middle, low, middle + wide, low + high) for low in (y + 0.03, y - 0.03 - high)]
        box = min(boxes, key=lambda one: _covered(one, taken))
        taken.append(box)
        axes.text(
            box[0], box[1], ",\n".join(lines), transform=axes.transAxes, fontsize=9, va="bottom"
        )


def _covered(box: _Box, taken: Sequence[_Box]) -> float:
    """How much of a box others cover, or lies beyond the plot, in parts of the axes."""
    left, low, right, high = box
    over = max(0.0, -left) + max(0.0, right - 1.08) + max(0.0, -low) + max(0.0, high - 1.04)
    shared = (
        max(0.0, min(right, other[2]) - max(left, other[0]))
        * max(0.0, min(high, other[3]) - max(low, other[1]))
        for other in taken
    )
    return over + sum(shared)
