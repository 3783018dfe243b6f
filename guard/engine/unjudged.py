"""What becomes of a request that could not be judged, or of an answer that could not be checked.

It is refused. Where the policy says ``on_error: open`` it goes on unguarded, which is logged each
time; never where it was found flagged before it failed, and never where that cannot be recorded.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace

from guard.engine.progress import Progress
from guard.errors import GuardError
from guard.events import FAILED, OPENED, Decided, Noticed, Unchecked, request_name
from guard.guard import Guard
from guard.logs import told
from guard.recorder import Recorder

UNJUDGED = "The guard could not judge this request, so it was not answered."


@dataclass(frozen=True)
class Failure:
    """What failed.

    Attributes:
        name: The request's id.
        version: The version of the bundle that was to judge it.
        opens: Whether its policy says ``on_error: open``.
        progress: How far its judgement had come.
        error: What went wrong.
        trace: Its trace headers, where requests are traced.
        tenant: Whose request it is.
    """

    name: str
    version: str
    opens: bool
    progress: Progress
    error: Exception
    trace: Mapping[str, str] | None = None
    tenant: str | None = None

    @classmethod
    def of(
        cls, name: str, guard: Guard, progress: Progress, error: Exception,
        trace: Mapping[str, str] | None = None,
    ) -> "Failure":  # fmt: skip
        """What failed of a request that this guard was to judge."""
        opens = guard.bundle.manifest.on_error == "open"
        return cls(name, guard.version, opens, progress, error, trace, guard.tenant)

    @property
    def cause(self) -> BaseException:
        """What is at the bottom of it: the guard's own error, or what another's came from."""
        own = isinstance(self.error, GuardError)
        return self.error if own else self.error.__cause__ or self.error

    @property
    def reason(self) -> str:
        """Why, as a log may say it: the message of an unknown error could quote the prompt."""
        own = isinstance(self.error, GuardError)
        return str(self.error) if own else type(self.cause).__name__


class Unjudged:
    """Settles what could not be judged.

    Args:
        record: Is told of each.
        logger: Says it.
    """

    def __init__(self, record: Recorder, logger: logging.Logger) -> None:
        self._record, self._logger = record, logger

    def request(self, failure: Failure) -> bool:
        """Records and logs a request that could not be judged; may wait for the disk.

        Returns:
            Whether it goes on all the same.
        """
        decision = failure.progress.decision
        event = Decided(
            request_name(failure.name), failure.version, FAILED,
            tuple(map(Noticed.of, () if decision is None else decision.findings)),
            dict(failure.progress.seconds), type(failure.cause).__name__, failure.tenant,
        )  # fmt: skip
        return self._settled(f"request {event.request} could not be judged", event, failure)

    def answer(self, failure: Failure) -> bool:
        """The same of an answer that could not be checked, all of it being here."""
        name, error = request_name(failure.name), type(failure.cause).__name__
        event = Unchecked(name, failure.version, 0, FAILED, error)
        return self._settled(f"answer to request {name} could not be checked", event, failure)

    def _settled(self, what: str, event: Decided | Unchecked, failure: Failure) -> bool:
        opens = failure.opens and not failure.progress.enforced
        if opens:
            event = replace(event, action=OPENED)
        try:
            first = failure.progress.tell(lambda: self._record(event, failure.trace))
        except Exception as lost:
            reason = str(lost) if isinstance(lost, GuardError) else type(lost).__name__
            self._logger.error("guard: %s: %s: refused", what, reason)
            return False
        if opens and first:
            self._logger.error(
                "guard: %s (%s) and is answered UNGUARDED, because the policy says on_error: open",
                what, failure.reason, extra=told(event),
            )  # fmt: skip
            return True
        self._logger.error("guard: %s (%s): refused", what, failure.reason, extra=told(event))
        return False
