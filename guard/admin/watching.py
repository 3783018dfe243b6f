"""Routes of what happens: decisions, counts, scores, who serves what, the audit, the leakage."""

import statistics
import threading
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.concurrency import run_in_threadpool

from guard import __version__
from guard.admin import endpoints
from guard.admin.errors import AbsentError
from guard.admin.schemas import (
    Answer,
    Counts,
    Decisions,
    Events,
    Hits,
    Leakage,
    Question,
    Scores,
    Servers,
    Status,
    Texts,
    Verdict,
)
from guard.admin.scores import stages_of
from guard.admin.services import Given, Services, Who
from guard.admin.targets import Id, record_of
from guard.audit.leakage import read_leakage, worst
from guard.audit.single import record
from guard.audit.verify import verify as verified
from guard.data import is_text
from guard.decision import ALLOW
from guard.errors import BusyError, GuardError
from guard.output.finished import read_finished

router = APIRouter(prefix="/guard", tags=["watching"])

_verifying = threading.Lock()  # it reads all of the audit: one at a time


@router.get("/status")
def status(given: Given, who: Who) -> Status:
    """Which version there is, what there is to see, and the change that is under way."""
    progress = given.writer.progress
    return Status(
        version=given.held.bundle().version,
        who=who,
        guard=__version__,
        features={
            "audit": given.feed is not None,
            "ask": given.pair is not None,
            "leakage": given.leakage is not None,
            "endpoints": bool(given.endpoints),
        },
        change=asdict(progress) if progress is not None else None,
    )


@router.post("/check")
def check(given: Given, new: Texts) -> Decisions:
    """Decides about texts by the newest version; nothing is asked, recorded or kept."""
    for number, text in enumerate(new.texts, 1):
        _check_text(text, f"text {number}")
    guard = given.held.guard().for_tenant(new.tenant)
    return Decisions(decisions=[guard.decide(text).to_dict() for text in new.texts])


@router.post("/check/answer")
def check_answer(given: Given, new: Answer) -> Hits:
    """Has the output checks read a finished answer."""
    _check_text(new.answer, "answer")
    _check_text(new.question, "question")
    guard = given.held.guard().for_tenant(new.tenant)
    found = read_finished(guard, new.answer, new.question)
    action = found[0].action if found else ALLOW
    return Hits(hits=[one.to_dict() for one in found], action=action, bundle=guard.version)


@router.get("/targets/{id}/scores")
def scores(given: Given, id: Id) -> Scores:
    """What a target's thresholds rest on, and how far above them requests lay."""
    bundle, margins = given.held.bundle(), None
    target = record_of(bundle, id)
    if given.feed is not None:
        given.feed.poll()
        margins = {f"{step:g}": n for step, n in sorted(given.feed.margins_of(id).items())}
    stages = stages_of(target, bundle)
    return Scores(id=id, version=bundle.version, stages=stages, margins=margins)


@router.get("/decisions")
def decisions(
    given: Given,
    after: Annotated[int, Query(ge=0, description="`newest` of an earlier answer.")] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Events:
    """The latest events of the audit: what touched a target, hits, changes. No texts."""
    if given.feed is None:
        return Events(audited=False, since=None, events=[], newest=0)
    given.feed.poll()
    found = given.feed.after(after)
    newest = found[0]["number"] if found else after
    return Events(audited=True, since=given.feed.since, events=found[:limit], newest=newest)


@router.get("/counts")
def counts(given: Given) -> Counts:
    """What was counted in the latest part of the audit, since `since`."""
    feed = given.feed
    if feed is None:
        return Counts(audited=False, since=None, requests={}, targets=[], hits=[], stages={})
    feed.poll()
    told = feed.counts()
    stages = {stage: _times(taken) for stage, taken in told.pop("times").items()}
    return Counts(audited=True, since=feed.since, stages=stages, **told)


@router.get("/servers")
async def servers(given: Given) -> Servers:
    """Which versions the serving processes said they serve, and how the endpoints are."""
    found = await endpoints.look(given.client, given.endpoints)
    told = await run_in_threadpool(_processes, given)
    version = (await run_in_threadpool(given.held.bundle)).version
    audited = given.feed is not None
    return Servers(version=version, audited=audited, processes=told, endpoints=found)


@router.get("/audit")
def audit(given: Given) -> Verdict:
    """Verifies the audit: reads all of it, so it takes its time."""
    if given.audit is None:
        raise AbsentError("There is no audit: start with --audit FOLDER.")
    if not _verifying.acquire(blocking=False):
        raise BusyError("The audit is being verified; try again when that is done.")
    try:
        verdict = verified(given.audit.folder, given.audit.sealer)
        return Verdict.model_validate(verdict.to_dict())
    finally:
        _verifying.release()


@router.get("/leakage")
def leakage(given: Given) -> Leakage:
    """The latest leakage that was measured: plain, and under the worst attack."""
    if given.leakage is None:
        raise AbsentError("There is no leakage report: start with --leakage FILE.")
    told = read_leakage(given.leakage)
    return Leakage.model_validate({**told, "rows": worst(told["rows"])})


@router.post("/ask")
async def ask(given: Given, who: Who, new: Question) -> dict[str, dict[str, Any]]:
    """Asks the guarded and the unguarded server; who asked is recorded, what was asked is not."""
    if given.pair is None:
        raise AbsentError("There are no servers to ask: start with --guarded and --unguarded.")
    if given.audit is not None:
        await run_in_threadpool(record, given.audit, "asked", {"who": who})
    return await given.pair.ask(given.client, new.prompt, new.max_tokens)


def _processes(given: Services) -> list[dict[str, Any]]:
    if given.feed is None:
        return []
    given.feed.poll()
    return given.feed.processes()


def _times(taken: Sequence[int]) -> dict[str, float]:
    """How often a stage ran, and the quantiles of its time."""
    if len(taken) == 1:
        return {"count": 1, "p50": taken[0], "p95": taken[0], "p99": taken[0]}
    cuts = statistics.quantiles(taken, n=100, method="inclusive")
    return {"count": len(taken), "p50": cuts[49], "p95": cuts[94], "p99": cuts[98]}


def _check_text(text: str, what: str) -> None:
    if not is_text(text):
        raise GuardError(f"{what}: holds characters that are no text")
