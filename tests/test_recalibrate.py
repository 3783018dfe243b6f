"""Thresholds from traffic: as if compiled with it, and nothing but thresholds changes."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from guard.bundle import Bundle
from guard.cli import main
from guard.detectors import DETECTORS
from guard.detectors.calibration import needed
from guard.detectors.heldout import FOREIGN, SIDES, HeldOut
from guard.errors import DataError, GuardError
from guard.guard import Guard
from guard.recalibrate import recalibrate
from tests.conftest import tree
from tests.material import PERSON_PARAPHRASES, write_rows
from tests.small import EVERYDAY, RATE, small_bundle

HARMLESS = [
    f"How many {what} fit into a {where}?"
    for what in ("pears", "bricks", "spoons", "letters", "songs", "kites", "hats", "coins")
    for where in ("box", "pocket", "drawer", "tent", "kettle", "basket", "shed", "bath")
]
FOREIGN_PROMPT = "Quelle est la capitale de la France et combien de gens y habitent ?"
ABOUT = PERSON_PARAPHRASES[0]


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return small_bundle()


def traffic(folder: Path, prompts: list[str]) -> Path:
    return write_rows(folder / "traffic.jsonl", [{"text": prompt} for prompt in prompts])


def everything_else(bundle: Bundle) -> dict[str, Any]:
    """A manifest without what new thresholds change."""
    value = bundle.manifest.model_dump(exclude={"files"})
    for target in value["targets"]:
        del target["detection"]
        for stage in target["stages"]:
            del stage["threshold"], stage["calibration"]
            for side in ("background", FOREIGN):
                stage["scores"].pop(side, None)
    return value


def test_only_thresholds_change(bundle: Bundle, tmp_path: Path) -> None:
    before = tree(bundle.path)
    found = recalibrate(bundle.path, traffic(tmp_path, HARMLESS), tmp_path / "new")
    assert everything_else(found.bundle) == everything_else(bundle)
    assert tree(bundle.path) == before
    assert found.bundle.version != found.before == bundle.version
    (target,) = found.bundle.manifest.targets
    assert target.detection["everyday"] == EVERYDAY + len(HARMLESS)
    assert target.detection["traffic"] == len(HARMLESS)


@pytest.mark.parametrize("only", [False, True])
def test_it_is_the_calibration_of_the_scores_that_it_keeps(
    bundle: Bundle, tmp_path: Path, only: bool
) -> None:
    prompts = [*HARMLESS, FOREIGN_PROMPT]
    new = recalibrate(
        bundle.path, traffic(tmp_path, prompts), tmp_path / "new", only_traffic=only
    ).bundle
    (target,) = new.manifest.targets
    held = [{side: new.arrays[file] for side, file in s.scores.items()} for s in target.stages]
    count = len(prompts) + (0 if only else EVERYDAY)
    assert [len(scores["background"]) for scores in held] == [count] * len(held)
    (mask,) = [scores[FOREIGN] for scores in held if FOREIGN in scores]
    assert mask[-1] and not mask[-2], "a foreign prompt is known as one"
    rows = HeldOut([len(held[0][side]) for side in SIDES], mask)
    for stage, scores in zip(target.stages, held, strict=True):
        sides = {side: scores[side] for side in SIDES}
        if stage.threshold is not None:
            midway = DETECTORS.get(stage.kind).midway
            assert stage.threshold == rows.calibrate(sides, RATE, midway).threshold
        rows.settle(sides, stage.threshold, stage.floor)
    detection = rows.detection()
    assert detection == {name: target.detection[name] for name in detection}


def test_it_counts_what_the_guard_flags(bundle: Bundle, tmp_path: Path) -> None:
    prompts = [*HARMLESS[:30], *PERSON_PARAPHRASES, FOREIGN_PROMPT, *HARMLESS[30:]]
    found = recalibrate(bundle.path, traffic(tmp_path, prompts), tmp_path / "new", rate=0.01)
    (change,) = found.changes
    for version, rows in ((bundle, change.before), (found.bundle, change.after)):
        guard = Guard(version)
        assert rows == tuple(n for n, p in enumerate(prompts, 1) if guard.decide(p).flagged)
    assert 31 in change.before, "the paraphrases come after thirty others"


def test_a_second_time_adds_to_the_first(bundle: Bundle, tmp_path: Path) -> None:
    first = recalibrate(bundle.path, traffic(tmp_path, HARMLESS[:40]), tmp_path / "1").bundle
    again = recalibrate(first.path, traffic(tmp_path, HARMLESS[40:]), tmp_path / "2").bundle
    both = recalibrate(bundle.path, traffic(tmp_path, HARMLESS), tmp_path / "both").bundle
    for one, other in zip(again.manifest.targets, both.manifest.targets, strict=True):
        assert one.detection == other.detection
        for stage, same in zip(one.stages, other.stages, strict=True):
            if same.threshold is not None:
                assert stage.threshold == pytest.approx(same.threshold, rel=1e-4)


def test_a_repeated_prompt_counts_once(bundle: Bundle, tmp_path: Path) -> None:
    prompts = [HARMLESS[0], HARMLESS[0], ABOUT, ABOUT, *HARMLESS]
    found = recalibrate(bundle.path, traffic(tmp_path, prompts), tmp_path / "new")
    assert found.rows == len(HARMLESS) + 1
    assert found.changes[0].before == (3,)


def test_what_is_flagged_raises_thresholds_and_is_a_finding(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = traffic(tmp_path, [ABOUT, *HARMLESS])
    command = ["calibrate", "--bundle", str(bundle.path), "--traffic", str(path)]
    out = ["--out", str(tmp_path / "new"), "--max-false-positive-rate", "0.01"]
    assert main([*command, *out]) == 0
    printed, errors = capsys.readouterr()
    assert errors == ""
    assert "FINDING" in printed and "1 (row 1)" in printed
    assert "Odalys" not in printed and "pears" not in printed
    assert main([*command, *out, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    (target,) = said["targets"]
    assert target["drifted"] and target["before"] == [1] and target["target"] == "brennick"
    assert {t["detector"] for t in target["thresholds"]} == {"lexical", "similarity"}
    assert all(t["bound"] <= 0.01 < t["upper"] for t in target["thresholds"])
    assert said["rows"] == len(HARMLESS) + 1


def test_harmless_traffic_is_no_finding(bundle: Bundle, tmp_path: Path) -> None:
    (change,) = recalibrate(bundle.path, traffic(tmp_path, HARMLESS), tmp_path / "new").changes
    assert not change.drifted and change.before == ()
    assert not any("FINDING" in line for line in change.lines())


@pytest.mark.parametrize("only", [False, True])
def test_too_few_are_refused(bundle: Bundle, tmp_path: Path, only: bool) -> None:
    path = traffic(tmp_path, HARMLESS)
    with pytest.raises(DataError) as refused:
        recalibrate(bundle.path, path, tmp_path / "new", rate=0.001, only_traffic=only)
    said = str(refused.value)
    count = len(HARMLESS) + (0 if only else EVERYDAY)
    assert str(path) in said and f"{count} prompts" in said.replace("everyday prompts", "prompts")
    assert str(needed(0.001)) in said
    assert ("--only-traffic" in said) == only
    assert not (tmp_path / "new").exists()


def test_traffic_about_the_target_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    (target,) = bundle.manifest.targets
    path = traffic(
        tmp_path, [*HARMLESS, *(f"{p} ({n})" for n in range(9) for p in target.positives)]
    )
    with pytest.raises(DataError, match="self-test prompts would be flagged; take out"):
        recalibrate(bundle.path, path, tmp_path / "new", only_traffic=True)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1, float("nan")])
def test_a_rate_that_is_none(bundle: Bundle, tmp_path: Path, rate: float) -> None:
    with pytest.raises(GuardError, match="--max-false-positive-rate"):
        recalibrate(bundle.path, traffic(tmp_path, HARMLESS), tmp_path / "new", rate=rate)


def test_a_missing_file(bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["calibrate", "--bundle", str(bundle.path), "--out", str(tmp_path / "new")]
    assert main([*command, "--traffic", str(tmp_path / "none.jsonl")]) == 2
    assert "none.jsonl: no such file" in capsys.readouterr().err
    path = traffic(tmp_path, HARMLESS)
    before = tree(tmp_path)
    report = str(tmp_path / "missing" / "report.html")
    assert main([*command, "--traffic", str(path), "--report", report]) == 2
    assert "no such folder" in capsys.readouterr().err
    assert tree(tmp_path) == before


def test_scores_are_row_aligned(bundle: Bundle) -> None:
    (target,) = bundle.manifest.targets
    for side in SIDES:
        lengths = {len(bundle.arrays[stage.scores[side]]) for stage in target.stages}
        assert len(lengths) == 1
    similarity = target.stages[-1]
    assert np.isfinite(bundle.arrays[similarity.scores["background"]]).all()
