"""From a judged request to the checking of its answers: what readers are told, and when."""

from collections import Counter
from collections.abc import Collection
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from vllm.pooling_params import PoolingParams
from vllm.sampling_params import SamplingParams

from guard.decision import Decision
from guard.engine.answering import answers_for
from guard.engine.checking import Answers
from guard.engine.frontend import Admitted
from guard.engine.lane import Ask
from guard.engine.mediator import Outcome
from guard.engine.served import Served
from guard.events import Event, Hit
from guard.interventions.base import Answer
from guard.manifest import Mode
from guard.output.base import Reader
from guard.view import View
from tests.engine.scripted import BAD, DELTA, OTHER, PROMPT, World, rule, seen, synchronous
from tests.output.test_line import Banned

CHAT = View.of_messages(
    [
        {"role": "user", "content": "Who kept it?"},
        {"role": "assistant", "content": "Somebody."},
        {"role": "user", "content": "Where?"},
    ]
)
PARAMS = SamplingParams(output_kind=DELTA)
DECISION = Decision((), "version")


class Readers:
    """The output checks of a bundle with the one target ``t``; tells what readers were told."""

    def __init__(self) -> None:
        self.rules = {"t": rule("switch")}
        self.started: list[tuple[str, str, frozenset[str], Mode]] = []

    def start(
        self, question: str, prompt: str, doubted: Collection[str], mode: Mode
    ) -> list[tuple[str, Reader]]:
        self.started.append((question, prompt, frozenset(doubted), mode))
        return [("banned", Banned(" lighthouse"))] if mode == "enforce" else []


class Events(list[Event]):
    """Takes what a recorder is told."""

    def __call__(self, event: Event) -> None:
        self.append(event)

    def stage(self, stage: str, seconds: float) -> None:
        assert stage == "check" and seconds > 0
        self.stages += 1

    stages = 0


def frontend(tokenizer: Any, edited: Any = None) -> Any:
    """What `answers_for` needs of a front end.

    Args:
        tokenizer: The served model's.
        edited: What switching to the target makes of a prompt.
    """

    def switched(ids: Any, target: str) -> Any:
        assert (ids, target) == (PROMPT, "t")
        return edited

    def hidden(admitted: Admitted, output: Any) -> Any:
        output.prompt_token_ids = admitted.rendered["prompt_token_ids"]
        return output

    guard = SimpleNamespace(
        output=Readers(),
        doubted=lambda decision: frozenset({"t"} if decision is DECISION else {"unknown"}),
        bundle=SimpleNamespace(manifest=SimpleNamespace(on_error="refuse")),
        version="version",
    )
    mediator: Any = SimpleNamespace(
        view=lambda ids, texts: View.of_text(f"as read: {ids} {texts}"),
        encode=lambda texts: None,
        switched=switched,
    )
    mediator.guard = guard
    return SimpleNamespace(
        guard=guard, served=Served(mediator), tokenizer=tokenizer, counts=Counter[str](),
        edited=lambda admitted, request, action: ({"prompt_token_ids": [9]}, PARAMS, action),
        hidden=hidden, record=Events(),
    )  # fmt: skip


def answers(front: Any, outcome: Outcome | None, **admitted: Any) -> Answers | None:
    fields = {"rendered": {"prompt_token_ids": PROMPT}, "params": PARAMS, **admitted}
    given = Admitted(**fields, served=front.served)
    return answers_for(front, "request", given, outcome, Ask(given.rendered, given.params))


def test_readers_are_told_what_was_asked_last_and_all_that_the_model_reads(tokenizer: Any) -> None:
    front = frontend(tokenizer)
    assert answers(front, Outcome(DECISION, view=CHAT)) is not None
    assert front.guard.output.started == [("Where?", CHAT.text, {"t"}, "enforce")]


def test_a_request_that_could_not_be_judged_is_read_as_it_came(tokenizer: Any) -> None:
    front = frontend(tokenizer)
    assert answers(front, None, texts=["yes"]) is not None
    read = "as read: [1, 2, 3] ['yes']"
    assert front.guard.output.started == [(read, read, {"unknown"}, "enforce")]


def test_what_is_no_answer_of_the_model_is_not_checked(tokenizer: Any) -> None:
    front, outcome = frontend(tokenizer), Outcome(DECISION, view=CHAT)
    assert answers(front, outcome, forced=(1,)) is None
    assert answers(front, outcome, params=PoolingParams()) is None
    front.guard.output = None
    assert answers(front, outcome) is None


@pytest.mark.parametrize("finished", [False, True])
def test_a_hit_is_answered_as_the_target_s_interventions_have_it(
    tokenizer: Any, finished: bool
) -> None:
    front = frontend(tokenizer, Answer("I never learned that.") if finished else "edited")
    world = World(tokenizer, BAD)
    good, own = tokenizer.encode(OTHER, add_special_tokens=False), world.says
    world.says = lambda ask: good if ask.lora_request else own(ask)  # type: ignore[method-assign]
    checked = answers(front, Outcome(DECISION, view=CHAT))
    assert checked is not None
    found = synchronous(world, checked)
    assert all(output.prompt_token_ids == PROMPT for output in found)
    said = seen(found, DELTA)
    assert said == ("She kept the\n\nI never learned that." if finished else OTHER)
    assert front.counts == {"output_switch": 1}
    assert [replace(event, time=0) for event in front.record] == [
        Hit("request", "version", 0, "b", "t", 12, "switch", 0)
    ]
    assert front.record.stages == 1
    assert [ask.lora_request for ask in world.asked[1:]] == ([] if finished else ["switch t"])
    assert [mode for *_, mode in front.guard.output.started].count("shadow") == (not finished)
