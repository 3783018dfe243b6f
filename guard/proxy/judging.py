"""A body's judgement: in a worker thread, within the bundle's time, and closed where it fails."""

import logging
from dataclasses import dataclass

from guard.decision import Decision
from guard.engine.mediator import Progress
from guard.engine.worker import Worker
from guard.proxy.enforcement import Edit, Enforcement
from guard.proxy.message import Refused
from guard.proxy.texts import Asked
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


class Judge:
    """Judges what clients ask.

    Args:
        enforcement: How what was decided is told over HTTP.
        worker: Whose threads it runs in.
    """

    def __init__(self, enforcement: Enforcement, worker: Worker) -> None:
        self.enforcement = enforcement
        self.guard = enforcement.guard
        self.worker = worker

    async def __call__(self, name: str, asked: Asked, carries: frozenset[str]) -> Verdict:
        """Judges a request.

        Args:
            name: Its id, for the log.
            asked: What it asks.
            carries: The interventions that its schema has fields for.

        Raises:
            Refused: It could not be judged (HTTP 503), or its format cannot be used.
        """
        progress = Progress()
        try:
            return await self.worker.acall(lambda: self._judge(name, asked, carries, progress))
        except Refused:
            raise
        except Exception as error:
            return self._failed(name, progress, error)

    def _judge(
        self, name: str, asked: Asked, carries: frozenset[str], progress: Progress
    ) -> Verdict:
        decision = self.guard.decide(asked.view)
        progress.decision = decision
        if not decision.enforced:
            if decision.flagged:
                _log(name, decision, "shadow")
            return Verdict(decision)
        edit = self.enforcement.edit(decision, asked.view, carries)
        _log(name, decision, decision.action)
        if edit.answer is None and asked.steering:
            texts = (*asked.steering, " ".join(asked.steering))
            alone = View.of_pieces([("steering", text) for text in texts])
            if self.guard.decide(alone).enforced:
                raise Refused(FORMAT)
        return Verdict(decision, edit)

    def _failed(self, name: str, progress: Progress, error: Exception) -> Verdict:
        # Not the message of an unknown error: it could quote the prompt.
        known = type(error).__module__.startswith("guard.")
        reason = str(error) if known else type(error).__name__
        # What is found to be flagged is never let through, whatever failed after that.
        if self.guard.bundle.manifest.on_error == "open" and not progress.enforced:
            logger.error(
                "guard: request %s could not be judged (%s) and is answered UNGUARDED, because "
                "the policy says on_error: open", name, reason,
            )  # fmt: skip
            return Verdict(None)
        logger.error("guard: request %s could not be judged (%s): refused", name, reason)
        raise Refused(UNJUDGED, 503, retry=RETRY) from None


def _log(name: str, decision: Decision, what: str) -> None:
    """Says what is done, of which targets; of those in shadow mode, what would be."""
    done = ",".join(finding.target for finding in decision.enforced) or "-"
    others = [finding for finding in decision.findings if finding.mode == "shadow"]
    would = ",".join(f"{finding.target}:{finding.action}" for finding in others) or "-"
    logger.info("guard: request %s: %s (targets %s; would_block %s)", name, what, done, would)
