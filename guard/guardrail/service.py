"""What a guardrail says: a request is judged, an answer is checked, and what fails is blocked."""

import logging
import uuid
from dataclasses import dataclass

from guard.engine.mediator import asked_part
from guard.engine.progress import Progress
from guard.engine.unjudged import UNJUDGED, Failure, Unjudged
from guard.engine.worker import Worker
from guard.errors import OutputError
from guard.events import Decided, Hit, request_name
from guard.guardrail.contract import Call, Reply, blocked
from guard.guardrail.edition import CARRIES, Edition
from guard.guardrail.memory import Memory, Prompt
from guard.logs import told
from guard.output.finished import read_finished
from guard.proxy.enforcement import Edit
from guard.proxy.message import Refused
from guard.recorder import Recorder
from guard.view import strings

logger = logging.getLogger("vllm.guard")

UNCHECKED = "The guard could not check this answer, so it is not shown."
STOPPED = "This answer cannot be shown."


class Service:
    """Answers calls of a gateway.

    Args:
        edition: What calls are answered by at first.
        recorder: Is told of each decision and hit.

    Attributes:
        edition: What calls are answered by; may be replaced at any time.
    """

    def __init__(self, edition: Edition, recorder: Recorder | None = None) -> None:
        self.edition = edition
        self.worker = Worker(self.edition.timeout)
        self.memory = Memory()
        self.record = recorder or Recorder()
        self._unjudged = Unjudged(self.record, logger)

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
        edition, prompt = self.edition, None
        if call.input_type == "response" and (prompt := self.memory.find(call.litellm_call_id)):
            edition = prompt.edition  # an answer is checked by what judged its prompt
        asks = _Asks(name, call, edition, prompt)
        work = self._judge if call.input_type == "request" else self._check
        progress = _Progress()
        try:
            return await self.worker.acall(lambda: work(asks, progress), edition.timeout)
        except Refused as refused:
            return blocked(f"This request cannot be judged: {refused.message}.")
        except Exception as error:
            return self._failed(asks, progress, error)

    def _judge(self, asks: "_Asks", progress: "_Progress") -> Reply:
        name, call, edition = asks.name, asks.call, asks.edition
        view = call.asked()
        progress.passed("view")
        decision = edition.guard.decide(view)
        progress.passed("detect")
        progress.decision = decision
        edit = edition.enforcement.edit(decision, view, CARRIES) if decision.enforced else None
        progress.passed("apply")
        event = Decided.of(name, decision, progress.seconds)
        progress.decided(lambda: self.record(event))
        if decision.flagged:
            ids = ",".join(finding.target for finding in decision.findings)
            what = decision.action if decision.enforced else "shadow"
            logger.info("guard: request %s: %s (targets %s)", name, what, ids, extra=told(event))
        if edition.guard.output:
            part = asked_part(view)
            question = view.text if part is None else view.text[part.start : part.end]
            doubted = edition.guard.doubted(decision)
            kept = Prompt(question, view.text, doubted, edition)
            self.memory.keep(call.litellm_call_id, kept)
        return Reply(action="NONE") if edit is None else _edited(call, edit)

    def _check(self, asks: "_Asks", progress: "_Progress") -> Reply:
        name, call, guard = asks.name, asks.call, asks.edition.guard
        if call.images:
            raise Refused("images cannot be read")
        texts = [*(call.texts or ()), *_arguments(call)]
        if not guard.output or not texts:
            return Reply(action="NONE")
        # Whose prompt is not known here may have come near to anything.
        unknown = Prompt("", "", frozenset(guard.output.rules), asks.edition)
        prompt = asks.prompt or unknown
        stop: str | None = None
        for number, text in enumerate(texts):
            for found in read_finished(
                guard, text, prompt.question, prompt=prompt.text, doubted=prompt.doubted
            ):
                enforced = found.rule.mode == "enforce"
                progress.found = progress.found or enforced
                done = "blocked" if enforced else "shadow"
                hit = found.hit
                event = Hit(name, guard.version, number, hit.check, hit.target, hit.start, done)
                if progress.told:
                    raise OutputError("it was given up before it was checked")
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
            readers = prompt.edition.guard.output.start(
                prompt.question, prompt.text, prompt.doubted
            )
            safe = (reader.read(text, done=False).safe for _, reader in readers)
            undecided.append(len(text) - min(safe, default=len(text)))
        return undecided

    def _failed(self, asks: "_Asks", progress: "_Progress", error: Exception) -> Reply:
        failure = Failure.of(asks.name, asks.edition.guard, progress, error)
        asked = asks.call.input_type == "request"
        if (self._unjudged.request if asked else self._unjudged.answer)(failure):
            return Reply(action="NONE")
        return blocked(UNJUDGED if asked else UNCHECKED)


@dataclass(frozen=True)
class _Asks:
    """A call, and what answers it.

    Attributes:
        name: The request's name.
        call: The call.
        edition: What answers it.
        prompt: What an answer is an answer to, where that is known.
    """

    name: str
    call: Call
    edition: Edition
    prompt: Prompt | None


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
