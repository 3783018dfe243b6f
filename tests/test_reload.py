"""A bundle is exchanged while it is served: what is sound comes into force, nothing else."""

import logging
import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from guard.bundle import Bundle, load_bundle, version_at, write_bundle
from guard.errors import EngineError
from guard.events import Event, Refused, Serving
from guard.metrics import Metrics
from guard.recorder import Recorder
from guard.reload import RELOAD, Reloader, Result, reload_seconds
from tests.test_bundle import ARRAYS, FILES, manifest

ONE, TWO, THREE = "one", "two", "three"


@dataclass(frozen=True)
class Loaded:
    """A bundle as somebody serves it who knows no engine."""

    bundle: Bundle

    @property
    def version(self) -> str:
        return self.bundle.version


class Told(Recorder):
    """A recorder that keeps what it is told."""

    def __init__(self) -> None:
        super().__init__(Metrics(CollectorRegistry()))
        self.events: list[Event] = []

    def __call__(self, event: Event, trace: object = None) -> None:
        self.events.append(event)
        super().__call__(event)


@dataclass
class World:
    """A folder that is watched, and whoever serves from it."""

    folder: Path
    recorder: Told = field(default_factory=Told)
    served: list[str] = field(default_factory=list)
    meanwhile: Callable[[], None] = lambda: None  # happens while a bundle is loaded

    def __post_init__(self) -> None:
        self.put(ONE)
        held = Loaded(load_bundle(self.folder))
        self.recorder.serving(held.bundle)
        self.served.append(held.version)
        self.reloader = Reloader(
            self.folder, held, self._load, lambda new: self.served.append(new.version),
            self.recorder, 0.01,
        )  # fmt: skip

    def _load(self, folder: Path, before: Loaded) -> Loaded:
        assert before.version == self.served[-1]
        assert folder == folder.resolve()  # a symlink that is switched meanwhile is no matter
        self.meanwhile()
        return Loaded(load_bundle(folder))

    def put(self, name: str, folder: Path | None = None) -> str:
        arrays = {FILES[one]: array for one, array in ARRAYS.items()}
        return write_bundle(folder or self.folder, manifest(created_by=name), arrays).version

    def look(self, times: int = 1) -> list[Result]:
        return [self.reloader.look() for _ in range(times)]

    @property
    def refusals(self) -> list[Refused]:
        return [event for event in self.recorder.events if isinstance(event, Refused)]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "bundle")


def test_what_is_new_comes_into_force_once(world: World) -> None:
    assert world.look(2) == ["same", "same"]
    two = world.put(TWO)
    assert world.look(3) == ["served", "same", "same"]
    assert world.served[-1] == two and len(world.served) == 2
    last = world.recorder.events[-1]
    assert isinstance(last, Serving) and (last.bundle, last.before) == (two, world.served[0])


def test_the_same_version_written_anew_is_nothing_new(world: World) -> None:
    world.look()
    world.put(ONE)
    assert world.look() == ["same"] and len(world.served) == 1


def test_a_change_before_the_first_look_is_found(world: World) -> None:
    """Between the loading at the start and the first look."""
    world.put(TWO)
    assert world.look() == ["served"]


def test_a_symlink_may_be_switched(tmp_path: Path) -> None:
    link = tmp_path / "current"
    world = World(tmp_path / "first")
    world.put(TWO, tmp_path / "second")
    link.symlink_to("first")
    world.reloader._folder = link
    assert world.look() == ["same"]
    new = tmp_path / "new"
    new.symlink_to("second")
    new.rename(link)
    assert world.look(2) == ["served", "same"]
    assert world.served[-1] == version_at(tmp_path / "second")


def test_what_is_not_sound_is_refused_and_said_once(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    two = world.put(TWO)
    file = world.folder / FILES["forget"]
    right = file.read_bytes()
    file.write_bytes(b"damaged")
    assert world.look(30).count("refused") > 2  # tried again, less and less often
    assert world.served == [world.reloader._serves.version]
    (event,) = world.refusals
    assert (event.bundle, event.stays, event.error) == (two, world.served[0], "BundleError")
    (line,) = [one for one in caplog.messages if "refused" in one]
    assert f"bundle {world.served[0]} stays in force" in line and str(file) in line
    file.write_bytes(right)  # files may come one by one
    assert "served" in world.look(70)
    assert world.served[-1] == two


def test_what_is_tried_again_waits_longer_each_time(world: World) -> None:
    world.put(TWO)
    (world.folder / FILES["forget"]).unlink()
    tried = [number for number, result in enumerate(world.look(64)) if result == "refused"]
    assert tried == [0, 2, 5, 10, 19, 36]


def test_the_version_before_may_be_put_back(world: World) -> None:
    world.put(TWO)
    (world.folder / FILES["forget"]).write_bytes(b"damaged")
    world.look()
    shutil.rmtree(world.folder)
    world.put(ONE)
    assert world.look(2) == ["same", "same"]
    assert len(world.served) == 1 and len(world.refusals) == 1


def test_what_is_replaced_while_it_is_loaded_is_no_refusal(world: World) -> None:
    world.put(TWO)

    def meanwhile() -> None:
        world.meanwhile = lambda: None
        world.put(THREE)
        raise OSError("its files are gone")

    world.meanwhile = meanwhile
    assert world.look(2) == ["later", "served"]
    assert world.refusals == []


def test_a_folder_that_is_gone_is_waited_for_and_then_said(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """A bundle that is replaced in place is not there for a moment."""
    shutil.rmtree(world.folder)
    assert world.look(4) == ["later"] * 4 and world.refusals == []
    assert world.look(20).count("refused") == 1
    assert "holds no bundle any more" in caplog.text and len(world.refusals) == 1
    two = world.put(TWO)
    assert world.look() == ["served"] and world.served[-1] == two


def test_an_unknown_error_is_told_by_its_class(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """Its message could quote a forget set."""

    def meanwhile() -> None:
        raise ValueError("Odalys Brennick")

    world.meanwhile = meanwhile
    world.put(TWO)
    assert world.look() == ["refused"]
    assert "ValueError" in caplog.text and "Brennick" not in caplog.text
    assert world.refusals[0].error == "ValueError"


@given(st.lists(st.sampled_from([ONE, TWO, THREE, "broken", "gone", "look"]), max_size=12))
def test_whatever_was_there_the_last_sound_one_is_served(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str]
) -> None:
    world = World(tmp_path_factory.mktemp("steps") / "bundle")
    sound = {world.served[0]}
    for step in steps:
        if step == "look":
            world.look()
        elif step == "gone":
            shutil.rmtree(world.folder, ignore_errors=True)
        elif step == "broken":
            world.put("broken")
            (world.folder / FILES["forget"]).write_bytes(b"damaged")
        else:
            shutil.rmtree(world.folder, ignore_errors=True)
            sound.add(world.put(step))
    world.look(70)
    assert set(world.served) <= sound
    last = next((step for step in reversed(steps) if step != "look"), ONE)
    if last in (ONE, TWO, THREE):
        assert world.served[-1] == version_at(world.folder)


def test_its_thread_finds_what_is_new_and_outlives_errors(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    done, failed = threading.Event(), threading.Event()

    def broken(bundle: Bundle) -> None:
        failed.set()
        raise RuntimeError("an audit that cannot be written")

    world.recorder.serving = broken  # type: ignore[method-assign]
    world.meanwhile = done.set
    with caplog.at_level(logging.ERROR, "vllm.guard"):
        world.reloader.start()
        world.put(TWO)
        assert failed.wait(30)
        done.clear()
        world.put(THREE)
        assert done.wait(30)
        world.reloader.close()
    assert "guard: reload: RuntimeError" in caplog.text


@pytest.mark.parametrize(
    ("value", "seconds"), [("", 1.0), ("off", None), ("0.5", 0.5), ("60", 60.0)]
)
def test_how_often_is_looked(
    monkeypatch: pytest.MonkeyPatch, value: str, seconds: float | None
) -> None:
    monkeypatch.setenv(RELOAD, value)
    assert reload_seconds() == seconds


@pytest.mark.parametrize("value", ["no", "0", "-1", "nan", "inf", "0.01", "OFF", "1s"])
def test_another_value_is_an_error(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv(RELOAD, value)
    with pytest.raises(EngineError, match=f"GUARD_RELOAD={value}: give off, or seconds"):
        reload_seconds()
