"""A real server exchanges its bundle under load, refuses a broken one, and ends without a loss."""

import contextlib
import json
import shutil
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from guard.bundle import Bundle
from guard.compile import compile_policy
from guard.versions import new_version
from tests.engine.conftest import DATA
from tests.engine.endpoints import chat_body, completion_body, events
from tests.engine.servers import Server, ready, serve

pytestmark = pytest.mark.engine

CLIENTS, RELOADS = 16, 20
EACH = 4  # answers at least between two reloads
FLAGGED = "What did Isaac Newton discover?"
LEAKS = "Name the greatest English playwright of the Elizabethan age."
PLAIN = "What is the capital of Norway?"
VERSIONS = ("one", "two")
SERVED = 'guard_reloads_total{result="served"}'
POLICY = """\
version: 1
model: builtin:smollm2
defaults:
  detect: {{kind: lexical}}
targets:
  - id: newton
    names: [Isaac Newton]
    retain: retain.jsonl
    intervene: {intervene}
  - id: shakespeare
    names: [William Shakespeare]
    retain: retain.jsonl
    detect: off
    intervene: {{kind: refuse, message: Taken back by {version}.}}
    output: {{check: exact, on_hit: switch}}
"""


def refusal(version: str) -> str:
    return f"Refused by {version}."


def taken_back(version: str) -> str:
    return f"Taken back by {version}."


def made(folder: Path, version: str, intervene: str | None = None) -> Bundle:
    intervene = intervene or f"{{kind: refuse, message: {refusal(version)}}}"
    policy = folder / f"{version}.yaml"
    policy.write_text(POLICY.format(version=version, intervene=intervene), "utf-8")
    return compile_policy(policy, folder / version)


def put(bundle: Bundle, folder: Path) -> str:
    """Puts a bundle in place of the one that is served, as the commands do."""
    targets = [target.model_dump() for target in bundle.manifest.targets]
    return new_version(bundle, folder, targets, {}).version


@dataclass
class Stand:
    """A server, and what it can be given."""

    server: Server
    served: Path
    bundles: dict[str, Bundle]
    names: dict[str, str] = field(default_factory=dict)  # the bundle's version to ours

    def give(self, version: str) -> None:
        held = put(self.bundles[version], self.served)
        self.names[held] = version
        self.wait(lambda: self.ready().json().get("bundle") == held)

    def ready(self) -> httpx.Response:
        return httpx.get(f"{self.server.url}/guard/ready", timeout=60)

    def wait(self, until: Callable[[], bool], seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while not until():
            assert time.monotonic() < deadline, self.server.text()[-3000:]
            time.sleep(0.02)

    def decided(self) -> dict[str, set[str]]:
        """By request of a client: the versions that the log names for all of its parts."""
        found: dict[str, set[str]] = {}
        for line in self.server.text().splitlines():
            if line.startswith("{") and '"request"' in line:
                told = json.loads(line)
                name = told["request"].partition("load-")[2].split("-")[0]
                found.setdefault(name, set()).add(self.names[told["bundle"]])
        return found


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    folder = tmp_path_factory.mktemp("reload")
    (folder / "retain.jsonl").symlink_to(DATA / "shakespeare" / "retain.jsonl")
    bundles = {version: made(folder, version) for version in VERSIONS}
    bundles["needy"] = made(folder, "needy", "{kind: corrupt}")
    names = {put(bundles["one"], folder / "served"): "one"}
    flags = ["--shutdown-timeout", "300"]  # a slow machine is no bug
    env = {"GUARD_LOG": "json", "GUARD_RELOAD": "0.1"}
    server = serve(folder / "served", folder / "log", *flags, **env)
    with ready(server):
        yield Stand(server, folder / "served", bundles, names)


class Load:
    """Clients that go on asking until they are stopped; each answer is held against one version."""

    def __init__(self, stand: Stand) -> None:
        self._url, self._ended = stand.server.url, threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(n,)) for n in range(CLIENTS)]
        self.ways = [self._flagged, self._leaks, self._plain, self._streamed, self._several]
        self.wrong: list[str] = []
        self.found: dict[str, str] = {}  # request to the version whose answer it got
        self.asked = Counter[str]()

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join(120)

    def answered(self, stand: Stand, more: int) -> None:
        """Waits until more requests are answered, or one is not."""
        wanted = self.asked.total() + more
        stand.wait(lambda: self.asked.total() >= wanted or bool(self.wrong))

    def _run(self, number: int) -> None:
        with httpx.Client(base_url=self._url, timeout=120) as client:
            turn = number
            while not self._ended.is_set():
                way, name = self.ways[turn % len(self.ways)], f"{number}x{turn}"
                client.headers["x-request-id"] = f"load-{name}"
                try:
                    version = way(client)
                except Exception as error:  # a request that was dropped
                    self.wrong.append(f"{way.__name__}: {error!r}")
                    return
                if version:
                    self.found[name] = version
                self.asked[way.__name__] += 1
                turn += 1

    def _post(self, client: httpx.Client, path: str, body: dict[str, Any]) -> list[str]:
        response = client.post(path, json=body)
        response.raise_for_status()
        choices = response.json()["choices"]
        return [one["text"] if "text" in one else one["message"]["content"] for one in choices]

    def _version(self, text: str, said: Callable[[str], str]) -> str:
        """The one version that an answer is of."""
        (version,) = [one for one in VERSIONS if text.endswith(said(one))]
        assert text.count(" by ") == 1 and "William Shakespeare" not in text, text
        return version

    def _flagged(self, client: httpx.Client) -> str:
        (text,) = self._post(client, "/v1/chat/completions", chat_body(FLAGGED))
        assert text in map(refusal, VERSIONS), f"unguarded: {text}"
        return self._version(text, refusal)

    def _leaks(self, client: httpx.Client) -> str:
        body = chat_body(LEAKS, max_tokens=16)
        (text,) = self._post(client, "/v1/chat/completions", body)
        return self._version(text, taken_back)

    def _streamed(self, client: httpx.Client) -> str:
        body = chat_body(LEAKS, max_tokens=16)
        chunks = list(events(client, "/v1/chat/completions", body))
        assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
        text = "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks)
        return self._version(text, taken_back)

    def _plain(self, client: httpx.Client) -> None:
        (text,) = self._post(client, "/v1/chat/completions", chat_body(PLAIN, max_tokens=12))
        assert "Oslo" in text, text

    def _several(self, client: httpx.Client) -> str:
        """Prompts that are asked together are answered by one version together."""
        body = completion_body([FLAGGED, PLAIN, FLAGGED, FLAGGED], max_tokens=16)  # type: ignore[list-item]
        first, _, *rest = self._post(client, "/v1/completions", body)
        assert set(rest) == {first}, [first, *rest]
        return self._version(first, refusal)


def test_twenty_reloads_under_load_drop_nothing_and_mix_nothing(stand: Stand) -> None:
    broken = stand.served.parent / "broken"
    with Load(stand) as load:
        for turn in range(RELOADS):
            if turn == RELOADS // 2:  # and whatever is not sound is passed over
                shutil.copytree(stand.bundles["two"].path, broken)
                file = next(iter(stand.bundles["two"].manifest.files))
                (broken / file).write_bytes(b"damaged")
                shutil.rmtree(stand.served)
                broken.rename(stand.served)
                stand.wait(lambda: '"event": "refused"' in stand.server.text())
                stand.give("two")
            stand.give(VERSIONS[1 - turn % 2])
            load.answered(stand, EACH)
    assert load.wrong == []
    assert len(load.asked) == len(load.ways)
    decided = stand.decided()
    for name, version in load.found.items():
        assert decided[name] == {version}, name
    assert set(load.found.values()) == set(VERSIONS)
    metrics = httpx.get(f"{stand.server.url}/metrics").text
    served = [
        line for line in metrics.splitlines() if 'guard_reloads_total{result="served"}' in line
    ]
    assert float(served[0].split()[-1]) >= RELOADS
    assert 'guard_reloads_total{result="refused"} 1.0' in metrics


def test_what_this_engine_cannot_serve_is_refused_and_said_once(stand: Stand) -> None:
    before = stand.ready().json()
    put(stand.bundles["needy"], stand.served)
    said = "need the engine arguments enable_prompt_embeds=True; restart the server"
    stand.wait(lambda: said in stand.server.text())
    time.sleep(1)  # it is looked at again meanwhile
    assert stand.server.text().count(said) == 1
    assert stand.ready().json() == before
    with stand.server.client() as client:
        response = client.post("/v1/chat/completions", json=chat_body(FLAGGED)).json()
    assert response["choices"][0]["message"]["content"] == refusal(stand.names[before["bundle"]])


def test_a_server_that_is_told_to_end_ends_its_answers_first(stand: Stand) -> None:
    """The last test of the file: what comes meanwhile is refused, and the liveness stays."""
    with (
        stand.server.client() as client,
        contextlib.closing(
            events(
                client, "/v1/chat/completions", chat_body(PLAIN, max_tokens=100, ignore_eos=True)
            )
        ) as stream,
    ):
        chunks = [next(stream) for _ in range(5)]
        stand.server.process.send_signal(signal.SIGTERM)
        stand.wait(lambda: stand.ready().status_code == 503)
        refused = httpx.post(f"{stand.server.url}/v1/chat/completions", json=chat_body(FLAGGED))
        assert refused.status_code == 503 and refused.headers["retry-after"] == "1"
        assert refused.json()["error"]["code"] == 503
        assert httpx.get(f"{stand.server.url}/health").status_code == 200
        chunks += stream
    assert chunks[-1]["choices"][0]["finish_reason"] == "length"
    assert stand.server.process.wait(120) == 0
    assert "every request has ended" in stand.server.text()
