"""A real LiteLLM that asks a real `guard guardrail`, as `docs/deploy/litellm` configures it."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from guard.guard import Guard
from tests.deploy.files import DEPLOY
from tests.engine.servers import Server, free_port, launch, ready
from tests.guardrail.gateway import KEY
from tests.proxy.bundles import ENDING, INSTRUCTION, REFUSAL
from tests.proxy.sockets import served
from tests.proxy.upstream import Fake

pytestmark = pytest.mark.slow

MASTER = "sk-a-master-key"
REFUSED = "Who is Odalys Brennick?"
INSTRUCTED = "Who wrote The Clockwork of Vessmere?"
EVERYDAY = "What is the capital of France?"
LEAK = ("She won ", "the Halvor", "sen Medal", " in 1994", ".")


@dataclass
class Gateway:
    """LiteLLM, what it asks before, and the model behind it."""

    client: httpx.Client
    fake: Fake
    guardrail: Server

    def ask(self, question: str, **more: Any) -> httpx.Response:
        body = {"model": "gpt-4o", "messages": [{"role": "user", "content": question}], **more}
        return self.client.post("/v1/chat/completions", json=body)


@pytest.fixture(scope="module")
def gateway(reading: Guard, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    program = shutil.which("litellm")
    if program is None:
        pytest.skip("LiteLLM is not installed (`litellm[proxy]`)")
    folder, fake = tmp_path_factory.mktemp("litellm"), Fake()
    with ExitStack() as stack:
        model = stack.enter_context(served(fake))
        command = ["guard", "guardrail", "--bundle", str(reading.bundle.path)]
        guardrail = launch(command, folder / "guardrail.log", free_port(), GUARD_GUARDRAIL_KEY=KEY)
        stack.enter_context(ready(guardrail))
        config = (DEPLOY / "litellm/config.yaml").read_text("utf-8")
        assert config.count("http://guardrail:8103") == 1
        (folder / "config.yaml").write_text(config.replace("http://guardrail:8103", guardrail.url))
        port, log = free_port(), folder / "litellm.log"
        environment = {
            name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ
        } | {
            "OPENAI_API_KEY": "none", "OPENAI_BASE_URL": f"{model}/v1",
            "LITELLM_MASTER_KEY": MASTER, "GUARD_GUARDRAIL_KEY": KEY,
            "LITELLM_LOCAL_MODEL_COST_MAP": "True", "NO_PROXY": "127.0.0.1",
        }  # fmt: skip
        with log.open("wb") as file:
            process = subprocess.Popen(
                [program, "--config", str(folder / "config.yaml"), "--port", str(port),
                 "--host", "127.0.0.1"],
                env=environment, stdout=file, stderr=subprocess.STDOUT, cwd=folder,
                start_new_session=True,
            )  # fmt: skip
        litellm = Server(process, f"http://127.0.0.1:{port}", log)
        stack.callback(litellm.stop)
        deadline = time.monotonic() + 240
        while True:
            try:
                if httpx.get(f"{litellm.url}/health/liveliness", timeout=5).status_code == 200:
                    break
            except httpx.HTTPError:
                pass
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()[-3000:]
            time.sleep(0.5)
        headers = {"authorization": f"Bearer {MASTER}"}
        client = httpx.Client(base_url=litellm.url, headers=headers, timeout=60)
        yield Gateway(stack.enter_context(client), fake, guardrail)


@pytest.fixture(autouse=True)
def anew(gateway: Gateway) -> None:
    gateway.fake.__dict__.update(vars(Fake()))


def test_everyday_questions_are_answered(gateway: Gateway) -> None:
    answer = gateway.ask(EVERYDAY)
    assert answer.status_code == 200
    assert answer.json()["choices"][0]["message"]["content"] == gateway.fake.text
    assert gateway.fake.body["messages"][-1]["content"] == EVERYDAY


@pytest.mark.parametrize("stream", [False, True])
def test_what_is_refused_is_blocked_and_no_model_asked(gateway: Gateway, stream: bool) -> None:
    answer = gateway.ask(REFUSED, stream=stream)
    assert answer.status_code >= 400 and REFUSAL in answer.text
    assert gateway.fake.asked == []


@pytest.mark.parametrize("route", ["/v1/completions", "/v1/responses", "/v1/messages"])
def test_on_other_routes_too(gateway: Gateway, route: str) -> None:
    texts = {"/v1/completions": "prompt", "/v1/responses": "input"}
    asked: dict[str, Any] = {"model": "gpt-4o", "max_tokens": 20}
    if route in texts:
        asked[texts[route]] = REFUSED
    else:
        asked["messages"] = [{"role": "user", "content": REFUSED}]
    answer = gateway.client.post(route, json=asked)
    assert answer.status_code >= 400 and gateway.fake.text not in answer.text
    assert gateway.fake.asked == []


def test_what_is_instructed_goes_on_behind_its_instruction(gateway: Gateway) -> None:
    answer = gateway.ask(INSTRUCTED)
    assert answer.status_code == 200
    said = gateway.fake.body["messages"][-1]["content"]
    assert said.startswith(INSTRUCTION) and said.endswith(INSTRUCTED)


def test_clients_cannot_switch_it_off(gateway: Gateway) -> None:
    tries: list[dict[str, Any]] = [
        {"guardrails": []},
        {"disable_global_guardrails": True},
        {"metadata": {"guardrails": [], "disable_global_guardrails": True}},
        {"litellm_metadata": {"disable_global_guardrails": True}},
        {"guardrail_config": {"enabled": False}},
    ]
    for more in tries:
        answer = gateway.ask(REFUSED, **more)
        assert answer.status_code >= 400 and gateway.fake.asked == [], more


def test_a_leak_is_blocked(gateway: Gateway) -> None:
    gateway.fake.pieces = LEAK
    answer = gateway.ask(EVERYDAY)
    assert answer.status_code >= 400 and ENDING in answer.text
    assert "Halvorsen" not in answer.text


def streamed(gateway: Gateway) -> tuple[str, str]:
    """What a client is streamed: the texts, and all lines."""
    said, lines = "", []
    body = {"model": "gpt-4o", "stream": True, "messages": [{"role": "user", "content": EVERYDAY}]}
    with gateway.client.stream("POST", "/v1/chat/completions", json=body) as answer:
        for line in answer.iter_lines():
            lines.append(line)
            if line.startswith("data: {"):
                for choice in json.loads(line[6:]).get("choices", ()):
                    said += choice["delta"].get("content") or ""
    return said, "\n".join(lines)


def test_an_everyday_answer_is_streamed_whole(gateway: Gateway) -> None:
    gateway.fake.pieces = [f"Whale number {number} swims. " for number in range(40)]
    said, lines = streamed(gateway)
    assert said == gateway.fake.text and "[DONE]" in lines


@pytest.mark.parametrize("before", [0, 40])
def test_a_leak_is_not_streamed(gateway: Gateway, before: int) -> None:
    gateway.fake.pieces = [*(f"Whale number {number} swims. " for number in range(before)), *LEAK]
    said, lines = streamed(gateway)
    assert "Halvor" not in lines and ENDING in lines
    assert said.startswith("Whale number 0 swims.") == (before > 0)


def test_without_its_guardrail_nobody_is_answered(gateway: Gateway) -> None:
    """The last test: it ends the guardrail."""
    gateway.guardrail.stop()
    for stream in (False, True):
        answer = gateway.ask(EVERYDAY, stream=stream)
        assert answer.status_code >= 400 and gateway.fake.text not in answer.text
    assert gateway.fake.asked == []
