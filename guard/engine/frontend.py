"""One engine's guard in front of it: every request is judged, edited and sealed here.

The way of a request: `admit` refuses what cannot be read; in a worker thread it is judged, and
what was decided becomes a sealed request or a finished answer. The asynchronous and the
synchronous engine differ only in how they wait (`ajudged`, `judged`).
"""

import contextvars
import hashlib
import logging
import os
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from guard.decision import Decision
from guard.engine import compat, evaluation, verdict
from guard.engine.answering import answers_for
from guard.engine.checking import Answers
from guard.engine.lane import Ask
from guard.engine.mediator import Mediator, Outcome
from guard.engine.progress import Progress
from guard.engine.served import Served, kept
from guard.engine.settings import start_key
from guard.engine.unjudged import UNJUDGED, Failure, Unjudged
from guard.engine.worker import Worker
from guard.errors import InterventionError
from guard.events import Decided
from guard.guard import Guard
from guard.handover import found
from guard.interventions.base import Request
from guard.logs import told
from guard.recorder import Recorder
from guard.tenants import caller

logger = logging.getLogger("vllm.guard")  # below vLLM's own logger, so that its set-up holds

# Beam search asks the engine token by token; a finished answer has no place in it.
in_beam_search: contextvars.ContextVar[bool] = contextvars.ContextVar("beam", default=False)


# Prompts whose edits are held at once: the engine keeps each whole while its request runs, beyond
# what it has planned its memory for.
MOST_EDITED_BYTES = 1 << 30


@dataclass(frozen=True)
class Admitted:
    """A request that can be judged.

    Attributes:
        rendered: Its prompt in the engine's form.
        params: Its parameters, without whatever a client put where the guard's own things go.
        served: The bundle that all of it is decided and checked by, to its last answer, as it
            stands for whoever asks.
        lora_request: Its LoRA adapter, if any.
        probe: The token of a genuine probe, if it is one.
        forced: The answer to be scored, if an evaluator asks; its tokens.
        texts: What besides the prompt steers the answer.
        found: Targets that a proxy has found in it.
        trace: Its trace headers, where requests are traced.
    """

    rendered: dict[str, Any]
    params: Any
    served: Served
    lora_request: Any = None
    probe: str | None = None
    forced: tuple[int, ...] = ()
    texts: list[str] = field(default_factory=list)
    found: frozenset[str] = frozenset()
    trace: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Settled:
    """What goes on: a finished output, or a sealed request.

    Attributes:
        output: The finished output; then there is nothing to send.
        prompt: The prompt to send, in the engine's form.
        params: The parameters to send.
        lora_request: The LoRA adapter that answers, if any.
        hide: What to do with each output before the client gets it.
        size: Bytes that its edits hold until it is finished.
        answers: What checks its answers; then it is this that asks the engine, and seals with
            `Frontend.sealed_ask`.
    """

    output: Any = None
    prompt: dict[str, Any] | None = None
    params: Any = None
    lora_request: Any = None
    hide: Callable[[Any], Any] | None = None
    size: int = 0
    answers: Answers | None = None


class Frontend:
    """Judges, edits and seals the requests of one engine.

    Args:
        mediator: Judges what the engine's model reads.
        engine: vLLM's ``AsyncLLM`` or ``LLMEngine``.
        sealed: Whether its engine process asks for seals.
        evaluation: Whether answers can be scored; see `guard.engine.evaluation`.
        recorder: Is told of each decision; counts only without.
    """

    def __init__(
        self,
        mediator: Mediator,
        engine: Any,
        *,
        sealed: bool = True,
        evaluation: bool = False,
        recorder: Recorder | None = None,
    ) -> None:
        self.served = Served(mediator)  # exchanged whole, by whoever reloads
        self.tokenizer = mediator.tokenizer
        self.engine = engine
        self.sealed = sealed
        self.evaluation = evaluation
        self.core_proved = not sealed
        self.counts: Counter[str] = Counter()
        self.record = recorder or Recorder()
        self._unjudged = Unjudged(self.record, logger)
        self.edited_bytes = 0
        self.seals = verdict.Seals(start_key())
        self.worker = Worker(self.served.timeout)

    @property
    def mediator(self) -> Mediator:
        """What judges requests that come now. Those that came before keep to theirs."""
        return self.served.mediator

    @property
    def guard(self) -> Guard:
        """The guard of requests that come now."""
        return self.served.guard

    def admit(
        self,
        rendered: Any,
        params: Any,
        lora_request: Any = None,
        trace: Mapping[str, str] | None = None,
    ) -> Admitted:
        """Refuses what the guard cannot read.

        Raises:
            Exception: vLLM's validation error; HTTP 400.
        """
        kind = rendered.get("type")
        if kind == "embeds":
            raise compat.bad_request(
                "Prompt embeddings cannot be sent to this server.", "prompt_embeds"
            )
        if kind != "token":
            raise compat.bad_request(f"Prompts of type {kind!r} cannot be sent to this server.")
        ids = rendered["prompt_token_ids"]
        if any(not 0 <= token < 1 << 31 for token in ids):
            raise compat.bad_request("A token id is out of range.", "prompt")
        sent = compat.extra_args(params)
        probe = sent.get(verdict.PROBE)
        if not (verdict.probing.get() and self.seals.accepts(probe, "probe")):
            probe = None
        forced = ()
        if self.evaluation and evaluation.evaluating.get():
            forced = tuple(sent.get(verdict.FORCED, ()))
        clean = {k: v for k, v in sent.items() if not str(k).startswith(verdict.PREFIX)}
        texts = compat.steering_texts(params, self.tokenizer)
        if sum(map(len, texts)) > compat.MOST_STEERING:
            raise compat.bad_request("The output format is too large to be judged.")
        params = compat.with_extra_args(params, clean)
        served = self._keeps()
        if probe is None:  # a probe is nobody's: it asks about every target
            served = served.for_caller(caller.get())
        return Admitted(
            rendered, params, served, lora_request, probe, forced, texts, found.get(), trace
        )

    def _keeps(self) -> Served:
        """The bundle that a request keeps to: what is in force as its first part comes."""
        held, now = kept.get(), self.served
        return now if held is None else held.setdefault(self, now)

    def judged(self, request_id: str, admitted: Admitted) -> Settled:
        """Judges, settles, and waits for it.

        Raises:
            Exception: vLLM's error for a request that could not be judged; HTTP 503.
        """
        progress = Progress()
        context = contextvars.copy_context()  # goes along: a beam search is known by it
        try:
            return self.worker.call(
                lambda: context.run(self._work, request_id, admitted, progress),
                admitted.served.timeout,
            )
        except Exception as error:
            return self._failed(request_id, admitted, progress, error)

    async def ajudged(self, request_id: str, admitted: Admitted) -> Settled:
        """Judges, settles, and awaits it; otherwise like `judged`."""
        progress = Progress()
        context = contextvars.copy_context()
        try:
            return await self.worker.acall(
                lambda: context.run(self._work, request_id, admitted, progress),
                admitted.served.timeout,
            )
        except Exception as error:
            return self._failed(request_id, admitted, progress, error)

    def _work(self, request_id: str, admitted: Admitted, progress: Progress) -> Settled:
        """What runs in a worker thread, so that neither event loop nor caller is held up."""
        progress.passed("wait")
        ids = admitted.rendered["prompt_token_ids"]
        outcome = admitted.served.mediator.judge(ids, admitted.texts, progress, admitted.found)
        return self._settle(request_id, admitted, outcome, progress)

    def _failed(
        self, request_id: str, admitted: Admitted, progress: Progress, error: Exception
    ) -> Settled:
        if compat.is_client_error(error):
            raise error
        served = admitted.served
        failure = Failure(
            request_id, served.version, served.opens, progress, error, admitted.trace, served.tenant
        )
        self.counts["failed"] += 1
        if not self._unjudged.request(failure):
            raise compat.unavailable(UNJUDGED) from None
        self.counts["opened"] += 1
        ask = Ask(admitted.rendered, admitted.params, admitted.lora_request)
        return self._going(request_id, admitted, None, ask)

    def _settle(
        self, request_id: str, admitted: Admitted, outcome: Outcome, progress: Progress
    ) -> Settled:
        """Turns what was decided into a finished output or a sealed request, and tells of it."""
        decision = outcome.decision
        if admitted.probe is not None:
            return Settled(self._attest(request_id, admitted, decision))
        event = Decided.of(request_id, decision, progress.seconds)
        try:
            settled = self._settled(request_id, admitted, outcome)
        except Exception as error:
            if compat.is_client_error(error):  # of what was decided
                self._tell(event, admitted, decision, progress)
            raise
        self._tell(event, admitted, decision, progress)
        return settled

    def _tell(
        self, event: Decided, admitted: Admitted, decision: Decision, progress: Progress
    ) -> None:
        progress.decided(lambda: self.record(event, admitted.trace))
        self.counts[decision.action] += 1
        if decision.flagged:
            targets = ",".join(finding.target for finding in decision.findings)
            what = decision.action if decision.enforced else "shadow"
            logger.info(
                "guard: request %s: %s (targets %s)",
                event.request,
                what,
                targets,
                extra=told(event),
            )

    def _settled(self, request_id: str, admitted: Admitted, outcome: Outcome) -> Settled:
        rendered, params = admitted.rendered, admitted.params
        decision = outcome.decision
        if not decision.enforced:
            if admitted.forced:
                params = compat.scoring.forced(params, admitted.forced)
            ask = Ask(rendered, params, admitted.lora_request)
            return self._going(request_id, admitted, outcome, ask)
        if compat.is_pooling(params):
            raise compat.bad_request("This prompt cannot be turned into a vector on this server.")
        if in_beam_search.get():
            raise compat.bad_request("Beam search is not available for this prompt.")
        if outcome.steered:
            raise compat.bad_request("The output format cannot be used on this server.")
        if outcome.answer is not None:
            text = outcome.answer.text
            return Settled(
                compat.finished_output(request_id, rendered, text, self.tokenizer, params)
            )
        if outcome.edited is None:
            raise InterventionError("an enforced intervention changed nothing")
        edited = outcome.edited
        if len(edited.token_ids) >= self.engine.model_config.max_model_len:
            raise compat.bad_request("The prompt is too long for this server.")
        size = compat.edited_prompt_bytes(self.engine, edited)
        if self.edited_bytes + size > MOST_EDITED_BYTES:
            raise InterventionError("too many edited prompts are held at once")
        prompt, params, lora_request = self.edited(admitted, edited, decision.action)
        if admitted.forced:
            params = compat.scoring.forced(params, admitted.forced)
        settled = self._going(request_id, admitted, outcome, Ask(prompt, params, lora_request))
        return replace(settled, hide=lambda output: self.hidden(admitted, output), size=size)

    def hidden(self, admitted: Admitted, output: Any) -> Any:
        """An output without what tells how its prompt was edited."""
        if admitted.forced:  # an evaluator is told what clients are not
            return output
        block = self.engine.vllm_config.cache_config.block_size
        return compat.hide(output, admitted.rendered, admitted.params, self.tokenizer, block)

    def edited(self, admitted: Admitted, edited: Request, action: str) -> tuple[Any, Any, Any]:
        """What the engine is asked in place of a prompt: prompt, parameters, adapter."""
        rendered = admitted.rendered
        served = admitted.served
        salt = _salt(rendered.get("cache_salt"), served.version, action, served.tenant)
        params = compat.without_revealing(admitted.params)
        return (
            compat.edited_prompt(self.engine, rendered, edited, salt),
            compat.planned(params, edited.steering, self.tokenizer),
            compat.adapter_request(edited.adapter) or admitted.lora_request,
        )

    def sealed_ask(self, ask: Ask, served: Served) -> Any:
        """The parameters of what the engine is asked, with their seal.

        Args:
            ask: What it is asked.
            served: The bundle that has judged it.
        """
        if not self.sealed:
            return ask.params
        args = compat.extra_args(ask.params)
        digest = compat.digest_prompt(ask.prompt, ask.lora_request, args)
        seal = self.seals.seal(digest, served.version)
        return compat.with_extra_args(ask.params, {**args, verdict.FIELD: seal})

    def _going(
        self, request_id: str, admitted: Admitted, outcome: Outcome | None, ask: Ask
    ) -> Settled:
        """What goes to the engine: once and sealed, or by whatever checks its answers."""
        answers = answers_for(self, request_id, admitted, outcome, ask)
        if answers is None:
            sealed = self.sealed_ask(ask, admitted.served)
            return Settled(None, ask.prompt, sealed, ask.lora_request)
        if in_beam_search.get():
            raise compat.bad_request("Beam search is not available on this server.")
        return Settled(None, ask.prompt, ask.params, ask.lora_request, answers=answers)

    def _attest(self, request_id: str, admitted: Admitted, decision: Decision) -> Any:
        """The signed answer to a probe: what was decided, in which process, by which bundle."""
        statement = {
            "flagged": [finding.target for finding in decision.findings],
            "action": decision.action,
            "bundle": admitted.served.version,
            "process": os.getpid(),
            "unsealed_refused": self.core_proved,
        }
        text = self.seals.attest(admitted.probe or "", statement)
        params = compat.untrimmed(admitted.params)
        return compat.finished_output(request_id, admitted.rendered, text, self.tokenizer, params)


def _salt(client: str | None, version: str, action: str, tenant: str | None = None) -> str:
    """A cache salt that keeps an edited prompt apart, and tenants and versions from each other."""
    text = f"{client or ''}\0{version}\0{action}\0{tenant or ''}"
    return "guard-" + hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:32]
