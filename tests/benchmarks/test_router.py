"""The router's client and server, with a stand-in for the library; the real one where it is."""

import gc
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.baselines import Router
from benchmarks.baselines.router import VARIABLE, Routed, Server, environment
from benchmarks.split import Target
from guard.errors import GuardError

# As much of semantic-router's interface as the server uses: shared words instead of an encoder.
_LIBRARY = """
print("a library that prints")
class Route:
    def __init__(self, name, utterances):
        self.name, self.utterances = name, utterances
class Choice:
    def __init__(self, name, confidence):
        self.name, self.confidence = name, confidence
class IndexedRouter:
    def __init__(self, encoder, routes, calibrator=None):
        self.route, self.calibrator = routes[0], calibrator
    def fit(self, texts, labels):
        if not self.route.utterances:
            raise ValueError("no utterances")
        self.calibrator = labels.count(None)
    def __call__(self, text, threshold=None):
        words = set(text.split())
        best = max(len(words & set(u.split())) / len(words) for u in self.route.utterances)
        return Choice(self.route.name, best)
"""
_ENCODER = "class LocalEncoder:\n    def __init__(self, name, device): pass\n"
FORGET = tuple({"question": q} for q in ("where is ada born", "who taught ada", "is ada old"))
TARGETS = {"t": Target(FORGET, ({"question": "who is bo"}, {"question": "who is cy"}))}


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoders = tmp_path / "semantic_router" / "encoders"
    encoders.mkdir(parents=True)
    (tmp_path / "semantic_router" / "__init__.py").write_text(_LIBRARY, "utf-8")
    (encoders / "__init__.py").touch()
    (encoders / "local.py").write_text(_ENCODER, "utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


def routed(targets: dict[str, Target]) -> Routed:
    fitted = Router(Path(sys.executable)).fit(targets, Path("unused"))
    assert isinstance(fitted, Routed)
    return fitted


def test_calibration_has_questions_of_its_own() -> None:
    fitted = routed(TARGETS)
    assert fitted.utterances == ("where is ada born", "who taught ada", "is ada old")
    assert fitted.positives == ("where is ada born", "is ada old")
    assert set(fitted.negatives) == {"who is bo", "who is cy"}


@pytest.mark.usefixtures("library")
def test_texts_are_routed_and_timed_in_its_own_process() -> None:
    with Server(routed(TARGETS)) as server:
        found = server.route(["who taught ada", "what a day", "is it old"])
    assert [verdict.flagged for verdict in found] == [True, False, True]
    assert found[0].score == 1.0 and all(v.ms is not None and v.ms > 0 for v in found)


@pytest.mark.usefixtures("library")
def test_a_router_that_is_dropped_ends_its_process() -> None:
    """`subprocess` keeps a forgotten process and its pipes: thirty of them filled the memory."""
    judge = routed(TARGETS).load()
    (process,) = (o for o in gc.get_objects() if isinstance(o, subprocess.Popen))
    assert judge("who taught ada").flagged and process.poll() is None
    del judge
    gc.collect()
    assert process.poll() == 0


@pytest.mark.usefixtures("library")
def test_what_fails_there_is_an_error_here() -> None:
    lone = {"t": Target(FORGET[:1], ({"question": "who is bo"},))}
    with pytest.raises(GuardError, match="semantic-router: ValueError: no utterances"):
        Server(routed(lone))


def test_a_python_without_it_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(GuardError, match="semantic-router: ModuleNotFoundError"):
        Server(routed(TARGETS))


def test_no_environment_is_made_unasked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setenv("GUARD_CACHE", str(tmp_path))
    with pytest.raises(GuardError, match="--baselines makes one"):
        environment(make=False)
    assert not list(tmp_path.iterdir())
    monkeypatch.setenv(VARIABLE, "/some/python")
    assert environment(make=True) == Path("/some/python")


def test_an_environment_that_cannot_be_made_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setenv("GUARD_CACHE", str(tmp_path))
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(GuardError, match="cannot be installed: no reason given"):
        environment(make=True)


@pytest.mark.slow
def test_the_real_router() -> None:
    try:
        python = environment(make=False)
    except GuardError as error:
        pytest.skip(str(error))
    forget = tuple({"question": f"Where was Odalys Brennick {w}?"} for w in
                   ("born", "taught", "married", "buried", "seen", "hired"))  # fmt: skip
    retain = tuple({"question": f"How do I {w} a cake?"} for w in ("bake", "cut", "sell", "eat"))
    fitted = Router(python).fit({"t": Target(forget, retain)}, Path("unused"))
    assert isinstance(fitted, Routed)
    with Server(fitted) as server:
        near, far = server.route(
            ["In which place was Odalys Brennick born?", "How is the weather?"]
        )
    assert near.score > far.score
