"""A body's judgement: in a worker thread, within the bundle's time, and closed where it fails."""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace

from guard.decision import Decision
from guard.engine.mediator import Progress
from guard.engine.worker import Worker
from guard.errors import AuditError
from guard.events import FAILED, OPENED, Decided, Noticed, request_name
from guard.logs import told
from guard.proxy.enforcement import REFUSE, Edit, Enforcement
from guard.proxy.message import Refused
from guard.proxy.texts import Asked
from guard.recorder import Recorder
from guard.view import View

logger = logging.getLogger("guard.proxy")

UNJUDGED = "The guard could not judge this request, so it was not answered."
FORMAT = "The output format cannot be used on this server."
RETRY = 1  # seconds


@dataclass(frozen=True)
class Verdict:
    """What is to be done with a request.

    Attributes:
        decision: What was decided; None where it could not be judged, and goes on all the same
            (``on_error: open``).
        edit: What is done to it, if anything.
    """

    decision: Decision | None
    edit: Edit | None = None


@dataclass(frozen=True)
class Case:
    """What is to be judged.

    Attributes:
        name: The request's id.
        asked: What it asks.
        carries: The interventions that its schema has fields for.
        trace: Its trace headers, where requests are traced.
    """

    name: str
    asked: Asked
    carries: frozenset[str]
    trace: Mapping[str, str]


class Judge:
    """Judges what clients ask.

    Args:
        enforcement: How what was decided is told over HTTP.
        worker: Whose threads it runs in.
        record: Is told of each decision, before it is followed.
    """

    def __init__(self, enforcement: Enforcement, worker: Worker, record: Recorder) -> None:
        self.enforcement = enforcement
        self.guard = enforcement.guard
        self.worker = worker
        self.record = record

    async def __call__(self, case: Case, progress: Progress) -> Verdict:
        """Judges a request.

        Args:
            case: The request.
            progress: Is told how far the judgement has come.

        Raises:
            Refused: It could not be judged (HTTP 503), or its format cannot be used.
        """
        try:
            return await self.worker.acall(lambda: self._judge(case, progress))
        except Refused:
            raise
        except Exception as error:  # recording may wait for the disk
            return await asyncio.to_thread(self._failed, case, progress, error)

    def _judge(self, case: Case, progress: Progress) -> Verdict:
        progress.passed("wait")
        asked = case.asked
        decision = self.guard.decide(asked.view)
        progress.decision = decision
        progress.passed("detect")
        edit = None
        if decision.enforced:
            edit = self.enforcement.edit(decision, asked.view, case.carries)
            progress.passed("apply")
        event = Decided.of(case.name, decision, progress.seconds)
        if edit is not None and edit.answer is not None:
            event = replace(event, action=REFUSE)  # whatever a `guard serve` would have done
        self.record(event, case.trace)
        if decision.flagged:
            _log(event)
        if edit is not None and edit.answer is None and asked.steering:
            texts = (*asked.steering, " ".join(asked.steering))
            alone = View.of_pieces([("steering", text) for text in texts])
            if self.guard.decide(alone).enforced:
                raise Refused(FORMAT)
        return Verdict(decision, edit)

    def _failed(self, case: Case, progress: Progress, error: Exception) -> Verdict:
        # Not the message of an unknown error: it could quote the prompt.
        known = type(error).__module__.startswith("guard.")
        reason = str(error) if known else type(error).__name__
        found = () if progress.decision is None else progress.decision.findings
        event = Decided(
            request_name(case.name), self.guard.version, FAILED, tuple(map(Noticed.of, found)),
            dict(progress.seconds), type(error).__name__, self.guard.tenant,
        )  # fmt: skip
        # What is found to be flagged is never let through, whatever failed after that.
        if self.guard.bundle.manifest.on_error == "open" and not progress.enforced:
            event = replace(event, action=OPENED)
            self._recorded(event, case)
            logger.error(
                "guard: request %s could not be judged (%s) and is answered UNGUARDED, because "
                "the policy says on_error: open", event.request, reason, extra=told(event),
            )  # fmt: skip
            return Verdict(None)
        self._recorded(event, case)
        logger.error(
            "guard: request %s could not be judged (%s): refused", event.request, reason,
            extra=told(event),
        )  # fmt: skip
        raise Refused(UNJUDGED, 503, retry=RETRY) from None

    def _recorded(self, event: Decided, case: Case) -> None:
        """Records what became of a request that could not be judged.

        Raises:
            Refused: It would be answered unguarded, and nobody would know.
        """
        try:
            self.record(event, case.trace)
        except AuditError as error:
            logger.error("guard: request %s: %s: refused", event.request, error)
            raise Refused(UNJUDGED, 503, retry=RETRY) from None


def _log(event: Decided) -> None:
    """Says what is done, of which targets; of those in shadow mode, what would be."""
    enforced = [one.target for one in event.targets if one.mode == "enforce"]
    done = ",".join(enforced) or "-"
    others = [f"{one.target}:{one.action}" for one in event.targets if one.mode == "shadow"]
    what = event.action if enforced else "shadow"
    logger.info(
        "guard: request %s: %s (targets %s; would_block %s)",
        event.request, what, done, ",".join(others) or "-", extra=told(event),
    )  # fmt: skip
