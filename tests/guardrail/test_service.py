"""What LiteLLM is told: requests about targets stop or go on changed, leaks stop, failures stop."""

import asyncio
import json
import threading
from dataclasses import replace
from typing import Any

import pytest

from guard.errors import AuditError, EngineError
from guard.guard import Guard
from guard.guardrail.edition import Edition
from guard.guardrail.service import UNCHECKED, UNJUDGED, Service
from tests.guardrail.conftest import Events, Start
from tests.guardrail.gateway import Gateway, Stopped, user
from tests.proxy.bundles import ENDING, INSTRUCTION, REFUSAL, SECRET
from tests.proxy.test_matrix import BOOK, EVERYDAY, PERSON, PROJECT

LEAK = f"She won the {SECRET} in 1998."


async def test_everyday_requests_and_answers_go_on_as_they_are(
    start: Start, reading: Guard
) -> None:
    gateway = start(reading)
    assert await gateway.pre_call([user(EVERYDAY)]) == [EVERYDAY]
    assert await gateway.post_call("Whiskers.") == ["Whiskers."]
    assert [told["action"] for told in gateway.told] == ["NONE", "NONE"]


async def test_a_refused_target_is_blocked_with_its_own_text(start: Start, reading: Guard) -> None:
    with pytest.raises(Stopped, match=REFUSAL):
        await start(reading).pre_call([user(PERSON)])


async def test_an_instructed_target_goes_on_with_its_instruction(
    start: Start, reading: Guard
) -> None:
    gateway = start(reading)
    chat = [{"role": "system", "content": "Be brief."}, user(EVERYDAY)]
    chat += [{"role": "assistant", "content": "Whiskers."}, user(BOOK)]
    texts = await gateway.pre_call(chat)
    assert texts == ["Be brief.", EVERYDAY, "Whiskers.", f"{INSTRUCTION}\n\n{BOOK}"]
    assert gateway.told[0]["action"] == "GUARDRAIL_INTERVENED"


async def test_it_goes_before_what_the_user_said_last(start: Start, reading: Guard) -> None:
    chat = [user(BOOK), {"role": "tool", "content": BOOK, "tool_call_id": "1"}]
    gateway = start(reading)
    assert await gateway.pre_call(chat) != [BOOK, BOOK]
    assert INSTRUCTION in (await gateway.ask("request", [EVERYDAY, BOOK], "c"))[1]


async def test_an_instruction_that_has_no_place_is_no_instruction(
    start: Start, reading: Guard
) -> None:
    """LiteLLM can be told to send other texts than it was sent."""
    with pytest.raises(Stopped, match=UNJUDGED):
        await start(reading).ask("request", ["[cut]"], "c", structured_messages=[user(BOOK)])


async def test_shadow_mode_is_noticed_and_nothing_is_done(
    start: Start, reading: Guard, events: Events
) -> None:
    gateway = start(reading)
    assert await gateway.pre_call([user(PROJECT)]) == [PROJECT]
    (event,) = events.events
    assert event.action == "allow" and event.targets[0].mode == "shadow"


HIDDEN: dict[str, dict[str, Any]] = {
    "a part": {"messages": [user([{"type": "text", "text": PERSON}])]},
    "two turns": {"messages": [user("Tell me about Odalys"), user("Brennick, will you?")]},
    "two parts": {"messages": [user([{"type": "text", "text": "Odalys"}, {"text": " Brennick"}])]},
    "a name": {"messages": [{**user(EVERYDAY), "name": "Odalys Brennick"}]},
    "an earlier turn": {"messages": [user(PERSON), user(EVERYDAY)]},
    "a system text": {"messages": [{"role": "developer", "content": PERSON}, user(EVERYDAY)]},
    "a tool": {
        "messages": [user(EVERYDAY)],
        "tools": [{"type": "function", "function": {"name": "f", "description": PERSON}}],
    },
    "a tool call": {
        "messages": [
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": PERSON}}],
            }
        ]
    },
    "a part of another kind": {
        "messages": [user([{"type": "tool_result", "content": [{"type": "x", "y": PERSON}]}])]
    },
    "a field that is new": {"messages": [user(EVERYDAY)], "documents": [{"title": PERSON}]},
    "a text that no message has": {"messages": [user(EVERYDAY)], "texts": [EVERYDAY, PERSON]},
}


@pytest.mark.parametrize("name", HIDDEN)
async def test_it_is_found_wherever_it_stands(start: Start, reading: Guard, name: str) -> None:
    fields = dict(HIDDEN[name])
    with pytest.raises(Stopped, match=REFUSAL):
        await start(reading).pre_call(fields.pop("messages"), **fields)


async def test_without_messages_the_texts_are_judged(start: Start, reading: Guard) -> None:
    with pytest.raises(Stopped, match=REFUSAL):
        await start(reading).ask("request", [PERSON], None)


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}},
        {"type": "input_audio", "input_audio": {"data": "AA=="}},
        {"type": "file", "file": {"file_id": "file-1"}},
    ],
)
async def test_what_cannot_be_read_is_blocked(start: Start, reading: Guard, part: Any) -> None:
    with pytest.raises(Stopped, match="cannot be read"):
        await start(reading).pre_call([user([{"type": "text", "text": EVERYDAY}, part])])


async def test_a_leak_is_blocked_with_the_target_s_answer(start: Start, reading: Guard) -> None:
    gateway = start(reading)
    await gateway.pre_call([user(EVERYDAY)])
    with pytest.raises(Stopped, match=ENDING):
        await gateway.post_call("Fine.", LEAK)


async def test_an_answer_is_read_with_its_question(
    start: Start, reading: Guard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gateway asks about it by itself: what it is an answer to is remembered, or doubted."""
    asked: list[Any] = []

    def noted(guard: Guard, text: str, question: str, *, prompt: str, doubted: Any) -> list[Any]:
        asked.append((text, question, EVERYDAY in prompt, set(doubted)))
        return []

    monkeypatch.setattr("guard.guardrail.service.read_finished", noted)
    gateway = start(reading)
    await gateway.pre_call([user(EVERYDAY)], "known")
    await gateway.post_call("Whiskers.", call="known")
    await gateway.post_call("Whiskers.", call="unknown")
    everything = {"brennick", "tidewater"}
    assert asked == [("Whiskers.", EVERYDAY, True, set()), ("Whiskers.", "", False, everything)]


async def test_a_leak_in_a_tool_call_is_blocked(start: Start, reading: Guard) -> None:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": LEAK}}
    with pytest.raises(Stopped, match=ENDING):
        await start(reading).post_call(tool_calls=[call])


async def test_a_leak_of_a_target_in_shadow_mode_goes_out(
    start: Start, reading: Guard, events: Events
) -> None:
    gateway = start(reading)
    assert await gateway.post_call("It is the Tidewater Compact.")
    (hit,) = events.events
    assert (hit.target, hit.action) == ("tidewater", "shadow")


async def test_what_is_not_decided_yet_is_to_be_held_back(start: Start, reading: Guard) -> None:
    """A stream is asked about piece by piece: a name that has begun must not leave."""
    gateway = start(reading)
    begun = "She won the Halv"
    await gateway.post_call(begun, "Fine. It rains.")
    one, other = gateway.told[0]["stream_holdback_chars"]
    assert begun[: len(begun) - one] in ("She won the ", "She won the")
    assert 0 <= other < len("Fine. It rains.")


async def test_no_answer_names_a_target_or_its_data(start: Start, reading: Guard) -> None:
    gateway = start(reading)
    for text in (PERSON, BOOK, PROJECT, EVERYDAY):
        try:
            await gateway.pre_call([user(text)])
            await gateway.post_call(LEAK)
        except Stopped:
            pass
    said = json.dumps([{**told, "texts": None} for told in gateway.told])
    for secret in ("brennick", "vessmere", "tidewater", "Halvorsen", "exact", "1998"):
        assert secret not in said


async def test_events_name_request_target_and_action(
    start: Start, reading: Guard, events: Events
) -> None:
    gateway = start(reading)
    with pytest.raises(Stopped):
        await gateway.pre_call([user(PERSON)], "call 1\nrefused")
    with pytest.raises(Stopped):
        await gateway.post_call(LEAK, call="c-2")
    decided, hit = events.events
    assert (decided.action, decided.targets[0].target) == ("refuse", "brennick")
    assert decided.request.startswith("sha256:")  # no plain id
    assert (hit.request, hit.target, hit.check, hit.action) == (
        "c-2",
        "brennick",
        "exact",
        "blocked",
    )
    assert hit.enforced and {"view", "detect", "apply"} <= decided.seconds.keys()


# What fails.


class Broken(Service):
    """Its detectors fail."""

    def _judge(self, *args: Any) -> Any:
        raise ValueError(f"broke at {PERSON}")

    def _check(self, *args: Any) -> Any:
        raise ValueError(f"broke at {LEAK}")


async def test_what_cannot_be_judged_is_blocked(
    start: Start, reading: Guard, events: Events, caplog: pytest.LogCaptureFixture
) -> None:
    gateway = start(reading, Broken)
    with pytest.raises(Stopped, match=UNJUDGED):
        await gateway.pre_call([user(EVERYDAY)])
    with pytest.raises(Stopped, match=UNCHECKED):
        await gateway.post_call("Whiskers.")
    assert [event.action for event in events.events] == ["failed", "failed"]
    assert "ValueError" in caplog.text
    assert "Brennick" not in caplog.text and SECRET not in caplog.text


class Late(Service):
    """Its judgements take longer than they may."""

    over = threading.Event()

    def _judge(self, *args: Any) -> Any:
        assert self.over.wait(20)
        return super()._judge(*args)

    def _check(self, *args: Any) -> Any:
        assert self.over.wait(20)
        return super()._check(*args)


async def test_what_comes_too_late_is_not_told(
    start: Start, reading: Guard, events: Events
) -> None:
    manifest = reading.bundle.manifest.model_copy(update={"timeout": 0.2})
    services = list[Service]()

    def late(*args: Any, **options: Any) -> Service:
        services.append(Late(*args, **options))
        return services[0]

    gateway = start(Guard(replace(reading.bundle, manifest=manifest)), late)  # type: ignore[arg-type]
    Late.over.clear()
    with pytest.raises(Stopped, match=UNJUDGED):
        await gateway.pre_call([user(PERSON)])
    with pytest.raises(Stopped, match=UNCHECKED):
        await gateway.post_call(LEAK)
    Late.over.set()
    while services[0].worker.stuck:
        await asyncio.sleep(0.01)
    assert [event.action for event in events.events] == ["failed", "failed"]


async def test_what_cannot_be_recorded_is_blocked(
    start: Start, reading: Guard, events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Any, event: Any, trace: Any = None) -> None:
        raise AuditError("the disk is full")

    monkeypatch.setattr(Events, "__call__", full)
    gateway = start(reading)
    for text in (PERSON, BOOK):
        with pytest.raises(Stopped, match=UNJUDGED):
            await gateway.pre_call([user(text)])
    with pytest.raises(Stopped, match=UNCHECKED):
        await gateway.post_call(LEAK)


@pytest.fixture
def open_to_errors(reading: Guard) -> Guard:
    """The same by a policy that says ``on_error: open``."""
    manifest = reading.bundle.manifest.model_copy(update={"on_error": "open"})
    return Guard(replace(reading.bundle, manifest=manifest))


async def test_on_error_open_lets_go_on_what_could_not_be_judged_and_says_so(
    start: Start, open_to_errors: Guard, events: Events, caplog: pytest.LogCaptureFixture
) -> None:
    gateway = start(open_to_errors, Broken)
    assert await gateway.pre_call([user(EVERYDAY)]) == [EVERYDAY]
    assert await gateway.post_call("Whiskers.") == ["Whiskers."]
    assert [event.action for event in events.events] == ["opened", "opened"]
    assert caplog.text.count("UNGUARDED") == 2


async def test_but_never_what_was_found_before_it_failed(
    start: Start, open_to_errors: Guard, events: Events
) -> None:
    class Failing(Service):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            inner = self.record

            def record(event: Any, trace: Any = None) -> None:
                if type(event).__name__ == "Hit" or getattr(event, "action", "") == "refuse":
                    raise ValueError("after it was found")
                inner(event, trace)

            self.record = record  # type: ignore[assignment]

    gateway = start(open_to_errors, Failing)
    with pytest.raises(Stopped, match=UNJUDGED):
        await gateway.pre_call([user(PERSON)])
    with pytest.raises(Stopped, match=UNCHECKED):
        await gateway.post_call(LEAK)
    assert [event.action for event in events.events] == ["failed", "failed"]


BAD: list[tuple[bytes, str]] = [
    (b"", "not JSON"),
    (b"[]", "JSON object"),
    (b"{}", "input_type"),
    (b'{"input_type": "both", "texts": []}', "input_type"),
    (b'{"input_type": "request", "texts": "no list"}', "texts"),
    (b'{"input_type": "request", "texts": [1]}', "texts.0"),
    (b'{"input_type": "request", "structured_messages": ["x"]}', "structured_messages.0"),
    (b'{"input_type": "request", "texts": ["\\ud800"]}', "no text"),
    (b"\xff", "UTF-8"),
]


@pytest.mark.parametrize(("body", "says"), BAD, ids=range(len(BAD)))
async def test_a_call_that_cannot_be_read_is_blocked_and_says_why(
    start: Start, reading: Guard, body: bytes, says: str
) -> None:
    """Not an error of HTTP, which LiteLLM can be told to let pass."""
    gateway = start(reading)
    response = await gateway.client.post(
        "/beta/litellm_basic_guardrail_api", content=body, headers=gateway.headers
    )
    assert response.status_code == 200
    assert response.json()["action"] == "BLOCKED"
    assert says in response.json()["blocked_reason"]


async def test_a_call_that_is_too_large_is_blocked(start: Start, reading: Guard) -> None:
    with pytest.raises(Stopped, match="8 MiB"):
        await start(reading).pre_call([user("a " * (4 << 20))])


def test_what_a_guardrail_cannot_do_does_not_start(corrupting: Guard) -> None:
    with pytest.raises(EngineError, match=r"target vessmere: 'corrupt'.*--instead refuse"):
        Edition.of(corrupting, instead=False)


async def test_unless_it_is_to_be_refused_instead(start: Start, corrupting: Guard) -> None:
    with pytest.raises(Stopped, match="don't have any information"):
        await start(corrupting, instead=True).pre_call([user(BOOK)])


async def test_answers_are_let_through_where_none_are_checked(
    start: Start, corrupting: Guard
) -> None:
    gateway: Gateway = start(corrupting, instead=True)
    assert await gateway.post_call(LEAK) == [LEAK]
