"""The report's plots: SVG elements that stand in the page and take their colours from it."""

from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from guard.detectors.calibration import Scores
from guard.report.figures import Stage, roc
from guard.report.svg import COLOURS, STYLE, svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAMES = {"positives": "forget rows", "neighbours": "neighbours", "background": "everyday prompts"}

_SIDES = {"positives": "forget", "neighbours": "neighbours", "background": "everyday"}
_SIZE = (5.2, 3.6)  # inches; the page scales it
_RUG = 50  # rows drawn one by one, from the highest: an outlier is in no bin to be seen


def roc_plot(stage: Stage, name: str, ident: str) -> Markup:
    """Draws the ROC curves of forget rows against everyday prompts and against neighbours.

    Args:
        stage: The stage.
        name: What to call it.
        ident: Begins every id in the SVG, so that they differ from those of other plots.
    """
    import matplotlib

    with matplotlib.rc_context(STYLE):
        figure, (axes,) = _figure(1)
        count = max(len(stage.seen["background"]), len(stage.seen["neighbours"]), 1)
        left = 10 ** np.floor(np.log10(0.5 / count))
        for side, dashes in (("background", "-"), ("neighbours", (0, (4, 2)))):
            if len(stage.seen[side]) and len(stage.seen["positives"]):
                _curve(axes, stage, side, dashes, left)
        found = stage.record.calibration
        if found is not None:
            axes.axvline(found["requested"], color=COLOURS["quiet"], lw=1, ls=":")
            axes.annotate(
                f"asked: {_percent(found['requested'])}",
                (found["requested"], 0.02),
                (4, 0),
                textcoords="offset points",
                fontsize=9,
            )
        axes.set_xscale("log")
        axes.set_xlim(left, 1)
        axes.set_ylim(0, 1.03)
        ticks = 10.0 ** np.arange(np.round(np.log10(left)), 1)
        axes.set_xticks(ticks, ["0", *map(_percent, ticks[1:])])
        axes.set_yticks(np.linspace(0, 1, 6), [f"{n} %" for n in range(0, 101, 20)])
        axes.minorticks_off()
        axes.set_xlabel("flagged of what is to be kept")
        axes.set_ylabel("flagged of the forget rows")
        if axes.get_legend_handles_labels()[0]:  # a stage may say nothing of any held-out row
            axes.legend(loc="lower right", bbox_to_anchor=(1, 0.1), fontsize=9)
        title = f"ROC curve of {name}"
        return svg(figure, ident, title, _roc_words(stage))


def histogram(stage: Stage, name: str, ident: str) -> Markup:
    """Draws how the scores of the three sides lie, and threshold and floor.

    Args:
        stage: The stage.
        name: What to call it.
        ident: Begins every id in the SVG.
    """
    import matplotlib

    with matplotlib.rc_context(STYLE):
        figure, panels = _figure(3)
        finite = {side: values[np.isfinite(values)] for side, values in stage.seen.items()}
        lines = {"threshold": stage.record.threshold, "floor": stage.record.floor}
        marks = [value for value in lines.values() if value is not None and abs(value) < 1e30]
        bins = _bins(np.concatenate([*finite.values(), marks]))
        for axes, (side, values) in zip(panels, finite.items(), strict=True):
            colour = COLOURS[_SIDES[side]]
            axes.hist(values, bins.tolist(), histtype="stepfilled", color=colour, alpha=0.45)
            _rug(axes, np.sort(values)[-_RUG:], colour)
            axes.set_yticks([])
            axes.spines["left"].set_visible(False)
            words = f"{NAMES[side]} ({len(values):,})"
            axes.set_title(words, loc="left", fontsize=9, color=COLOURS["ink"], pad=2)
            for value, dashes in zip(lines.values(), ("-", "--"), strict=True):
                if value in marks and value is not None:
                    axes.axvline(value, color=COLOURS["chosen"], lw=1.4, ls=dashes)
        for word, value in lines.items():
            if value in marks and value is not None:
                panels[0].annotate(
                    word,
                    (value, 1),
                    (0, 4),
                    xycoords=("data", "axes fraction"),
                    textcoords="offset points",
                    ha="center",
                    fontsize=9,
                    color=COLOURS["chosen"],
                )
        panels[-1].set_xlabel("score")
        panels[-1].tick_params(axis="x", pad=8)  # below the ticks of single rows
        words = "; ".join(
            f"{NAMES[side]} from {values.min():.3f} to {values.max():.3f}, median "
            f"{np.median(values):.3f}"
            for side, values in finite.items()
            if len(values)
        )
        said = "; ".join(f"{word} {value:.3f}" for word, value in lines.items() if value in marks)
        return svg(figure, ident, f"Scores of {name}", f"{words}; {said}.")


def _bins(values: Scores) -> Scores:
    """Edges of 48 bins; a threshold may lie the least possible above scores that are all alike."""
    if len(values) and 0 < np.ptp(values) < 1e-9:
        values = np.array([values.min() - 0.5, values.max() + 0.5])
    return np.asarray(np.histogram_bin_edges(values, 48), np.float64)


def _figure(panels: int) -> "tuple[Figure, list[Axes]]":
    from matplotlib.figure import Figure

    figure = Figure(figsize=_SIZE, layout="constrained")
    found = figure.subplots(panels, 1, sharex=True, squeeze=False)
    for axes in (all_axes := [axes for (axes,) in found]):
        axes.patch.set_visible(False)
    figure.patch.set_visible(False)
    return figure, all_axes


def _rug(axes: "Axes", values: Scores, colour: str) -> None:
    """A tick a value, all in one line with gaps: an element each would make a heavy page."""
    at = np.repeat(values, 3)
    height = np.tile([0.0, -0.12, np.nan], len(values))
    axes.plot(at, height, color=colour, lw=0.8, clip_on=False, transform=axes.get_xaxis_transform())


def _curve(axes: "Axes", stage: Stage, side: str, dashes: Any, left: float) -> None:
    false, true = roc(stage.seen["positives"], stage.seen[side])
    colour = COLOURS[_SIDES[side]]
    axes.step(
        np.maximum(np.append(false, 1.0), left),
        np.append(true, true[-1] if len(true) else 0.0),
        where="post",
        color=colour,
        ls=dashes,
        lw=1.8,
        label=f"against {NAMES[side]}",
    )
    point = _chosen(stage, side)
    if point is not None:
        axes.plot(
            max(point[0], left),
            point[1],
            "o" if side == "background" else "D",
            color=COLOURS["chosen"],
            ms=6,
            clip_on=False,
            zorder=5,
            label=_chosen_label(stage) if side == "background" else None,
        )


def _chosen_label(stage: Stage) -> str:
    return "chosen floor" if stage.record.threshold is None else "chosen threshold"


def _chosen(stage: Stage, side: str) -> tuple[float, float] | None:
    """The false- and true-positive rate at the threshold, or at the floor where there is none."""
    record = stage.record
    at = record.threshold if record.threshold is not None else record.floor
    if at is None or not len(stage.seen[side]) or not len(stage.seen["positives"]):
        return None
    return float(np.mean(stage.seen[side] >= at)), float(np.mean(stage.seen["positives"] >= at))


def _roc_words(stage: Stage) -> str:
    points = {side: _chosen(stage, side) for side in ("background", "neighbours")}
    said = [
        f"{_percent(point[1])} of forget rows and {_percent(point[0])} of {NAMES[side]} reach it"
        for side, point in points.items()
        if point is not None
    ]
    return f"At the chosen point, {'; '.join(said)}." if said else "There is nothing to compare."


def _percent(share: Any) -> str:
    return f"{100 * float(share):.3g} %"
