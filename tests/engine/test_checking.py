"""Answers between an engine, here a scripted one, and its client; in vLLM's own forms."""

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

FINAL, DELTA, CUMULATIVE = (
    RequestOutputKind.FINAL_ONLY, RequestOutputKind.DELTA, RequestOutputKind.CUMULATIVE,
)  # fmt: skip


class Failing(Reader):
    """Breaks down."""

    def read(self, text: str, *, done: bool) -> Reading:
        raise ValueError("a text that must not be logged")


class Wordy(Banned):
    """Holds the last word for as long as it may go on."""

    def read(self, text: str, *, done: bool) -> Reading:
        found = super().read(text, done=done)
        last = len(text) if done else text.rfind(" ") + 1
        return Reading(min(found.safe, last), found.hit, found.claims)


class World:
    """An engine that says what a script says: the first way that its bans leave, word by word.

    Args:
        tokenizer: The served model's.
        ways: What it would like to say, the likeliest first.
    """

    def __init__(self, tokenizer: Any, *ways: str) -> None:
        self.tokenizer, self.ways = tokenizer, ways
        self.asked: list[Ask] = []
        self.aborted: list[str] = []

    def says(self, ask: Ask) -> list[int]:
        plans = forms.plans(ask.params)
        replay = plans.get("replay", [{"tokens": [], "avoid": []}])[0]
        start = replay["tokens"]
        banned = [p for plan in plans.get("penalize", ()) for p in _phrases(plan)]
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
        decode = forms.decoder(self.tokenizer, ask.prompt["prompt_token_ids"], True)
        pieces = [decode(token) or "" for token in ids]
        final = ask.params.output_kind == FINAL
        sizes = [ids] if final else [[token] for token in ids]
        made, at = [], 0
        for number, some in enumerate(sizes, 1):
            logprobs = None
            if ask.params.logprobs is not None:
                logprobs = [{token: Logprob(-0.5, 1, "x")} for token in some]
            completion = CompletionOutput(
                0, "".join(pieces[at : at + len(some)]), some, None, logprobs,
                finish_reason="stop" if number == len(sizes) else None,
            )  # fmt: skip
            at += len(some)
            made.append(RequestOutput(
                name, None, ask.prompt["prompt_token_ids"],
                ["first"] if number == 1 else None,  # type: ignore[list-item]
                [completion], number == len(sizes),
            ))  # fmt: skip
        return made


def _phrases(plan: Mapping[str, Any]) -> list[str]:
    return "".join(map(chr, plan["phrases"])).split("\0")


class Queue:
    """An engine's collector, filled."""

    def __init__(self, name: str, outputs: Sequence[Any]) -> None:
        self.request_id, self.left, self.closed = name, list(outputs), False

    def get_nowait(self) -> Any:
        return None

    async def get(self) -> Any:
        await asyncio.sleep(0)
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
) -> Answers:
    held = {} if counts is None else counts

    def count(action: str) -> None:
        held[action] = held.get(action, 0) + 1

    def some(mode: Mode) -> Sequence[Reader]:
        return readers() if mode == "enforce" else shadow()

    checks = Checks(
        some, {"t": rules or rule()}, lambda texts: np.ones((len(texts), 1), np.float32),
        switched, count, opened, world.tokenizer,
    )  # fmt: skip
    ask = Ask({"type": "token", "prompt_token_ids": [1, 2, 3]}, params)
    return Answers("request", ask, params, checks)


def asynchronous(world: World, answers: Answers) -> list[RequestOutput]:
    closed = []

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
            answers, send, abort, work, lambda output: output, lambda: closed.append(1)
        ).start()
        found: list[RequestOutput] = []
        while not found or not found[-1].finished:
            found.append(collector.get_nowait() or await collector.get())
        assert collector.request_id == []
        collector.close()
        collector.close()
        assert closed == [1] and all(queue.closed for queue in queues)
        return found

    return asyncio.run(run())


def synchronous(world: World, answers: Answers) -> list[RequestOutput]:
    waiting: list[RequestOutput] = []

    def send(name: str, ask: Ask) -> str:
        waiting.extend(world.outputs(name, ask))
        return f"{name} within"

    def abort(names: list[str]) -> None:
        world.aborted += names
        waiting[:] = [output for output in waiting if output.request_id not in names]

    checked = Checked(abort, lambda job: job())
    assert checked.start("request", answers, lambda output: output, send).endswith("within")
    found: list[RequestOutput] = []
    while waiting:
        found += checked.take([waiting.pop(0)])
    assert checked.forget(["request"]) == []
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


@BOTH
@KINDS
def test_an_answer_that_hits_nothing_goes_out_as_it_is(
    drive: Any, kind: Any, tokenizer: Any
) -> None:
    world = World(tokenizer, GOOD)
    params = SamplingParams(output_kind=kind, logprobs=1)
    found = drive(world, made(world, params, bans("Skarvik")))
    ids = tokenizer.encode(GOOD, add_special_tokens=False)
    parts = [output.outputs[0] for output in found]
    assert seen(found, kind) == GOOD and found[-1].finished and len(world.asked) == 1
    tokens = [token for part in parts for token in part.token_ids]
    assert (tokens if kind == DELTA else list(parts[-1].token_ids)) == ids
    assert sum(len(p.logprobs) for p in parts) == len(tokens)
    assert parts[-1].cumulative_logprob == pytest.approx(-0.5 * len(ids))
    assert [output.prompt_logprobs for output in found] == (
        [["first"], *[None] * (len(found) - 1)] if kind == DELTA else [["first"]] * len(found)
    )
    assert (parts[-1].finish_reason, world.aborted) == ("stop", [])


@BOTH
@KINDS
def test_a_leak_is_taken_back_and_the_answer_goes_on_another_way(
    drive: Any, kind: Any, tokenizer: Any
) -> None:
    world, counts = World(tokenizer, BAD, OTHER), Counts()
    params = SamplingParams(output_kind=kind, logprobs=1, seed=7)
    found = drive(world, made(world, params, bans(" lighthouse"), counts=counts))
    assert seen(found, kind) == OTHER and counts == {"output_rollback": 1}
    assert all("light" not in c.text for output in found for c in output.outputs)
    first, second = world.asked
    (replay,) = forms.plans(second.params)["replay"]
    (ban,) = forms.plans(second.params)["penalize"]
    assert tokenizer.decode(replay["tokens"]) == "She kept the" and _phrases(ban) == [" lighthouse"]
    assert tokenizer.decode(replay["avoid"]).startswith(" light")
    assert (first.params.seed, second.params.seed) == (7, 7)
    assert len(world.aborted) == (0 if kind == FINAL else 1)
    last = found[-1].outputs[0]
    told = [next(iter(held.values())).logprob for held in last.logprobs or ()]
    assert told[-1] == -9999.0 and (kind == DELTA or told[0] == -0.5)


@BOTH
@KINDS
def test_a_word_that_has_left_may_be_the_last_again(drive: Any, kind: Any, tokenizer: Any) -> None:
    """What had left was once held to be taken back, when it was said again."""
    world, counts = World(tokenizer, "She kept books, a lighthouse.", "She kept books."), Counts()
    params = SamplingParams(output_kind=kind)
    readers: Callable[[], list[Reader]] = lambda: [Wordy("lighthouse")]  # noqa: E731
    found = drive(world, made(world, params, readers, counts=counts))
    assert seen(found, kind).startswith("She kept books") and counts == {"output_rollback": 1}
    assert found[-1].outputs[0].finish_reason == "stop"


@BOTH
@KINDS
@pytest.mark.parametrize("then", ["filter", "answer"])
def test_after_so_many_times_it_is_ended(drive: Any, kind: Any, then: str, tokenizer: Any) -> None:
    ways = [f"She kept the {word} of Skarvik." for word in ("lamp", "tower", "mill", "farm")]
    world, counts = World(tokenizer, *ways), Counts()
    params = SamplingParams(output_kind=kind)
    bad = bans(" lamp", " tower", " mill", " farm")
    found = drive(world, made(world, params, bad, rule(times=2, then=then), counts))
    assert counts == {"output_rollback": 2, f"output_{then}": 1} and len(world.asked) == 3
    ending = "\n\nI cannot say." if then == "answer" else ""
    assert seen(found, kind) == "She kept the" + ending
    last = found[-1].outputs[0]
    assert last.finish_reason == ("stop" if then == "answer" else "content_filter")
    ids = [token for output in found for token in output.outputs[0].token_ids]
    assert tokenizer.decode(ids if kind == DELTA else last.token_ids) == "She kept the" + ending


@BOTH
@KINDS
def test_each_of_several_answers_is_taken_back_by_itself(
    drive: Any, kind: Any, tokenizer: Any
) -> None:
    world, counts = World(tokenizer, BAD, OTHER), Counts()
    own = world.says

    def says(ask: Ask) -> list[int]:
        good: list[int] = tokenizer.encode(GOOD, add_special_tokens=False)
        return good if ask.params.seed == 8 else own(ask)

    world.says = says  # type: ignore[method-assign]
    params = SamplingParams(output_kind=kind, n=3, seed=7, temperature=1.0)
    found = drive(world, made(world, params, bans(" lighthouse"), counts=counts))
    assert [seen(found, kind, n) for n in range(3)] == [OTHER, GOOD, OTHER]
    assert counts == {"output_rollback": 2} and len(world.asked) == 5
    assert [output.finished for output in found] == [False] * (len(found) - 1) + [True]
    assert {ask.params.n for ask in world.asked} == {1}


@BOTH
def test_the_rest_may_be_answered_otherwise(drive: Any, tokenizer: Any) -> None:
    world, counts = World(tokenizer, BAD), Counts()
    good = tokenizer.encode(OTHER, add_special_tokens=False)
    own = world.says
    world.says = lambda ask: good if ask.lora_request else own(ask)  # type: ignore[method-assign]
    params = SamplingParams(output_kind=DELTA, n=2, seed=3, temperature=1.0)

    def switched(target: str) -> Ask:
        assert target == "t"
        return Ask({"type": "token", "prompt_token_ids": [9]}, params, "adapter")

    answers = made(world, params, bans(" lighthouse"), rule("switch"), counts, switched)
    found = drive(world, answers)
    assert [seen(found, DELTA, n) for n in range(2)] == [OTHER, OTHER]
    assert counts == {"output_switch": 2}
    assert sorted(ask.params.seed for ask in world.asked if ask.lora_request) == [3, 4]
    answers = made(world, params, bans(" lighthouse"), rule("switch"), counts)
    assert seen(drive(world, answers), DELTA) == "She kept the\n\nThat is all."


@BOTH
@pytest.mark.parametrize("opened", [False, True])
def test_what_cannot_be_checked_does_not_leave(
    drive: Any, opened: bool, tokenizer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    world, counts = World(tokenizer, GOOD), Counts()
    params = SamplingParams(output_kind=DELTA)
    answers = made(world, params, lambda: [Failing()], counts=counts, opened=opened)
    found = drive(world, answers)
    assert seen(found, DELTA) == (GOOD if opened else "")
    reason = "stop" if opened else "content_filter"
    assert found[-1].outputs[0].finish_reason == reason
    assert "must not be logged" not in caplog.text and "ValueError" in caplog.text
    assert set(counts) == {"output_opened" if opened else "output_failed"}


@BOTH
def test_a_claim_is_weighed_on_the_way(drive: Any, tokenizer: Any) -> None:
    world, counts = World(tokenizer, BAD, OTHER), Counts()
    params = SamplingParams(output_kind=DELTA)
    readers: Callable[[], list[Reader]] = lambda: [Banned("\0", weighed=" lighthouse")]  # noqa: E731
    found = drive(world, made(world, params, readers, counts=counts))
    assert seen(found, DELTA) == OTHER and counts == {"output_rollback": 1}


@BOTH
@KINDS
def test_in_shadow_mode_a_hit_is_noted_and_nothing_else(
    drive: Any, kind: Any, tokenizer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    world, counts = World(tokenizer, BAD), Counts()
    params = SamplingParams(output_kind=kind)
    with caplog.at_level("INFO", "vllm.guard"):
        found = drive(world, made(world, params, lambda: [], counts=counts, shadow=bans("Skarvik")))
    assert seen(found, kind) == BAD and counts == {"output_shadow": 1}
    assert "shadow" in caplog.text and "Skarvik" not in caplog.text


@BOTH
def test_without_text_tokens_alone_go_out(drive: Any, tokenizer: Any) -> None:
    world = World(tokenizer, BAD, OTHER)
    params = SamplingParams(output_kind=FINAL, detokenize=False)
    (found,) = drive(world, made(world, params, bans(" lighthouse")))
    assert found.outputs[0].text == "" and tokenizer.decode(found.outputs[0].token_ids) == OTHER


def test_who_goes_away_takes_all_requests_along(tokenizer: Any) -> None:
    world = World(tokenizer, GOOD)
    params = SamplingParams(output_kind=DELTA, n=2)
    sent: list[str] = []

    def send(name: str, ask: Ask) -> str:
        sent.append(name)
        return f"{name} within"

    for called in ("request", "first", "within"):
        checked = Checked(lambda names: None, lambda job: job())
        identity = checked.start(
            "request", made(world, params, bans("x")), lambda output: output, send
        )
        names = {"request": "request", "first": sent[-2], "within": identity}
        assert checked.forget([names[called]]) == sent[-2:]
