"""The report's page: what a bundle says, put in words and tables."""

from collections.abc import Sequence
from typing import Any

import jinja2

from guard.bundle import Bundle
from guard.fitting import remarks
from guard.manifest import TargetRecord
from guard.report import Texts
from guard.report.figures import NearRow, Replay, Stage, replay
from guard.report.plots import histogram, roc_plot

_LONGEST = 300  # characters of a prompt in a table


def render(bundle: Bundle, texts: Texts) -> str:
    """Returns the report as HTML; the same bundle and texts make the same page."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("guard.report", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "number": number}
    targets = [
        _target(target, replay(target, bundle.arrays), texts, f"t{place}")
        for place, target in enumerate(bundle.manifest.targets, 1)
        if target.stages  # of the others no prompt is judged
    ]
    page = environment.get_template("page.html")
    return page.render(version=bundle.version, manifest=bundle.manifest, targets=targets)


def percent(share: float | None) -> str:
    """Writes a share with three digits; a dash where there is none."""
    return "–" if share is None else f"{100 * share:.3g} %"


def number(value: float | None) -> str:
    """Writes a score; a dash where it is none."""
    if value is None or not abs(value) < 1e30:  # NaN neither
        return "–"
    return f"{value:.3f}".replace("-", "−")


def _target(target: TargetRecord, found: Replay, texts: Texts, ident: str) -> dict[str, Any]:
    retain, everyday = texts.get(target.id, ((), ()))
    known = [stage.calibration for stage in target.stages if stage.calibration is not None]
    prompts: dict[str, Sequence[str | None]] = {"neighbours": retain, "background": everyday}
    return {
        "id": target.id,
        "ident": ident,
        "mode": target.mode,
        "detection": target.detection,
        "requested": max(found["requested"] for found in known),
        "bound": max(found["bound"] for found in known),
        "upper": max(found["upper"] for found in known),
        "warnings": _warnings(target),
        "stages": [
            _stage(stage, target.id, f"{ident}-{place}") for place, stage in enumerate(found.stages)
        ],
        "nearest": {
            side: [(row, _quoted(row, prompts.get(side, ()))) for row in rows]
            for side, rows in found.nearest.items()
        },
        "quotes": {side: bool(prompts.get(side)) for side in found.nearest},
    }


def _stage(stage: Stage, target: str, ident: str) -> dict[str, Any]:
    name = f"{target}, {stage.record.kind}"
    return {
        "record": stage.record,
        "rows": {side: len(scores) for side, scores in stage.seen.items()},
        "roc": roc_plot(stage, name, f"{ident}-roc"),
        "histogram": histogram(stage, name, f"{ident}-scores"),
    }


def _warnings(target: TargetRecord) -> list[str]:
    """What a person should look at before trusting a target's thresholds."""
    found = [
        line.removeprefix("warning: ")
        for stage in target.stages
        for line in remarks(stage)
        if line.startswith("warning: ")
    ]
    for stage in target.stages:
        known = stage.calibration
        if known is not None and known["bound"] > known["requested"]:
            found.append(
                f"{stage.kind}: earlier stages alone flag more everyday prompts than was asked for"
            )
        if known is not None and (known["neighbours_flagged"] or 0) > known["requested"]:
            found.append(
                f"{stage.kind}: {percent(known['neighbours_flagged'])} of neighbours are flagged, "
                f"more than the {percent(known['requested'])} asked for of everyday prompts"
            )
    return found


def _quoted(row: NearRow, prompts: Sequence[str | None]) -> str | None:
    """What a row says, where that is at hand."""
    prompt = prompts[row.number - 1] if row.number <= len(prompts) else None
    if prompt is None or len(prompt) <= _LONGEST:
        return prompt
    return prompt[: _LONGEST - 1] + "…"
