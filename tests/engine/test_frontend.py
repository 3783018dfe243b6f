"""The front end tells of each decision: to the audit, the metrics and the log, and never a text."""

import io
import json
import logging
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from vllm.sampling_params import RequestOutputKind, SamplingParams

from guard.audit.record import Record, Sealer
from guard.audit.settings import AuditSettings
from guard.audit.trail import Trail
from guard.engine import hooks, verdict
from guard.engine.frontend import Admitted, Frontend
from guard.engine.mediator import Mediator
from guard.engine.served import Served
from guard.engine.settings import Settings
from guard.errors import AuditError, DetectionError, InterventionError
from guard.events import Decided, Event
from guard.guard import Guard
from guard.logs import JsonLines
from guard.metrics import Metrics
from guard.recorder import Recorder
from tests.audit.history import found
from tests.audit.test_chain import told

PERSON = "Which prize did Odalys Brennick win?"
SHADOW = "Who signed the Tidewater Compact?"
HARMLESS = "How do I boil an egg?"
ENGINE: Any = SimpleNamespace(
    model_config=SimpleNamespace(max_model_len=2048), vllm_config=SimpleNamespace()
)


class Noted(Recorder):
    """A recorder that keeps what it is told."""

    def __init__(self, registry: CollectorRegistry, trail: Trail | None = None) -> None:
        super().__init__(Metrics(registry), trail)
        self.events: list[Event] = []

    def __call__(self, event: Event, trace: Any = None) -> None:
        self.events.append(event)
        super().__call__(event, trace)


@pytest.fixture(scope="module")
def mediator(guard: Guard, tokenizer: Any, served: Path) -> Mediator:
    return Mediator(guard, tokenizer, served)


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def record(registry: CollectorRegistry) -> Noted:
    return Noted(registry)


@pytest.fixture
def frontend(mediator: Mediator, record: Noted) -> Frontend:
    return Frontend(mediator, ENGINE, sealed=False, recorder=record)


def ask(frontend: Frontend, text: str, name: str = "cmpl-1", probe: str | None = None) -> Any:
    ids = frontend.tokenizer.encode(text)
    params = SamplingParams(output_kind=RequestOutputKind.FINAL_ONLY)
    rendered = {"type": "token", "prompt_token_ids": ids, "prompt": text}
    return frontend.judged(name, Admitted(rendered, params, frontend.served, probe=probe))


def only(record: Noted) -> Decided:
    (event,) = record.events
    assert isinstance(event, Decided)
    return event


def test_a_refusal_is_told_with_its_stages(frontend: Frontend, record: Noted) -> None:
    settled = ask(frontend, PERSON)
    assert settled.output is not None
    event = only(record)
    assert (event.request, event.action, event.error) == ("cmpl-1", "refuse", None)
    assert event.bundle == frontend.guard.version
    assert [(one.target, one.mode, one.action) for one in event.targets] == [
        ("brennick", "enforce", "refuse")
    ]
    assert list(event.seconds) == ["wait", "view", "detect", "apply"]
    assert all(seconds >= 0 for seconds in event.seconds.values())


def test_what_is_let_through_is_told_too(frontend: Frontend, record: Noted) -> None:
    assert ask(frontend, HARMLESS).output is None
    assert only(record).action == "allow" and only(record).targets == ()
    assert list(only(record).seconds) == ["wait", "view", "detect"]


def test_shadow_tells_what_would_be_done(frontend: Frontend, record: Noted) -> None:
    assert ask(frontend, SHADOW).output is None
    event = only(record)
    assert event.action == "allow"
    assert [(one.target, one.mode, one.action) for one in event.targets] == [
        ("tidewater", "shadow", "refuse")
    ]


def test_a_probe_is_no_decision(frontend: Frontend, record: Noted) -> None:
    token = frontend.seals.token("probe")
    with_probe = verdict.probing.set(True)
    assert ask(frontend, PERSON, probe=token).output is not None
    verdict.probing.reset(with_probe)
    assert record.events == []


def test_what_fails_is_told_by_its_class_and_the_targets_that_were_found(
    frontend: Frontend, record: Noted, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: Any) -> Any:
        raise ValueError(f"it quotes {PERSON}")

    monkeypatch.setattr(frontend.mediator, "_applied", broken)
    with pytest.raises(Exception, match="could not judge"):
        ask(frontend, PERSON)
    event = only(record)
    assert (event.action, event.error) == ("failed", "ValueError")
    assert [one.target for one in event.targets] == ["brennick"]
    monkeypatch.setattr(frontend.mediator, "judge", broken)
    with pytest.raises(Exception, match="could not judge"):
        ask(frontend, HARMLESS)
    assert isinstance(record.events[1], Decided) and record.events[1].targets == ()


def test_an_answer_that_goes_out_unguarded_is_told(
    frontend: Frontend, record: Noted, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = frontend.guard.bundle.manifest.model_copy(update={"on_error": "open"})
    bundle = SimpleNamespace(manifest=manifest)
    opened: Any = SimpleNamespace(bundle=bundle, version="v", output=None, tenant=None)
    mediator: Any = SimpleNamespace(guard=opened)
    frontend.served = Served(mediator)

    def broken(*args: Any) -> Any:
        raise DetectionError("a detector hangs")

    mediator.judge = broken
    assert ask(frontend, HARMLESS).prompt is not None
    assert (only(record).action, only(record).error) == ("opened", "DetectionError")


def test_a_judgement_that_comes_too_late_is_not_told(
    frontend: Frontend, record: Noted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it would have been is in no record: the request was refused."""
    judge, over = frontend.mediator.judge, threading.Event()

    def slow(*args: Any) -> Any:
        assert over.wait(20)
        return judge(*args)

    monkeypatch.setattr(frontend.mediator, "judge", slow)
    monkeypatch.setattr(Served, "timeout", 0.2)
    with pytest.raises(Exception, match="could not judge"):
        ask(frontend, PERSON)
    over.set()
    deadline = time.monotonic() + 20
    while frontend.worker.stuck:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert (only(record).action, only(record).error) == ("failed", "DetectionError")
    assert frontend.counts == {"failed": 1}


def test_a_decision_that_cannot_be_followed_is_one_failure(
    frontend: Frontend, record: Noted, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: Any) -> Any:
        raise InterventionError("an enforced intervention changed nothing")

    monkeypatch.setattr(frontend, "_settled", broken)
    with pytest.raises(Exception, match="could not judge"):
        ask(frontend, PERSON)
    assert only(record).action == "failed"


class Broken(Noted):
    """An audit that cannot be written."""

    def __call__(self, event: Event, trace: Any = None) -> None:
        self.events.append(event)
        if isinstance(event, Decided) and event.action not in ("allow", "failed"):
            raise AuditError("the audit cannot be written")


def test_a_decision_that_cannot_be_recorded_is_no_answer(
    mediator: Mediator, registry: CollectorRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    record = Broken(registry)
    frontend = Frontend(mediator, ENGINE, sealed=False, recorder=record)
    with caplog.at_level(logging.INFO, "vllm.guard"), pytest.raises(Exception, match="not judge"):
        ask(frontend, PERSON)
    assert [event.action for event in record.events if isinstance(event, Decided)] == [
        "refuse", "failed",
    ]  # fmt: skip
    assert frontend.counts == {"failed": 1}
    assert "could not be judged (the audit cannot be written): refused" in caplog.text
    assert ask(frontend, SHADOW).prompt is not None  # nothing is enforced


def test_what_the_log_says_stays_as_it_was(
    frontend: Frontend, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "vllm.guard"):
        ask(frontend, PERSON)
        ask(frontend, SHADOW, "cmpl-2")
        ask(frontend, HARMLESS)
    assert caplog.messages == [
        "guard: request cmpl-1: refuse (targets brennick)",
        "guard: request cmpl-2: shadow (targets tidewater)",
    ]


MARKER = "Qzxv-marker"


@settings(max_examples=25)
@given(
    st.sampled_from([PERSON, SHADOW, HARMLESS, ""]),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
    st.booleans(),
)
def test_no_text_of_a_request_is_in_any_record_log_or_metric(
    mediator: Mediator,
    tmp_path_factory: pytest.TempPathFactory,
    text: str,
    more: str,
    breaks: bool,
) -> None:
    folder, registry = tmp_path_factory.mktemp("audit"), CollectorRegistry()
    trail = Trail(AuditSettings(folder, writer="host"), {"role": "test"})
    frontend = Frontend(mediator, ENGINE, sealed=False, recorder=Noted(registry, trail))
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    logger = logging.getLogger("vllm.guard")
    logger.addHandler(handler)
    asked = f"{text} {MARKER} {more}"
    judge = mediator.judge

    def broken(*args: Any) -> Any:
        judge(*args)
        raise ValueError(asked)

    if breaks:
        mediator.judge = broken  # type: ignore[method-assign]
    try:
        for name in ("cmpl-1", asked):  # a client may write its text there, too
            try:
                ask(frontend, asked, name)
            except Exception as error:
                assert MARKER not in str(error)
    finally:
        mediator.judge = judge  # type: ignore[method-assign]
        logger.removeHandler(handler)
        trail.close()
    records: list[Record] = told(folder)
    written = "".join(file.read_text() for file in folder.rglob("*.json*"))
    shown = generate_latest(registry).decode()
    for place in (written, shown, stream.getvalue()):
        assert MARKER not in place and "Odalys" not in place and "prize" not in place
    assert found(folder, Sealer()).intact
    tally = [record.body for record in records if record.kind == "tally"]
    assert sum(sum(body.values()) for body in tally) == 2
    for line in stream.getvalue().splitlines():
        assert json.loads(line)["request"] in ("cmpl-1", "sha256:" + line.split("sha256:")[-1][:32])


def test_an_engine_s_process_says_what_it_serves(
    mediator: Mediator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(hooks, "from_config", lambda additional: Settings(Path("bundle")))
    monkeypatch.setattr(hooks, "load_guard", lambda *args: mediator.guard)
    monkeypatch.setattr(hooks, "make_mediator", lambda *args: mediator)
    monkeypatch.setenv("GUARD_AUDIT", str(tmp_path / "audit"))
    monkeypatch.setenv("GUARD_AUDIT_WRITER", "host")
    started = []
    init = hooks.init_frontend(lambda self, config: started.append(config))
    engine: Any = SimpleNamespace(worker=None)
    init(engine, SimpleNamespace(additional_config={}))
    assert len(started) == 1
    engine._guard_frontend.record.close()
    kinds = [record.kind for record in told(tmp_path / "audit")]
    assert kinds == ["genesis", "start", "serving", "stop"]
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GUARD_AUDIT", str(tmp_path / "file"))
    with pytest.raises(AuditError, match="cannot be written"):
        init(engine, SimpleNamespace(additional_config={}))
    assert len(started) == 1, "an engine was started that nobody could have used"


def test_a_decision_belongs_to_its_request_s_trace(
    frontend: Frontend, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers = {"traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01"}
    told: list[Any] = []
    monkeypatch.setattr(frontend, "record", lambda event, trace: told.append(trace))
    rendered = {"type": "token", "prompt_token_ids": frontend.tokenizer.encode(HARMLESS)}
    frontend.judged("cmpl-1", frontend.admit(rendered, SamplingParams(), None, headers))
    assert told == [headers]
