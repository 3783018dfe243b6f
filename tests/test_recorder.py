"""Where events go, and which of them must be recorded."""

from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from guard.audit.record import Sealer
from guard.audit.settings import AuditSettings
from guard.audit.trail import Trail
from guard.bundle import Bundle
from guard.errors import AuditError
from guard.events import Decided, Event, Hit, Noticed, Serving, Unchecked
from guard.metrics import Metrics
from guard.recorder import Recorder
from tests.audit.history import found
from tests.audit.test_chain import told

SHADOW = (Noticed("t", "lexical", "shadow", "refuse", 1.0, False),)
ENFORCED = (Noticed("t", "lexical", "enforce", "refuse", 1.0, False),)


class Must:
    """A trail that says of what it must be written."""

    def __init__(self) -> None:
        self.kinds: list[tuple[str, bool]] = []
        self.tallied: list[str] = []

    def tally(self, action: str) -> None:
        self.tallied.append(action)

    def put(self, time: float, kind: str, body: Any, *, must: bool) -> None:
        self.kinds.append((kind, must))


@pytest.mark.parametrize(
    ("event", "recorded"),
    [
        (Decided("r", "b", "allow"), []),
        (Decided("r", "b", "allow", SHADOW), [("decided", False)]),
        (Decided("r", "b", "refuse", ENFORCED), [("decided", True)]),
        (Decided("r", "b", "failed"), [("decided", False)]),
        (Decided("r", "b", "opened"), [("decided", True)]),
        (Hit("r", "b", 0, "exact", "t", 1, "shadow"), [("hit", False)]),
        (Hit("r", "b", 0, "exact", "t", 1, "filter"), [("hit", True)]),
        (Unchecked("r", "b", 0, "failed", "X"), [("unchecked", False)]),
        (Unchecked("r", "b", 0, "opened", "X"), [("unchecked", True)]),
        (Serving("b", {"t": "enforce"}), [("serving", False)]),
    ],
)
def test_what_changes_an_answer_must_be_recorded(
    event: Event, recorded: list[tuple[str, bool]]
) -> None:
    trail: Any = Must()
    Recorder(Metrics(CollectorRegistry()), trail)(event)
    assert trail.kinds == recorded
    assert trail.tallied == ([event.action] if isinstance(event, Decided) else [])


def test_a_recorder_tells_what_is_served(bundle: Bundle, tmp_path: Path) -> None:
    registry = CollectorRegistry()
    trail = Trail(AuditSettings(tmp_path, writer="host"), {"role": "test"})
    record = Recorder(Metrics(registry), trail)
    for _ in range(2):
        record.serving(bundle)
    record(Decided("r", bundle.version, "allow"))
    record.stage("check", 0.1)
    record.close()
    serving = [one.body for one in told(tmp_path) if one.kind == "serving"]
    modes = {"brennick": "enforce", "vessmere": "enforce", "tidewater": "shadow"}
    assert serving[0] == {
        "bundle": bundle.version, "modes": modes, "reasons": {"brennick": "erasure request 17"},
    }  # fmt: skip
    assert serving[1] == serving[0]
    assert registry.get_sample_value("guard_targets", {"mode": "enforce"}) == 2
    assert registry.get_sample_value("guard_stage_seconds_count", {"stage": "check"}) == 1
    assert [one.body for one in told(tmp_path) if one.kind == "tally"] == [{"allow": 1}]
    assert found(tmp_path, Sealer()).intact


def test_the_environment_says_whether_there_is_an_audit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GUARD_AUDIT", raising=False)
    assert Recorder.from_environment("test").trail is None
    monkeypatch.setenv("GUARD_AUDIT", str(tmp_path / "audit"))
    record = Recorder.from_environment("test")
    assert record.trail is not None
    record.close()
    assert told(tmp_path / "audit")[1].body["role"] == "test"
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GUARD_AUDIT", str(tmp_path / "file"))
    with pytest.raises(AuditError, match="cannot be written"):
        Recorder.from_environment("test")
