"""What reads the answers to one request, and where one of them has to end."""

import asyncio
import logging
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import TypeVar

from guard.engine.mediator import asked_part
from guard.engine.worker import Worker
from guard.errors import AuditError
from guard.events import Hit as HitEvent
from guard.events import Unchecked, request_name
from guard.guard import Guard
from guard.logs import told
from guard.manifest import Mode
from guard.output.base import Hit, Reader
from guard.proxy.endings import Ending
from guard.proxy.judging import Verdict
from guard.recorder import Recorder
from guard.view import View

T = TypeVar("T")

logger = logging.getLogger("guard.proxy")


class Checks:
    """What reads the answers to one request.

    Args:
        guard: The guard.
        worker: Whose threads long texts are read and sentences encoded in.
        record: Is told of each hit, before it is followed, and of what could not be read.
        name: The request's id.
        view: What was judged.
        verdict: What was decided.
        finished: The text that ends an answer about a target, where it has one.
        goes_on: The one text of an answer that the server can be asked to go on with, if it can.
    """

    def __init__(
        self,
        guard: Guard,
        worker: Worker,
        record: Recorder,
        name: str,
        view: View,
        verdict: Verdict,
        finished: Callable[[str, View], str | None],
        goes_on: str | None = None,
    ) -> None:
        self.guard, self._worker, self.name = guard, worker, request_name(name)
        self.goes_on = goes_on
        self.seconds = 0.0  # of reading
        self._record = record
        self._view, self._finished = view, finished
        part = asked_part(view)
        self._question = view.text if part is None else view.text[part.start : part.end]
        self._doubted = guard.doubted(verdict.decision) if guard.output else frozenset[str]()

    async def run(self, job: Callable[[], T]) -> T:
        """Runs something in a worker thread, within the bundle's time.

        Raises:
            DetectionError: It took too long.
        """
        return await self._worker.acall(job, self.guard.bundle.manifest.timeout)

    def readers(self, mode: Mode) -> Sequence[Reader]:
        """Readers of one text of an answer."""
        output = self.guard.output
        if not output:
            return ()
        found = output.start(self._question, self._view.text, self._doubted, mode)
        return [reader for _, reader in found]

    async def ending(self, number: int, hit: Hit, times: int, texts: Collection[str]) -> Ending:
        """How an answer ends where something was hit, or goes on.

        Tokens cannot be forced over HTTP. A server may be asked to go on from what has left, where
        that is all that there is of the answer. Else there remains what the policy has for when
        ``rollback`` and ``switch`` are used up (``then``), or the finished text of a target that
        is refused.

        Args:
            number: Which of the answers it is.
            hit: What was hit.
            times: How often it was gone on with.
            texts: The names of the texts that it has.
        """
        rule = self.guard.output.rules[hit.target]
        action, text = str(rule.on_hit), ""
        if action == "rollback" and times < rule.times and {*texts} == {self.goes_on}:
            await self.note(number, hit, action)
            return Ending("", "", hit.phrases)
        if action == "switch":
            text = self._finished(hit.target, self._view) or ""
        if action in ("rollback", "switch") and not text:
            action = str(rule.then)
        if action == "answer":
            text = rule.answer
        await self.note(number, hit, action)
        return Ending(text, "stop" if text else "content_filter")

    async def note(self, number: int, hit: Hit, action: str) -> None:
        """Tells of a hit: where it is, never what.

        Raises:
            AuditError: It cannot be recorded, and is to be.
        """
        event = HitEvent(
            self.name, self.guard.version, number, hit.check, hit.target, hit.start, action
        )
        # Off the event loop: it may wait for the disk.
        await self.run(partial(self._record, event))
        logger.info(
            "guard: request %s: answer %d: check %s hit target %s at character %d: %s",
            self.name, number, hit.check, hit.target, hit.start, action, extra=told(event),
        )  # fmt: skip

    async def recorded(self, event: Unchecked) -> bool:
        """Whether what became of an answer that could not be read is recorded, where it must."""
        try:
            await asyncio.to_thread(self._record, event)
        except AuditError:
            return False
        return True

    def over(self) -> None:
        """Says that nothing more of the answers is read."""
        if self.guard.output:
            self._record.stage("check", self.seconds)


class Unread(Checks):
    """Reads nothing: what leaves is the guard's own text.

    Args:
        guard: The guard.
        worker: Not asked.
        name: The request's id.
    """

    def __init__(self, guard: Guard, worker: Worker, name: str) -> None:
        self.guard, self._worker, self.name = guard, worker, request_name(name)
        self.goes_on, self.seconds = None, 0.0

    def readers(self, mode: Mode) -> Sequence[Reader]:
        """None."""
        return ()
