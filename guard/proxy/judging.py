"""A body's judgement: in a worker thread, within the bundle's time, and closed where it fails."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from guard.decision import Decision
from guard.engine.progress import Progress
from guard.engine.unjudged import UNJUDGED, Failure, Unjudged
from guard.engine.worker import Worker
from guard.events import Decided
from guard.logs import told
from guard.proxy.enforcement import REFUSE, Edit, Enforcement
from guard.proxy.message import Refused
from guard.proxy.texts import Asked
from guard.recorder import Recorder
from guard.view import View

logger = logging.getLogger("guard.proxy")

FORMAT = "The output format cannot be used on this server."
RETRY = 1  # seconds

T = TypeVar("T")


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
        self._unjudged = Unjudged(record, logger)

    async def __call__(self, case: Case, progress: Progress) -> Verdict:
        """Judges a request.

        Args:
            case: The request.
            progress: Is told how far the judgement has come.

        Raises:
            Refused: It could not be judged (HTTP 503), or its format cannot be used.
        """
        try:
            return await self.run(lambda: self._judge(case, progress))
        except Refused:
            raise
        except Exception as error:
            failure = Failure.of(case.name, self.guard, progress, error, case.trace)
            # In a thread: recording may wait for the disk.
            if await asyncio.to_thread(self._unjudged.request, failure):
                return Verdict(None)
            raise Refused(UNJUDGED, 503, retry=RETRY) from None

    async def run(self, job: Callable[[], T]) -> T:
        """Runs something in a worker thread, within the bundle's time.

        Raises:
            DetectionError: It took too long.
        """
        return await self.worker.acall(job, self.guard.bundle.manifest.timeout)

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
        steered = edit is not None and edit.answer is None and self._steers(asked)
        progress.decided(lambda: self.record(event, case.trace))
        if decision.flagged:
            _log(event)
        if steered:
            raise Refused(FORMAT)
        return Verdict(decision, edit)

    def _steers(self, asked: Asked) -> bool:
        """Whether what an answer is forced into is flagged by itself."""
        if not asked.steering:
            return False
        texts = (*asked.steering, " ".join(asked.steering))
        alone = View.of_pieces([("steering", text) for text in texts])
        return bool(self.guard.decide(alone).enforced)


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
