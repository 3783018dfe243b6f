"""What a guardrail says: a request is judged, an answer is checked, and what fails is blocked."""

import logging
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

from guard.engine.mediator import Progress, asked_part
from guard.engine.worker import Worker
from guard.errors import EngineError, OutputError
from guard.events import FAILED, OPENED, Decided, Hit, Noticed, Unchecked, request_name
from guard.guard import Guard
from guard.guardrail.contract import Call, Reply, blocked
from guard.guardrail.memory import Memory, Prompt
from guard.logs import told
from guard.output.finished import read_finished
from guard.proxy.enforcement import INSTRUCT, REFUSE, Edit, Enforcement, Means
from guard.proxy.message import Refused
from guard.recorder import Recorder
from guard.view import strings

logger = logging.getLogger("vllm.guard")

UNJUDGED = "The guard could not judge this request, so it was not answered."
UNCHECKED = "The guard could not check this answer, so it is not shown."
STOPPED = "This answer cannot be shown."
_CARRIES = frozenset({REFUSE, INSTRUCT})


class Service:
    """Answers calls of a gateway.

    Args:
        guard: The guard.
        instead: Whether what a guardrail cannot do about a request is replaced by a refusal.
        recorder: Is told of each decision and hit.

    Raises:
        EngineError: An enforced target's intervention cannot be done; names target and mend.
    """

    def __init__(
        self, guard: Guard, *, instead: bool = False, recorder: Recorder | None = None
    ) -> None:
        for target, kind in _unable(guard):
            if not instead:
                raise EngineError(
                    f"target {target}: {kind!r} cannot be done by a guardrail, which sees texts "
                    "only; use `guard serve` or `guard proxy`, or give --instead refuse to have "
                    "such requests refused"
                )
        self.guard = guard
        self.worker = Worker(guard.bundle.manifest.timeout)
        self.memory = Memory()
        self.record = recorder or Recorder()
        self._enforcement = Enforcement(guard, Means(instead=True, vllm=False))

    @property
    def well(self) -> bool:
        """Whether requests can be judged."""
        return self.worker.stuck < self.worker.most_stuck

    async def answer(self, raw: bytes) -> Reply:
        """Answers a call; whatever fails, what it is about is blocked."""
        try:
            call = Call.read(raw)
        except Refused as refused:
            logger.error("guard: a call of the gateway cannot be read: %s", refused.message)
            return blocked(f"The guard cannot read this call: {refused.message}")
        name = request_name(call.litellm_call_id or uuid.uuid4().hex)
        work = self._judge if call.input_type == "request" else self._check
        progress = _Progress()
        try:
            return await self.worker.acall(lambda: work(name, call, progress))
        except Refused as refused:
            return blocked(f"This request cannot be judged: {refused.message}.")
        except Exception as error:
            return self._failed(name, call, progress, error)

    def _judge(self, name: str, call: Call, progress: "_Progress") -> Reply:
        view = call.asked()
        progress.passed("view")
        decision = self.guard.decide(view)
        progress.passed("detect")
        progress.decision = decision
        edit = self._enforcement.edit(decision, view, _CARRIES) if decision.enforced else None
        progress.passed("apply")
        event = Decided.of(name, decision, progress.seconds)
        self.record(event)
        if decision.flagged:
            ids = ",".join(finding.target for finding in decision.findings)
            what = decision.action if decision.enforced else "shadow"
            logger.info("guard: request %s: %s (targets %s)", name, what, ids, extra=told(event))
        if self.guard.output:
            part = asked_part(view)
            question = view.text if part is None else view.text[part.start : part.end]
            doubted = self.guard.doubted(decision)
            self.memory.keep(call.litellm_call_id, Prompt(question, view.text, doubted))
        return Reply(action="NONE") if edit is None else _edited(call, edit)

    def _check(self, name: str, call: Call, progress: "_Progress") -> Reply:
        if call.images:
            raise Refused("images cannot be read")
        texts = [*(call.texts or ()), *_arguments(call)]
        if not self.guard.output or not texts:
            return Reply(action="NONE")
        # Whose prompt is not known here may have come near to anything.
        unknown = Prompt("", "", frozenset(self.guard.output.rules))
        prompt = self.memory.find(call.litellm_call_id) or unknown
        stop: str | None = None
        for number, text in enumerate(texts):
            for found in read_finished(
                self.guard, text, prompt.question, prompt=prompt.text, doubted=prompt.doubted
            ):
                enforced = found.rule.mode == "enforce"
                progress.found = progress.found or enforced
                done = "blocked" if enforced else "shadow"
                hit = found.hit
                event = Hit(
                    name, self.guard.version, number, hit.check, hit.target, hit.start, done
                )
                self.record(event)
                logger.info(
                    "guard: request %s: answer %d: check %s hit target %s at character %d: %s",
                    name, number, hit.check, hit.target, hit.start, done, extra=told(event),
                )  # fmt: skip
                if enforced and stop is None:
                    ends = "answer" in (found.rule.on_hit, found.rule.then)
                    stop = found.rule.answer if ends else STOPPED
        progress.passed("check")
        self.record.stage("check", progress.seconds["check"])
        if stop is not None:
            return blocked(stop)
        return Reply(action="NONE", stream_holdback_chars=self._undecided(call, prompt))

    def _undecided(self, call: Call, prompt: Prompt) -> list[int]:
        """How many characters at the end of each text may yet belong to a hit, were more to come.

        A gateway that streams asks about what there is so far, and does not say that more is to
        come; one that has asked to be told withholds so much of it.
        """
        undecided = []
        for text in call.texts or ():
            readers = self.guard.output.start(prompt.question, prompt.text, prompt.doubted)
            safe = (reader.read(text, done=False).safe for _, reader in readers)
            undecided.append(len(text) - min(safe, default=len(text)))
        return undecided

    def _failed(self, name: str, call: Call, progress: "_Progress", error: Exception) -> Reply:
        # Not the message of an unknown error: it could quote a prompt.
        known = type(error).__module__.startswith("guard.")
        reason = str(error) if known else type(error).__name__
        asked = call.input_type == "request"
        opens = self.guard.bundle.manifest.on_error == "open" and not progress.enforced
        action = OPENED if opens else FAILED
        event: Decided | Unchecked
        if asked:
            seen = () if progress.decision is None else progress.decision.findings
            noticed = tuple(map(Noticed.of, seen))
            event = Decided(
                name, self.guard.version, action, noticed, progress.seconds, type(error).__name__
            )
        else:
            event = Unchecked(name, self.guard.version, 0, action, type(error).__name__)
        what = "request" if asked else "answer to request"
        try:
            self.record(event)
        except Exception as lost:  # then it must not go out unguarded
            logger.error("guard: %s %s: %s: blocked", what, name, type(lost).__name__)
            opens = False
        if opens:
            logger.error(
                "guard: %s %s could not be judged (%s) and goes on UNGUARDED, because the policy "
                "says on_error: open", what, name, reason, extra=told(event),
            )  # fmt: skip
            return Reply(action="NONE")
        logger.error(
            "guard: %s %s could not be judged (%s): blocked", what, name, reason, extra=told(event)
        )
        return blocked(UNJUDGED if asked else UNCHECKED)


@dataclass
class _Progress(Progress):
    """How far a call has come.

    Attributes:
        found: Whether something was found in an answer that must not leave.
    """

    found: bool = False

    @property
    def enforced(self) -> bool:
        """Whether it is decided already that this must not go on."""
        return self.found or super().enforced


def _edited(call: Call, edit: Edit) -> Reply:
    """A request as it goes on, or why it does not."""
    if edit.answer is not None:
        return blocked(edit.answer)
    place = call.last_user()
    if place is None:
        raise OutputError("what the user said last is not among the texts of the call")
    texts = list(call.texts or ())
    said = [instruction.text for instruction in edit.instructions]
    texts[place] = "\n\n".join([*said, texts[place]])
    return Reply(action="GUARDRAIL_INTERVENED", texts=texts)


def _arguments(call: Call) -> list[str]:
    """The texts of an answer's tool calls."""
    return [text for text in strings(call.tool_calls or []) if text.strip()]


def _unable(guard: Guard) -> Iterator[tuple[str, str]]:
    """Enforced targets whose interventions a guardrail cannot do, and the first of these."""
    for target, stand in guard.detected.items():
        for one in (one for band in stand.bands for one in band):
            if stand.mode == "enforce" and one.kind not in _CARRIES:
                yield target, one.kind
                break
