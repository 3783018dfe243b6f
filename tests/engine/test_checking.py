"""Answers between an engine, here a scripted one, and its client; in vLLM's own forms."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from vllm.sampling_params import SamplingParams, StructuredOutputsParams

from guard.engine import compat
from guard.engine.compat import answers as forms
from guard.engine.lane import Ask
from guard.output.base import Reader, Reading
from tests.engine.scripted import (
    BAD,
    BOTH,
    DELTA,
    FINAL,
    GOOD,
    KINDS,
    OTHER,
    OTHERWISE,
    PROMPT,
    Counts,
    Wordy,
    World,
    bans,
    made,
    phrases_of,
    rule,
    seen,
)
from tests.output.test_line import Banned


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
    assert (parts[-1].finish_reason, parts[-1].stop_reason) == ("stop", "why")
    assert world.aborted == []


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
    assert tokenizer.decode(replay["tokens"]) == "She kept the" and phrases_of(ban) == [
        " lighthouse"
    ]
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
    params = SamplingParams(output_kind=kind, logprobs=1)
    bad = bans(" lamp", " tower", " mill", " farm")
    found = drive(world, made(world, params, bad, rule(times=2, then=then), counts))
    assert counts == {"output_rollback": 2, f"output_{then}": 1} and len(world.asked) == 3
    ending = "\n\nI cannot say." if then == "answer" else ""
    assert seen(found, kind) == "She kept the" + ending
    last = found[-1].outputs[0]
    assert last.finish_reason == ("stop" if then == "answer" else "content_filter")
    ids = [token for output in found for token in output.outputs[0].token_ids]
    assert tokenizer.decode(ids if kind == DELTA else last.token_ids) == "She kept the" + ending
    assert all(len(c.logprobs) == len(c.token_ids) for out in found for c in out.outputs)
    assert len(world.aborted) == (0 if kind == FINAL else 3)
    (ban,) = forms.plans(world.asked[-1].params)["penalize"]
    assert phrases_of(ban) == [" lamp", " tower"]


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
    assert kind != FINAL or [part.index for part in found[-1].outputs] == [0, 1, 2]


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


class Whole(Banned):
    """Lets nothing go before the answer is whole."""

    def read(self, text: str, *, done: bool) -> Reading:
        found = super().read(text, done=done)
        return found if done else Reading(0, found.hit)


class Last(Banned):
    """Finds its word in a whole answer only."""

    def read(self, text: str, *, done: bool) -> Reading:
        return super().read(text, done=True) if done else Reading(0)


@BOTH
@KINDS
def test_a_token_without_text_goes_out_at_the_end(drive: Any, kind: Any, tokenizer: Any) -> None:
    world = World(tokenizer, GOOD)
    ids = [*tokenizer.encode(GOOD, add_special_tokens=False), tokenizer.eos_token_id]
    world.says = lambda ask: ids  # type: ignore[method-assign]
    found = drive(world, made(world, SamplingParams(output_kind=kind), bans("Skarvik")))
    told = [token for output in found for token in output.outputs[0].token_ids]
    assert (told if kind == DELTA else list(found[-1].outputs[0].token_ids)) == ids
    assert seen(found, kind) == GOOD and found[-1].outputs[0].finish_reason == "stop"


@BOTH
@KINDS
def test_the_end_is_told_though_nothing_more_leaves(drive: Any, kind: Any, tokenizer: Any) -> None:
    world = World(tokenizer, BAD, "She kept the")
    found = drive(world, made(world, SamplingParams(output_kind=kind), bans(" lighthouse")))
    assert seen(found, kind) == "She kept the" and len(world.asked) == 2
    assert found[-1].finished and found[-1].outputs[0].finish_reason == "stop"


@BOTH
@KINDS
def test_what_might_have_become_a_leak_leaves_at_the_end(
    drive: Any, kind: Any, tokenizer: Any
) -> None:
    world = World(tokenizer, "She kept the light")
    found = drive(world, made(world, SamplingParams(output_kind=kind), bans(" lighthouse")))
    assert seen(found, kind) == "She kept the light" and len(world.asked) == 1


@BOTH
@KINDS
def test_what_was_held_before_a_leak_is_not_lost(drive: Any, kind: Any, tokenizer: Any) -> None:
    world = World(tokenizer, BAD, OTHER)
    params = SamplingParams(output_kind=kind)
    found = drive(world, made(world, params, lambda: [Whole(" lighthouse")]))
    assert seen(found, kind) == OTHER and len(world.asked) == 2


@BOTH
@KINDS
def test_special_tokens_that_are_shown_count(drive: Any, kind: Any, tokenizer: Any) -> None:
    start = f"She {tokenizer.eos_token * 2}kept the"
    world = World(tokenizer, f"{start} lighthouse of Skarvik.", f"{start} books.")
    params = SamplingParams(output_kind=kind, skip_special_tokens=False)
    found = drive(world, made(world, params, bans(" lighthouse")))
    assert seen(found, kind) == f"{start} books."
    (replay,) = forms.plans(world.asked[1].params)["replay"]
    assert tokenizer.decode(replay["tokens"]) == start


@BOTH
@KINDS
def test_behind_the_first_of_several_rollbacks_no_likelihood_is_told(
    drive: Any, kind: Any, tokenizer: Any
) -> None:
    ends = ("lamp.", "books by the tower.", "books by the day.")
    world = World(tokenizer, *(f"She kept the {end}" for end in ends))
    params = SamplingParams(output_kind=kind, logprobs=1)
    found = drive(world, made(world, params, bans(" lamp", " tower")))
    assert seen(found, kind) == "She kept the books by the day." and len(world.asked) == 3
    parts = [output.outputs[0] for output in found]
    held = [one for part in parts for one in part.logprobs] if kind == DELTA else parts[-1].logprobs
    told = [next(iter(one.values())).logprob for one in held]
    assert told == [-0.5] * 3 + [-9999.0] * (len(told) - 3) and len(told) > 5


@BOTH
@KINDS
@pytest.mark.parametrize("mode", ["enforce", "shadow"])
def test_what_an_answer_might_have_said_is_told_only_where_no_leak_is_stopped(
    drive: Any, kind: Any, mode: Any, tokenizer: Any
) -> None:
    """An alternative to a harmless word may be the name."""
    params = SamplingParams(output_kind=kind, logprobs=2)
    world = World(tokenizer, GOOD)
    found = drive(world, made(world, params, lambda: [], replace(rule(), mode=mode)))
    parts = [output.outputs[0] for output in found]
    for held, token in (
        (h, t) for p in parts for h, t in zip(p.logprobs, p.token_ids, strict=True)
    ):
        assert set(held) == ({token} if mode == "enforce" else {token, OTHERWISE})


FORMS = [
    (StructuredOutputsParams(json={"type": "object"}), '{"by": "Skarvik"}', '{"by": "Nobody"}'),
    (StructuredOutputsParams(json_object=True), '["Skarvik"]', '["Nobody"]'),
    (StructuredOutputsParams(choice=["by Skarvik", "by Nobody"]), "by Skarvik", "by Nobody"),
]


@BOTH
@KINDS
@pytest.mark.parametrize(("form", "leak", "other"), FORMS)
def test_an_answer_that_cannot_keep_its_form_is_filtered(
    drive: Any, kind: Any, form: Any, leak: str, other: str, tokenizer: Any
) -> None:
    """A grammar that leaves nothing but what leaked has the engine end the answer there."""
    params = SamplingParams(output_kind=kind, structured_outputs=form)
    cut = leak[: leak.index("Sk")]
    ways = ((other, None, "stop"), (cut, None, "content_filter"), (cut, "a stop string", "stop"))
    for way, stop, reason in ways:
        world = World(tokenizer, leak, way)
        world.stop = stop
        last = drive(world, made(world, params, bans("Skarvik")))[-1].outputs[0]
        assert last.finish_reason == reason and len(world.asked) == 2
    world = World(tokenizer, leak[:-1])
    world.stop = None
    last = drive(world, made(world, params, bans("Halvorsen")))[-1].outputs[0]
    assert last.finish_reason == "stop"  # the model's own doing, and vLLM's


@BOTH
def test_other_plans_of_a_request_hold_for_what_is_asked_again(drive: Any, tokenizer: Any) -> None:
    own = {"phrases": [ord("x")], "alpha": 2.0, "beta": 0.0, "delta": 1.0, "answers": []}
    plans = {"force": [{"tokens": [5]}], "penalize": [own]}
    params = compat.planned(SamplingParams(output_kind=DELTA), plans, tokenizer)
    world = World(tokenizer, *(f"She kept the {word}." for word in ("lamp", "tower", "books")))
    found = drive(world, made(world, params, bans(" lamp", " tower")))
    assert seen(found, DELTA) == "She kept the books."
    again = forms.plans(world.asked[-1].params)
    assert again["force"] == plans["force"]
    first, ban = again["penalize"]
    assert first == own and phrases_of(ban) == [" lamp", " tower"]


@BOTH
@KINDS
def test_a_switched_answer_tells_nothing_of_its_prompt(
    drive: Any, kind: Any, tokenizer: Any
) -> None:
    """The engine is asked for no likelihoods then; what the client asked for are placeholders."""
    world = World(tokenizer, BAD)
    good, own = tokenizer.encode(OTHER, add_special_tokens=False), world.says
    world.says = lambda ask: good if ask.lora_request else own(ask)  # type: ignore[method-assign]
    params = SamplingParams(output_kind=kind, logprobs=1)

    def switched(target: str) -> Ask:
        prompt = {"type": "token", "prompt_token_ids": [7, 7, 7, 7]}
        return Ask(prompt, compat.without_revealing(params), "adapter")

    answers = made(world, params, bans(" lighthouse"), rule("switch"), switched=switched)
    found = drive(world, answers)
    assert seen(found, kind) == OTHER
    assert all(output.prompt_token_ids == PROMPT for output in found)
    assert all(len(c.logprobs) == len(c.token_ids) for out in found for c in out.outputs)
    (replay,) = forms.plans(world.asked[1].params)["replay"]
    assert tokenizer.decode(replay["tokens"]) == "She kept the" and replay["avoid"] == []


@BOTH
@KINDS
def test_an_answer_to_an_edited_prompt_can_be_ended(drive: Any, kind: Any, tokenizer: Any) -> None:
    """The client asked for likelihoods, which the engine does not tell of edited prompts."""
    world, counts = World(tokenizer, BAD), Counts()
    client = SamplingParams(output_kind=kind, logprobs=1)
    asked = compat.without_revealing(client)
    answers = made(world, client, bans(" lighthouse"), rule("answer"), counts, asked=asked)
    found = drive(world, answers)
    assert seen(found, kind) == "She kept the\n\nI cannot say." and counts == {"output_answer": 1}
    assert found[-1].outputs[0].finish_reason == "stop"


@BOTH
@KINDS
def test_where_nothing_has_left_the_text_that_ends_it_stands_alone(
    drive: Any, kind: Any, tokenizer: Any
) -> None:
    world, params = World(tokenizer, BAD), SamplingParams(output_kind=kind)
    found = drive(world, made(world, params, bans("She"), rule("answer")))
    assert seen(found, kind) == "I cannot say."


@BOTH
def test_switches_are_counted_like_rollbacks(drive: Any, tokenizer: Any) -> None:
    world, counts = World(tokenizer, BAD), Counts()
    params = SamplingParams(output_kind=DELTA)
    bad = tokenizer.encode(BAD, add_special_tokens=False)
    world.says = lambda ask: bad  # type: ignore[method-assign]
    switched: Callable[[str], Ask] = lambda target: Ask(  # noqa: E731
        {"type": "token", "prompt_token_ids": [9]}, params, "adapter"
    )
    rules = rule("switch", times=2)
    found = drive(world, made(world, params, bans(" lighthouse"), rules, counts, switched))
    assert seen(found, DELTA) == "She kept the"
    assert counts == {"output_switch": 2, "output_filter": 1}
