"""An engine's bundle is exchanged: a request keeps to one, and only what fits is let in."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from vllm.sampling_params import RequestOutputKind, SamplingParams

from guard.bundle import Bundle
from guard.engine import compat, hooks, loading, reloading, verdict
from guard.engine.frontend import Admitted, Frontend, _salt
from guard.engine.mediator import Mediator
from guard.engine.reloading import EngineReloader
from guard.engine.served import Served, kept
from guard.engine.settings import Settings
from guard.errors import BundleError, EngineError
from guard.events import Decided, Event
from guard.guard import Guard
from guard.interventions.base import Adapter
from guard.metrics import Metrics
from guard.recorder import Recorder
from guard.versions import new_version

PERSON = "Which prize did Odalys Brennick win?"
SAID = ("I cannot tell.", "That I never learned.")
ENGINE: Any = SimpleNamespace(
    model_config=SimpleNamespace(max_model_len=2048), vllm_config=SimpleNamespace()
)


class Noted(Recorder):
    """A recorder that keeps what it is told."""

    def __init__(self) -> None:
        super().__init__(Metrics(CollectorRegistry()))
        self.events: list[Event] = []

    def __call__(self, event: Event, trace: Any = None) -> None:
        self.events.append(event)


def saying(bundle: Bundle, folder: Path, message: str, **changes: Any) -> Bundle:
    """A version of a bundle whose refusals say something else."""
    targets = [target.model_dump() for target in bundle.manifest.targets]
    for target in targets:
        for one in target["interventions"]:
            one["options"] |= {"message": message} if one["kind"] == "refuse" else {}
    manifest = bundle.manifest.model_copy(update=changes)
    changed = Bundle(bundle.path, bundle.version, manifest, bundle.arrays)
    return new_version(changed, folder, targets, {})


@pytest.fixture(scope="module")
def versions(
    bundle: Bundle, guard: Guard, tokenizer: Any, served: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> list[Served]:  # fmt: skip
    folder = tmp_path_factory.mktemp("versions")
    made = [saying(bundle, folder / str(n), text, timeout=5.0 + n) for n, text in enumerate(SAID)]
    return [Served(Mediator(Guard(one, guard), tokenizer, served)) for one in made]


@pytest.fixture
def frontend(versions: list[Served]) -> Iterator[Frontend]:
    made = Frontend(versions[0].mediator, ENGINE, recorder=Noted())
    made.served = versions[0]
    token = kept.set(None)
    yield made
    kept.reset(token)


def admitted(frontend: Frontend, text: str = PERSON, **args: Any) -> Admitted:
    rendered = {"type": "token", "prompt_token_ids": frontend.tokenizer.encode(text)}
    params = SamplingParams(output_kind=RequestOutputKind.FINAL_ONLY, max_tokens=64, **args)
    return frontend.admit(rendered, params)


def said(frontend: Frontend, request: Admitted) -> str:
    text: str = frontend.judged("cmpl-1", request).output.outputs[0].text
    return text


def test_versions_share_an_encoder_only_where_it_is_the_same(
    bundle: Bundle, guard: Guard, versions: list[Served]
) -> None:
    assert versions[0].guard.encoder is versions[1].guard.encoder is guard.encoder
    other = bundle.manifest.encoder.model_copy(update={"sha256": "0" * 64})
    manifest = bundle.manifest.model_copy(update={"encoder": other})
    changed = Bundle(bundle.path, bundle.version, manifest, bundle.arrays)
    with pytest.raises(BundleError, match="not the one that the bundle was compiled with"):
        Guard(changed, guard).warm()


def test_a_request_keeps_to_the_version_that_it_met_first(
    frontend: Frontend, versions: list[Served]
) -> None:
    before = admitted(frontend)
    frontend.served = versions[1]
    after = admitted(frontend)
    assert [said(frontend, before), said(frontend, after)] == list(SAID)
    assert frontend.guard is versions[1].guard and frontend.mediator is versions[1].mediator
    events = [e for e in frontend.record.events if isinstance(e, Decided)]  # type: ignore[attr-defined]
    assert [event.bundle for event in events] == [one.version for one in versions]


def test_what_fails_is_of_the_version_that_failed(
    frontend: Frontend, versions: list[Served], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = admitted(frontend)
    frontend.served = versions[1]

    def broken(*args: Any) -> Any:
        raise ValueError

    monkeypatch.setattr(versions[0].mediator, "judge", broken)
    with pytest.raises(Exception, match="could not judge"):
        frontend.judged("cmpl-1", before)
    (event,) = frontend.record.events  # type: ignore[attr-defined]
    assert (event.bundle, event.action) == (versions[0].version, "failed")


def test_its_seal_and_its_probe_s_answer_name_its_version(
    frontend: Frontend, versions: list[Served]
) -> None:
    harmless = admitted(frontend, "How do I boil an egg?")
    probing = verdict.probing.set(True)
    token = frontend.seals.token("probe")
    probe = admitted(frontend, extra_args={verdict.PROBE: token})
    verdict.probing.reset(probing)
    frontend.served = versions[1]
    settled = frontend.judged("cmpl-1", harmless)
    seal = compat.extra_args(settled.params)[verdict.FIELD]
    assert seal.startswith(f"{versions[0].version}.")
    statement = frontend.seals.attested(token, said(frontend, probe))
    assert statement is not None and statement["bundle"] == versions[0].version


def test_versions_share_no_edited_prompt_in_the_cache() -> None:
    assert _salt("tenant", "v1", "corrupt") != _salt("tenant", "v2", "corrupt")
    assert _salt(None, "v1", "corrupt") == _salt("", "v1", "corrupt")


def test_it_may_take_as_long_as_its_version_says(
    frontend: Frontend, versions: list[Served], monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[float] = []

    def call(job: Any, timeout: float) -> Any:
        given.append(timeout)
        return job()

    monkeypatch.setattr(frontend.worker, "call", call)
    before = admitted(frontend)
    frontend.served = versions[1]
    said(frontend, before)
    said(frontend, admitted(frontend))
    assert given == [5.0, 6.0]


async def test_the_parts_of_an_http_request_keep_to_one_version(
    frontend: Frontend, versions: list[Served]
) -> None:
    """Beams, several prompts, tool calls: also those that run in tasks of their own."""
    kept.set({})

    async def part() -> Served:
        return admitted(frontend).served

    first = await asyncio.create_task(part())
    frontend.served = versions[1]
    assert first is versions[0]
    assert [one is first for one in await asyncio.gather(part(), part())] == [True, True]
    assert admitted(frontend).served is first
    kept.set({})  # the next request
    assert admitted(frontend).served is versions[1]


async def test_beams_are_judged_by_one_version(frontend: Frontend, versions: list[Served]) -> None:
    seen: list[Served] = []

    async def search(self: Any, *args: Any, **kwargs: Any) -> Any:
        for token in range(3):
            seen.append(admitted(frontend, "How do I boil an egg?").served)
            frontend.served = versions[1]
            yield token

    frontend.served = versions[0]
    caller = SimpleNamespace(engine_client=SimpleNamespace(_guard_frontend=frontend))
    ids = frontend.tokenizer.encode("How do I boil an egg?")
    prompt = {"type": "token", "prompt_token_ids": ids}
    params = SimpleNamespace(
        temperature=0.0, max_tokens=1, ignore_eos=False, beam_width=2,
        structured_outputs=None,
    )  # fmt: skip
    found = hooks.beam_search_async(search)(caller, prompt, "cmpl-1", params)
    assert [one async for one in found] == [0, 1, 2]
    assert set(map(id, seen)) == {id(versions[0])}


def fake_engine(served: Path, **changes: Any) -> Any:
    """A configuration as far as the checks of a start read it."""
    model = SimpleNamespace(
        model=str(served), skip_tokenizer_init=False, enable_prompt_embeds=True,
        logits_processors=[], logprobs_mode="raw_logprobs",
    )  # fmt: skip
    return SimpleNamespace(
        model_config=model, kv_transfer_config=None, lora_config=None, additional_config={},
        **changes,
    )  # fmt: skip


def test_a_bundle_is_checked_as_at_a_start(
    versions: list[Served], served: Path, bundle: Bundle, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    given, now = Settings(tmp_path / "unused", "a-version-of-the-start"), versions[0]
    config = fake_engine(served)
    monkeypatch.setattr(loading.compat, "missing_engine_args", lambda *args: [])
    monkeypatch.setattr(Guard, "engine_args", {})
    new = loading.load_served(given, config, versions[1].bundle.path, now)
    assert new.version == versions[1].version
    assert new.mediator.tokenizer is now.mediator.tokenizer
    assert new.guard.encoder is now.guard.encoder
    monkeypatch.setattr(loading.compat, "missing_engine_args", lambda *args: ["enable_lora=True"])
    with pytest.raises(EngineError, match="engine arguments enable_lora=True; restart the server"):
        loading.load_served(given, config, versions[1].bundle.path, now)
    monkeypatch.setattr(loading.compat, "missing_engine_args", lambda *args: [])
    other = bundle.manifest.model.model_copy(update={"sha256": "0" * 64})
    saying(bundle, tmp_path / "other", "Other.", model=other)
    with pytest.raises(BundleError, match="was compiled for"):
        loading.load_served(given, config, tmp_path / "other", now)


def test_a_bundle_that_decides_otherwise_than_when_it_was_made_is_refused(
    versions: list[Served], served: Path, bundle: Bundle, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(loading.compat, "missing_engine_args", lambda *args: [])
    monkeypatch.setattr(Guard, "engine_args", {})
    targets = [target.model_dump() for target in bundle.manifest.targets]
    targets[0]["positives"] = ["How do I boil an egg?"]
    new_version(bundle, tmp_path / "new", targets, {})
    with pytest.raises(EngineError, match="self-test failed"):
        loading.load_served(Settings(tmp_path), fake_engine(served), tmp_path / "new", versions[0])


ADAPTER = Adapter("a@1", "/adapters/a")


class WithAdapter:
    """A version with an adapter."""

    def __init__(self, served: Served) -> None:
        self.guard = SimpleNamespace(adapters=(ADAPTER,))
        self.bundle, self.version = served.bundle, served.version


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch, versions: list[Served]) -> list[Any]:
    """What the engine was asked to load; the bundle's folder holds the second version."""
    seen: list[Any] = []

    async def load(engine: Any, adapters: list[Adapter]) -> None:
        seen.append((threading.current_thread(), list(adapters)))

    monkeypatch.setattr(compat.lora, "load_adapters", load)
    new = WithAdapter(versions[1])
    monkeypatch.setattr(reloading, "load_served", lambda *args: new)
    return seen


def reloader(frontend: Frontend, versions: list[Served]) -> EngineReloader:
    settings = Settings(versions[1].bundle.path)
    return EngineReloader(frontend, settings, SimpleNamespace(), 0.01)


async def test_adapters_are_loaded_where_the_engine_runs_and_before_the_exchange(
    frontend: Frontend, versions: list[Served], loads: list[Any]
) -> None:
    watching = reloader(frontend, versions)
    assert await asyncio.to_thread(watching.look) == "served"
    assert loads == [(threading.main_thread(), [ADAPTER])]
    assert frontend.served.version == versions[1].version


async def test_an_adapter_that_cannot_be_loaded_is_a_refusal(
    frontend: Frontend, versions: list[Served], loads: list[Any], monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    async def load(engine: Any, adapters: list[Adapter]) -> None:
        raise EngineError("vLLM cannot load the adapter in /adapters/a: no")

    monkeypatch.setattr(compat.lora, "load_adapters", load)
    watching = reloader(frontend, versions)
    assert await asyncio.to_thread(watching.look) == "refused"
    assert frontend.served is versions[0]
    assert "cannot load the adapter in /adapters/a" in caplog.text


def test_before_the_engine_has_run_adapters_wait(
    frontend: Frontend, versions: list[Served], loads: list[Any]
) -> None:
    assert reloader(frontend, versions).look() == "refused"
    assert loads == [] and frontend.served is versions[0]


@pytest.mark.parametrize("seconds", [None, 0.01])
def test_an_asynchronous_engine_watches_until_it_is_shut_down(
    versions: list[Served], monkeypatch: pytest.MonkeyPatch, seconds: float | None
) -> None:
    folder = versions[0].bundle.path
    monkeypatch.setattr(hooks, "from_config", lambda _: Settings(folder, reload=seconds))
    monkeypatch.setattr(hooks, "load_guard", lambda *args: versions[0].guard)
    monkeypatch.setattr(hooks, "make_mediator", lambda *args: versions[0].mediator)
    engine: Any = SimpleNamespace()
    hooks.init_frontend_async(lambda self, config: None)(
        engine, SimpleNamespace(additional_config={})
    )
    watching = getattr(engine, "_guard_reloader", None)
    assert (watching is not None) == (seconds is not None)
    ended: list[bool] = []
    hooks.shutdown(lambda self, timeout: ended.append(True))(engine, timeout=1)
    assert ended == [True] and (watching is None or watching._ended.is_set())
