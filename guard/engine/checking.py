"""The answers to one request between the engine and the client: checked, held back, taken back.

An answer is a lane: a request of its own to the engine, so that one of several (``n``) can be taken
back while the others go on. What came is read (`guard.output`), what is safe leaves, and where
something was hit the lane is asked anew from the last token before it, or ended. Knows no waiting:
who drives it, asynchronously or not, does what `Answers.take` yields and returns.
"""

import logging
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from guard.engine import compat
from guard.engine.compat import answers
from guard.engine.compat.outputs import hidden_logprobs
from guard.engine.lane import Ask, Checks, Lane, Result
from guard.errors import AuditError
from guard.events import FAILED, OPENED, Unchecked, request_name
from guard.events import Hit as HitEvent
from guard.interventions.penalize import KIND as PENALIZE
from guard.logs import told
from guard.output.base import Claim, Hit
from guard.output.line import Leave, Line
from guard.steering.replay import KIND as REPLAY

logger = logging.getLogger("vllm.guard")

ROLLED = "rolled"  # marks the plan that keeps an answer from what was hit
_ALPHA = 2.0  # as `guard.interventions.penalize` has it
_BETWEEN = "\n\n"  # what has left of an answer, and the text that ends it


class Answers:
    """The answers to one request.

    Args:
        name: The request's id, for the log.
        ask: What the engine is asked, as the client asked it (``n`` and all).
        client: The parameters as the client gave them.
        checks: How answers are checked.
    """

    def __init__(self, name: str, ask: Ask, client: Any, checks: Checks) -> None:
        self._name, self._client, self._checks = request_name(name), client, checks
        self._spent = 0.0  # seconds of reading
        self._rules, self._tokenizer = checks.rules, checks.tokenizer
        self._count = checks.count
        self._kind = answers.output_kind(client)
        self._first: dict[str, Any] = {}  # what the engine tells with its first output only
        self._final: dict[int, Any] = {}
        self._prompt = list(ask.prompt["prompt_token_ids"])
        asks = [replace(ask, params=answers.one_of(ask.params, n)) for n in range(client.n)]
        self.lanes = [Lane(number, one, self._line()) for number, one in enumerate(asks)]

    def take(self, lane: Lane, output: Any) -> Generator[Callable[[], Any], Any, Result]:
        """Takes an output of the engine.

        Args:
            lane: Whose.
            output: The engine's output: what is new, or the whole answer.

        Yields:
            What takes a while, to be called off the event loop; its value is to be sent.

        Returns:
            What is to be done.
        """
        (completion,) = output.outputs
        answers.keep_first(output, self._first)
        line, done = lane.line, completion.finish_reason is not None
        line.feed(completion.token_ids, completion.text if self._client.detokenize else None)
        lane.logprobs = answers.joined_logprobs(lane.logprobs, completion.logprobs)
        yield from self._read(line, done=done)
        if line.hit is not None:
            return (yield from self._hit(lane, output, line.hit))
        if done:
            yield from self._shadow(lane)
        before = line.left
        left = line.leave(done=done)
        if left is None and not done:
            return Result()
        return Result(self._output(lane, output, before, completion if done else None))

    def _read(self, line: Line, *, done: bool) -> Generator[Callable[[], Any], Any, None]:
        while claims := self._claims(line, done=done):
            texts = [claim.text for claim in claims]
            line.weigh((yield partial(self._checks.encode, texts)))

    def _claims(self, line: Line, *, done: bool) -> Sequence[Claim]:
        begun = time.perf_counter()
        try:
            return line.read(done=done)
        finally:
            self._spent += time.perf_counter() - begun

    def _shadow(self, lane: Lane) -> Generator[Callable[[], Any], Any, None]:
        """Notes what would have been hit of targets in shadow mode, once an answer is whole."""
        readers = self._checks.readers("shadow")
        if not readers:
            return
        line = Line(readers, lambda token: "")
        line.feed((), lane.line.text)
        try:
            yield from self._read(line, done=True)
        except Exception as error:  # nothing is done about it: nor may it harm
            logger.error("guard: request %s: shadow: %s", self._name, type(error).__name__)
        if line.hit is not None:
            self._note(lane, line.hit, "shadow")

    def _note(self, lane: Lane, hit: Hit, action: str) -> None:
        """Notes a hit.

        Raises:
            AuditError: It cannot be recorded, and is to be.
        """
        event = HitEvent(
            self._name, self._checks.bundle, lane.index, hit.check, hit.target, hit.start, action
        )
        self._checks.record(event)
        self._count(f"output_{action}")
        logger.info(
            "guard: request %s: answer %d: check %s hit target %s at character %d: %s",
            self._name, lane.index, hit.check, hit.target, hit.start, action, extra=told(event),
        )  # fmt: skip

    def failed(self, lane: Lane, output: Any, error: Exception) -> Result:
        """Ends an answer that could not be checked; or lets it go on, where the policy says so."""
        # Not the message of an unknown error: it could quote the answer.
        known = type(error).__module__.startswith("guard.")
        reason = str(error) if known else type(error).__name__
        line = lane.line
        event = Unchecked(self._name, self._checks.bundle, lane.index, FAILED, type(error).__name__)
        opened = replace(event, action=OPENED)
        if self._checks.opened and line.hit is None and self._recorded(opened):
            self._count("output_opened")
            logger.error(
                "guard: request %s: its answer could not be checked (%s) and goes out UNGUARDED, "
                "because the policy says on_error: open", self._name, reason, extra=told(opened),
            )  # fmt: skip
            (completion,) = output.outputs
            before, line.left = line.left, Leave(len(line.tokens), len(line.text))
            done = completion.finish_reason is not None
            return Result(self._output(lane, output, before, completion if done else None))
        self._recorded(event)
        self._count("output_failed")
        logger.error(
            "guard: request %s: its answer could not be checked (%s): ended", self._name, reason,
            extra=told(event),
        )  # fmt: skip
        return self._ended(lane, output, line.left, "")

    def _recorded(self, event: Unchecked) -> bool:
        """Whether what became of an answer that could not be checked is recorded, where it must."""
        try:
            self._checks.record(event)
        except AuditError:
            return False
        return True

    def _hit(self, lane: Lane, output: Any, hit: Hit) -> Generator[Callable[[], Any], Any, Result]:
        rule = self._rules[hit.target]
        kept, action, text = lane.line.kept(), str(rule.on_hit), ""
        again: Ask | str = lane.ask
        if action in ("rollback", "switch") and lane.times >= rule.times:
            action = str(rule.then)
        if action == "switch":
            again = yield partial(self._checks.switched, hit.target)
        yield partial(self._note, lane, hit, action)  # off the event loop: it may wait for the disk
        if action not in ("rollback", "switch") or isinstance(again, str):
            text = again if isinstance(again, str) else rule.answer if action == "answer" else ""
            return self._ended(lane, output, kept, text)
        ask = self._again(lane, hit, kept, again, switched=action == "switch")
        lane.times += 1
        lane.switched = lane.switched or action == "switch"
        lane.bare = kept.tokens if lane.bare is None else min(lane.bare, kept.tokens)
        left, done = lane.line.left, output.outputs[0].finish_reason is not None
        lane.ask, lane.line, lane.logprobs = ask, self._line(), None
        lane.line.resume(left)
        return Result(ask=ask, abort=not done)

    def _again(self, lane: Lane, hit: Hit, kept: Leave, ask: Ask, *, switched: bool) -> Ask:
        """What brings the engine back to what is kept, and another way from there."""
        lane.phrases += [phrase for phrase in hit.phrases if phrase not in lane.phrases]
        params = answers.one_of(ask.params, lane.index) if switched else ask.params
        tokens = lane.line.tokens
        phrases = [ord(char) for char in "\0".join(lane.phrases)]
        avoid = [] if switched else tokens[kept.tokens : kept.tokens + 1]
        held = answers.plans(params)
        plans: dict[str, Sequence[Mapping[str, Any]]] = {
            **held,
            REPLAY: [{"tokens": tokens[: kept.tokens], "avoid": avoid, "phrases": phrases}],
        }
        if phrases:
            own = [plan for plan in held.get(PENALIZE, ()) if ROLLED not in plan]
            ban = {"alpha": _ALPHA, "beta": 0.0, "delta": 1.0, "answers": [], ROLLED: lane.times}
            plans[PENALIZE] = [*own, {"phrases": phrases, **ban}]
        return replace(ask, params=compat.planned(params, plans, self._tokenizer))

    def _ended(self, lane: Lane, output: Any, kept: Leave, text: str) -> Result:
        """Ends an answer behind what is kept: with a text, or with none and the filter's reason."""
        before, lane.line.left = lane.line.left, kept
        reason = "stop" if text else "content_filter"
        more = f"{_BETWEEN if kept.chars else ''}{text}" if text else ""
        ids = self._tokenizer.encode(more, add_special_tokens=False) if more else []
        made = self._output(lane, output, before, None, (more, ids, reason))
        return Result(made, abort=output.outputs[0].finish_reason is None)

    def _output(
        self,
        lane: Lane,
        output: Any,
        before: Leave,
        completion: Any,
        ending: tuple[str, list[int], str] | None = None,
    ) -> Any:
        """The engine's output with what may leave; None where the client gets it later."""
        line, delta = lane.line, self._kind == "delta"
        tokens = slice(before.tokens if delta else 0, line.left.tokens)
        chars = slice(before.chars if delta else 0, line.left.chars)
        ids, text = list(line.tokens[tokens]), line.text[chars]
        asked = self._client.logprobs is not None
        logprobs = None
        if asked:
            logprobs = answers.told_logprobs(
                lane.logprobs, tokens, line.tokens, lane.bare, self._tokenizer,
                alone=self._checks.enforced,
            )  # fmt: skip
        finish = stop = None
        if completion is not None:
            finish, stop = completion.finish_reason, completion.stop_reason
            # Where its form leaves nothing but what was taken back, the engine can only end it.
            if finish == "stop" and stop is None and lane.times:
                finish = finish if answers.formed(lane.ask.params, line.text) else "content_filter"
        if ending is not None:
            more, extra, finish = ending
            text, ids = text + more, ids + extra
            if asked:
                logprobs = answers.joined_logprobs(
                    logprobs, hidden_logprobs(extra, self._tokenizer)
                )
        part = answers.part(
            output.outputs[0], lane.index, text if self._client.detokenize else "", ids, logprobs,
            finish, stop, lane.likelihood if delta else 0.0,
        )  # fmt: skip
        lane.likelihood = part.cumulative_logprob or 0.0
        lane.done = finish is not None
        ended = all(one.done for one in self.lanes)
        if ended:
            self._checks.spent(self._spent)
        parts, told = [part], [lane]
        if self._kind == "final":
            self._final[lane.index] = part
            if not ended:
                return None
            parts, told = [self._final[number] for number in sorted(self._final)], self.lanes
        made = answers.whole(output, parts, ended, self._first, delta=delta)
        return self._checks.hidden(made) if any(one.switched for one in told) else made

    def _line(self) -> Line:
        decode = answers.decoder(self._tokenizer, self._prompt, self._client.skip_special_tokens)
        return Line(self._checks.readers("enforce"), decode)
