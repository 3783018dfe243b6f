"""Which weight takes which rung, what lies in the cache, and that only that is served."""

import json
import math
import multiprocessing
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.detectors.mixture import SoftWeight
from guard.errors import ModelError
from guard.interventions.base import Adapter
from guard.ladder import RUNGS, Ladder
from guard.lora import CONFIG, WEIGHTS, Lora

LORA = Lora(4, 64.0, False, ("q_proj",), b"the bytes of a weights file")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GUARD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def alpha(adapter: Adapter) -> float:
    fields = json.loads(Path(adapter.folder, CONFIG).read_bytes())
    return float(fields["lora_alpha"])


def test_without_steps_every_weight_has_the_full_scale() -> None:
    ladder = Ladder(LORA, -0.85)
    assert len(ladder.rungs) == 1
    assert {ladder.at(weight) for weight in (0.0, 0.3, 1.0)} == set(ladder.rungs)
    assert alpha(ladder.rungs[0]) == 64 * -0.85


def test_steps_rise_evenly_to_the_full_scale() -> None:
    ladder = Ladder(LORA, -0.85, soft=True)
    assert len(ladder.rungs) == RUNGS
    found = [alpha(rung) / 64 for rung in ladder.rungs]
    assert found == pytest.approx([-0.85 * n / RUNGS for n in range(1, RUNGS + 1)])


@given(st.floats(0, 1))
def test_a_weight_takes_the_nearest_rung_and_never_none(weight: float) -> None:
    with pytest.MonkeyPatch.context() as patch:  # the ladder is laid once for all examples
        patch.setattr("guard.ladder._lay", lambda configs, weights: tuple(configs))
        ladder = Ladder(LORA, 2.0, soft=True)
    scale = float(str(ladder.at(weight)))
    nearest = min((2.0 * n / RUNGS for n in range(1, RUNGS + 1)), key=lambda s: abs(s - 2 * weight))
    assert scale == nearest or abs(abs(scale - 2 * weight) - abs(nearest - 2 * weight)) < 1e-12
    assert scale > 0


def test_the_whole_range_of_the_soft_weight_is_used() -> None:
    """Far from the forget set its first rung, at it the last: none is there in vain."""
    ladder = Ladder(LORA, 1.0, soft=True)
    weight = SoftWeight((0.0, 0.0), (1.0, 1.0))
    taken = {ladder.at(weight(score / 100)) for score in range(-800, 100)}
    assert taken == set(ladder.rungs)
    assert ladder.at(weight(-50.0)) == ladder.rungs[0]
    assert ladder.at(weight(0.0)) == ladder.rungs[-1]


def test_a_weight_that_is_no_number_is_an_error() -> None:
    with pytest.raises(ValueError):
        Ladder(LORA, 1.0, soft=True).at(math.nan)


def test_the_weights_lie_there_once() -> None:
    ladder = Ladder(LORA, 1.0, soft=True)
    files = {os.path.realpath(Path(rung.folder, WEIGHTS)) for rung in ladder.rungs}
    assert len(files) == 1
    assert Path(files.pop()).read_bytes() == LORA.weights
    assert all(Path(rung.folder, WEIGHTS).is_symlink() for rung in ladder.rungs)


def test_nobody_else_may_read_them() -> None:
    """An adapter that remembers a forget set is that forget set."""
    folder = Path(Ladder(LORA, 1.0).rungs[0].folder).parent
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.parametrize(
    "other",
    [
        (Lora(4, 64.0, False, ("q_proj",), b"other weights"), 1.0, False),
        (Lora(4, 32.0, False, ("q_proj",), LORA.weights), 1.0, False),
        (Lora(4, 64.0, True, ("q_proj",), LORA.weights), 1.0, False),
        (LORA, 0.5, False),
        (LORA, 1.0, True),
    ],
)
def test_another_content_or_scale_has_another_name_and_folder(
    other: tuple[Lora, float, bool],
) -> None:
    """The engine knows adapters and cached prefixes by name: a changed one must not meet them."""
    lora, scale, soft = other
    one = Ladder(LORA, 1.0).rungs
    two = Ladder(lora, scale, soft=soft).rungs
    assert not {r.name for r in one} & {r.name for r in two}
    assert not {r.folder for r in one} & {r.folder for r in two}


def test_names_say_nothing_of_a_target() -> None:
    """vLLM shows the names of running adapters in its metrics."""
    assert [rung.name.partition("@")[2] for rung in Ladder(LORA, -0.85).rungs] == ["-0.85"]


def test_the_same_ladder_is_made_once(cache: Path) -> None:
    first = Ladder(LORA, 1.0, soft=True)
    before = {path: path.lstat().st_mtime_ns for path in cache.rglob("*")}
    assert Ladder(LORA, 1.0, soft=True).rungs == first.rungs
    assert {path: path.lstat().st_mtime_ns for path in cache.rglob("*")} == before


def test_what_was_changed_is_made_again() -> None:
    ladder = Ladder(LORA, 1.0, soft=True)
    rung = Path(ladder.rungs[2].folder)

    def whole() -> bool:
        return all(
            Path(r.folder, WEIGHTS).read_bytes() == LORA.weights for r in ladder.rungs
        ) and alpha(ladder.rungs[2]) == pytest.approx(64 * 3 / RUNGS)

    def linked(to: Path) -> None:
        (rung / WEIGHTS).unlink()
        (rung / WEIGHTS).symlink_to(to)

    foreign = rung.parent / "foreign"
    changes: list[Callable[[], object]] = [
        lambda: (rung.parent / WEIGHTS).write_bytes(b"foreign weights"),
        lambda: (rung.parent / WEIGHTS).unlink(),
        lambda: (rung / CONFIG).write_text('{"lora_alpha": 0}', "utf-8"),
        lambda: (rung / CONFIG).unlink(),
        lambda: (rung / WEIGHTS).unlink(),
        lambda: linked(foreign),
        lambda: foreign.write_bytes(b"foreign weights") and foreign.rename(rung / WEIGHTS),
    ]
    for change in changes:
        change()
        assert Ladder(LORA, 1.0, soft=True).rungs == ladder.rungs
        assert whole()
    assert not list(rung.parent.parent.glob("*.tmp")) + list(rung.parent.parent.glob(".*.tmp"))


def test_many_processes_make_one_ladder(cache: Path) -> None:
    context = multiprocessing.get_context("spawn")  # this process has threads: they hold locks
    with context.Pool(6) as pool:
        found = pool.map(_rungs, range(12))
    assert len({tuple(rungs) for rungs in found}) == 1
    assert len([path for path in (cache / "ladders").iterdir() if path.is_dir()]) == 1
    assert Path(found[0][0].folder, WEIGHTS).read_bytes() == LORA.weights


def _rungs(_: int) -> tuple[Adapter, ...]:
    return Ladder(LORA, 1.0, soft=True).rungs


def test_a_ladder_that_breaks_off_is_none(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "symlink_to", full)
        with pytest.raises(ModelError, match="No space left on device; set GUARD_CACHE"):
            Ladder(LORA, 1.0)
    assert [path for path in (cache / "ladders").iterdir() if path.is_dir()] == []
    assert Path(Ladder(LORA, 1.0).rungs[0].folder, CONFIG).is_file()


def test_a_cache_that_cannot_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("", "utf-8")
    monkeypatch.setenv("GUARD_CACHE", str(tmp_path / "file"))
    with pytest.raises(ModelError, match=r"cannot be written: .*; set GUARD_CACHE") as error:
        Ladder(LORA, 1.0)
    assert "\n" not in str(error.value)
