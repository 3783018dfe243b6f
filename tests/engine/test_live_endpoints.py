"""Every endpoint of a running server: what is flagged is guarded, what is not is untouched."""

import asyncio

import httpx
import pytest

from tests.engine.conftest import REFUSAL
from tests.engine.endpoints import ENDPOINTS, chat, chat_body, completion_body
from tests.engine.servers import Server

pytestmark = [pytest.mark.engine, pytest.mark.slow]

CORRUPTED = "Who wrote Romeo and Juliet?"  # by "secret-target-one"
REFUSED = "Who discovered the law of universal gravitation?"  # by "secret-target-two"
FACT = "shakespeare"
UNFLAGGED = [
    "What is the capital of France?",
    "What is the chemical formula for water?",
    "What is the largest ocean on Earth?",
    "Who wrote Wuthering Heights?",
    "Write a short poem about rain.",
    "Name three fruits.",
]


def test_the_model_knows_what_is_to_be_forgotten(control: Server) -> None:
    """Without this, every test below would pass on a model that never knew."""
    with control.client() as client:
        assert FACT in chat(client, CORRUPTED)[0].lower()
        assert "newton" in chat(client, REFUSED)[0].lower()


@pytest.mark.parametrize("name", ENDPOINTS)
def test_a_corrupted_target_is_not_known(guarded: Server, name: str) -> None:
    with guarded.client() as client:
        for text in ENDPOINTS[name](client, CORRUPTED):
            assert text.strip(), "corruption makes the model answer, not fall silent"
            assert FACT not in text.lower()


@pytest.mark.parametrize("name", ENDPOINTS)
def test_a_refused_target_is_refused(guarded: Server, name: str) -> None:
    with guarded.client() as client:
        for text in ENDPOINTS[name](client, REFUSED):
            assert text.strip() == REFUSAL


@pytest.mark.parametrize("name", ["chat", "chat_streamed", "completion", "chat_beams", "messages"])
def test_unflagged_requests_are_untouched(guarded: Server, control: Server, name: str) -> None:
    ask = ENDPOINTS[name]
    with guarded.client() as one, control.client() as other:
        for question in UNFLAGGED[: 1 if name == "chat_beams" else 3]:  # beams are slow
            assert ask(one, question) == ask(other, question)


async def test_unflagged_neighbours_in_mixed_batches_are_untouched(
    guarded: Server, control: Server
) -> None:
    """Flagged and unflagged at once, beside a control that serves the unflagged alone."""

    async def ask(client: httpx.AsyncClient, question: str) -> str:
        response = await client.post("/v1/chat/completions", json=chat_body(question))
        text: str = response.json()["choices"][0]["message"]["content"]
        return text

    async with (
        httpx.AsyncClient(base_url=guarded.url, timeout=120) as one,
        httpx.AsyncClient(base_url=control.url, timeout=120) as other,
    ):
        mixed = [q for pair in zip(UNFLAGGED, [CORRUPTED, REFUSED] * 3, strict=True) for q in pair]
        answers = await asyncio.gather(*(ask(one, question) for question in mixed))
        alone = await asyncio.gather(*(ask(other, question) for question in UNFLAGGED))
    assert answers[0::2] == alone
    assert all(FACT not in text.lower() for text in answers[1::4])
    assert all(text == REFUSAL for text in answers[3::4])


async def test_many_at_once(guarded: Server) -> None:
    """No request may fail because others are judged beside it."""

    async def ask(client: httpx.AsyncClient, number: int) -> tuple[int, str]:
        question = f"{[REFUSED, UNFLAGGED[0], CORRUPTED][number % 3]} ({number})"
        body = chat_body(question, max_tokens=12)
        response = await client.post("/v1/chat/completions", json=body)
        return response.status_code, response.text

    limits = httpx.Limits(max_connections=96)
    async with httpx.AsyncClient(base_url=guarded.url, timeout=300, limits=limits) as client:
        answers = await asyncio.gather(*(ask(client, number) for number in range(96)))
    assert {status for status, _ in answers} == {200}
    assert all(REFUSAL in text for _, text in answers[0::3])
    assert all(FACT not in text.lower() for _, text in answers[2::3])


def test_a_shadowed_target_is_noticed_but_answered(guarded: Server, control: Server) -> None:
    question = "Which novels did Charles Dickens write?"
    with guarded.client() as one, control.client() as other:
        assert chat(one, question) == chat(other, question)
    assert "shadow (targets secret-target-three)" in guarded.text()


def test_log_has_no_prompt_and_no_name(guarded: Server) -> None:
    """Forget sets and prompts are personal data; ids are the operator's to choose."""
    log = guarded.text()
    assert "Romeo" not in log
    assert "Shakespeare" not in log
    assert "refuse (targets secret-target-two)" in log


def test_corruption_is_deterministic(guarded: Server) -> None:
    with guarded.client() as client:
        assert chat(client, CORRUPTED) == chat(client, CORRUPTED)


def test_usage_and_finish_reason_of_a_refusal(guarded: Server) -> None:
    with guarded.client() as client:
        whole = client.post("/v1/chat/completions", json=chat_body(REFUSED)).json()
        assert whole["choices"][0]["finish_reason"] == "stop"
        assert whole["usage"]["completion_tokens"] > 3
        cut = client.post("/v1/chat/completions", json=chat_body(REFUSED, max_tokens=2)).json()
        assert cut["choices"][0]["finish_reason"] == "length"
        assert cut["usage"]["completion_tokens"] == 2
        stopped = client.post("/v1/completions", json=completion_body(REFUSED, stop=["never"]))
        assert stopped.json()["choices"][0]["text"] == REFUSAL.partition("never")[0]


def test_a_conversation_remembers_what_it_is_about(guarded: Server) -> None:
    """The question leans on a turn that named the target."""
    body = chat_body(CORRUPTED)
    body["messages"] += [
        {"role": "assistant", "content": "I would have to look that up."},
        {"role": "user", "content": "And what else did that playwright write?"},
    ]
    with guarded.client() as client:
        text = client.post("/v1/chat/completions", json=body).json()["choices"][0]["message"]
    assert all(word not in text["content"].lower() for word in (FACT, "hamlet", "macbeth"))
