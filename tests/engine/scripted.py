"""A scripted engine and what drives the checking of its answers, in vLLM's own forms."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from vllm.logprobs import Logprob
from vllm.outputs import CompletionOutput, RequestOutput
from vllm.sampling_params import RequestOutputKind, SamplingParams

from guard.engine.checking import Answers
from guard.engine.collector import Checked, CheckedCollector
from guard.engine.compat import answers as forms
from guard.engine.lane import Ask, Checks
from guard.manifest import Mode
from guard.output.base import Reader, Reading
from guard.output.outputs import Rule
from tests.output.test_line import Banned

PROMPT = [1, 2, 3]
FINAL, DELTA, CUMULATIVE = (
    RequestOutputKind.FINAL_ONLY, RequestOutputKind.DELTA, RequestOutputKind.CUMULATIVE,
)  # fmt: skip


class Failing(Reader):
    """Breaks down, at once or when so much has come."""

    def __init__(self, error: Exception | None = None, after: int = 0) -> None:
        self.error, self.after = error or ValueError("a text that must not be logged"), after

    def read(self, text: str, *, done: bool) -> Reading:
        if len(text) < self.after:
            return Reading(len(text))
        raise self.error


class Wordy(Banned):
    """Holds the last word for as long as it may go on."""

    def read(self, text: str, *, done: bool) -> Reading:
        found = super().read(text, done=done)
        last = len(text) if done else text.rfind(" ") + 1
        return Reading(min(found.safe, last), found.hit, found.claims)


OTHERWISE = 3  # a token that the engine might have chosen wherever alternatives are asked for


class World:
    """An engine that says what a script says: the first way that its bans leave, word by word.

    Args:
        tokenizer: The served model's.
        ways: What it would like to say, the likeliest first.
    """

    def __init__(self, tokenizer: Any, *ways: str) -> None:
        self.tokenizer, self.ways = tokenizer, ways
        self.stop: str | None = "why"
        self.asked: list[Ask] = []
        self.aborted: list[str] = []
        self.shown: list[Any] = []

    def show(self, output: Any) -> Any:
        """What is done with each output before the client gets it."""
        self.shown.append(output)
        return output

    def hidden(self, output: Any) -> Any:
        """What is done with those of an edited prompt."""
        output.prompt_token_ids = PROMPT
        return output

    def says(self, ask: Ask) -> list[int]:
        plans = forms.plans(ask.params)
        replay = plans.get("replay", [{"tokens": [], "avoid": []}])[0]
        start = replay["tokens"]
        banned = [p for plan in plans.get("penalize", ()) for p in phrases_of(plan)]
        for way in self.ways:
            ids: list[int] = self.tokenizer.encode(way, add_special_tokens=False)
            after = ids[len(start)] if len(ids) > len(start) else None
            clean = not any(phrase in way[len(self.tokenizer.decode(start)) :] for phrase in banned)
            if ids[: len(start)] == start and after not in replay["avoid"] and clean:
                return ids
        return [*start, *self.tokenizer.encode(" nothing", add_special_tokens=False)]

    def outputs(self, name: str, ask: Ask) -> list[RequestOutput]:
        """What a real engine would put out: a piece a token, or all at once."""
        self.asked.append(ask)
        ids = self.says(ask)
        skip = ask.params.skip_special_tokens
        decode = forms.decoder(self.tokenizer, ask.prompt["prompt_token_ids"], skip)
        pieces = [decode(token) or "" for token in ids]
        final = ask.params.output_kind == FINAL
        sizes = [ids] if final else [[token] for token in ids]
        made, at = [], 0
        for number, some in enumerate(sizes, 1):
            logprobs = None
            if ask.params.logprobs is not None:
                other = {OTHERWISE: Logprob(-1.5, 2, "y")} if ask.params.logprobs > 1 else {}
                logprobs = [{token: Logprob(-0.5, 1, "x"), **other} for token in some]
            completion = CompletionOutput(
                0, "".join(pieces[at : at + len(some)]), some, None, logprobs,
                finish_reason="stop" if number == len(sizes) else None,
                stop_reason=self.stop if number == len(sizes) else None,
            )  # fmt: skip
            at += len(some)
            made.append(RequestOutput(
                name, None, ask.prompt["prompt_token_ids"],
                ["first"] if number == 1 else None,  # type: ignore[list-item]
                [completion], number == len(sizes),
            ))  # fmt: skip
        return made


def phrases_of(plan: Mapping[str, Any]) -> list[str]:
    return "".join(map(chr, plan["phrases"])).split("\0")


class Queue:
    """An engine's collector, filled."""

    def __init__(self, name: str, outputs: Sequence[Any]) -> None:
        self.request_id, self.left = name, list(outputs)
        self.closed = self.waited = False

    def get_nowait(self) -> Any:
        return None

    async def get(self) -> Any:
        assert not self.waited, "an output would be lost between two who wait"
        self.waited = True
        await asyncio.sleep(0)
        self.waited = False
        return self.left.pop(0)

    def close(self) -> None:
        self.closed = True


def rule(on_hit: str = "rollback", times: int = 3, then: str = "filter") -> Rule:
    return Rule("t", "enforce", on_hit, times, then, "I cannot say.", "guard")  # type: ignore[arg-type]


Counts = dict[str, int]


def made(
    world: World,
    params: SamplingParams,
    readers: Callable[[], Sequence[Reader]],
    rules: Rule | None = None,
    counts: Counts | None = None,
    switched: Callable[[str], Ask | str] = lambda target: "That is all.",
    opened: bool = False,
    shadow: Callable[[], Sequence[Reader]] = lambda: [],
    asked: SamplingParams | None = None,
) -> Answers:
    held = {} if counts is None else counts

    def count(action: str) -> None:
        held[action] = held.get(action, 0) + 1

    def some(mode: Mode) -> Sequence[Reader]:
        return readers() if mode == "enforce" else shadow()

    checks = Checks(
        some, {"t": rules or rule()}, lambda texts: np.ones((len(texts), 1), np.float32),
        switched, world.hidden, count, opened, world.tokenizer,
    )  # fmt: skip
    ask = Ask({"type": "token", "prompt_token_ids": PROMPT}, asked or params)
    return Answers("request", ask, params, checks)


def asynchronous(world: World, answers: Answers) -> list[RequestOutput]:
    closed = []
    world.shown.clear()

    async def run() -> list[RequestOutput]:
        queues: list[Queue] = []

        async def send(ask: Ask) -> Any:
            name = f"inner {len(queues)}"
            queues.append(Queue(name, world.outputs(name, ask)))
            return queues[-1]

        async def abort(names: list[str]) -> None:
            world.aborted += names

        async def work(job: Callable[[], Any]) -> Any:
            return job()

        collector = await CheckedCollector(
            answers, send, abort, work, world.show, lambda: closed.append(1)
        ).start()
        found: list[RequestOutput] = []
        while not found or not found[-1].finished:
            found.append(collector.get_nowait() or await collector.get())
        assert collector.request_id == []
        collector.close()
        collector.close()
        assert closed == [1] and all(queue.closed for queue in queues) and world.shown == found
        return found

    return asyncio.run(run())


def synchronous(world: World, answers: Answers) -> list[RequestOutput]:
    waiting: list[RequestOutput] = []
    world.shown.clear()

    def send(name: str, ask: Ask) -> str:
        waiting.extend(world.outputs(name, ask))
        return f"{name} within"

    def abort(names: list[str]) -> None:
        world.aborted += names
        waiting[:] = [output for output in waiting if output.request_id not in names]

    checked = Checked(abort, lambda job: job())
    assert checked.start("request", answers, world.show, send).endswith("within")
    found: list[RequestOutput] = []
    while waiting:
        found += checked.take([waiting.pop(0)])
    assert checked.forget(["request"]) == [] and world.shown == found
    assert {output.request_id for output in found} == {"request"}
    return found


BOTH = pytest.mark.parametrize("drive", [asynchronous, synchronous])
KINDS = pytest.mark.parametrize("kind", [FINAL, DELTA, CUMULATIVE])
GOOD = "She kept a small shop by the harbour."
BAD = "She kept the lighthouse of Skarvik."
OTHER = "She kept the books of a dairy."


def bans(*words: str) -> Callable[[], list[Reader]]:
    return lambda: [Banned(word) for word in words]


def seen(outputs: Sequence[RequestOutput], kind: Any, index: int = 0) -> str:
    """What a client has in the end; what it has seen on the way is a beginning of it."""
    parts = [c for output in outputs for c in output.outputs if c.index == index]
    if kind != DELTA:
        assert all(a.text == b.text[: len(a.text)] for a, b in pairwise(parts))
        return parts[-1].text
    return "".join(part.text for part in parts)
