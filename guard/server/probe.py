"""The proof from outside: known prompts sent over HTTP, answered by a guard that signs.

A probe passes the way that every request passes (HTTP, template, tokens, judgement) and carries
a token of this start's secret. A live guard answers with a signed statement of what it decided
and of whether the engine process refuses what was not judged; without the guard a model answers,
and that is no signature.
"""

import json
import time
from dataclasses import dataclass
from typing import Any

import httpx

from guard.bundle import Bundle, load_bundle
from guard.engine.verdict import PROBE, Seals
from guard.errors import EngineError

_CHANGES = 20  # versions that may come into force while a server is proved


@dataclass(frozen=True)
class Address:
    """Where a server listens, as it said itself.

    Attributes:
        url: Its base URL.
        uds: A Unix socket, when it listens on one.
        model: The name under which it serves.
        key: An API key that it takes, if it asks for any.
        processes: How many processes answer behind the address.
    """

    url: str
    uds: str | None
    model: str
    key: str | None
    processes: int

    @classmethod
    def of(cls, report: dict[str, Any]) -> "Address":
        """Reads what the server's process reported."""
        host = report["host"] or "127.0.0.1"
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
        name = f"[{host}]" if ":" in host else host
        scheme = "https" if report["tls"] else "http"
        return cls(
            url=f"{scheme}://{name}:{report['port']}{report['root_path']}",
            uds=report["uds"],
            model=report["model"],
            key=report["keys"][0] if report["keys"] else None,
            processes=report["processes"],
        )


class Prover:
    """Proves a guarded server live, and opens its gate.

    Attributes:
        bundle: The bundle that is live in it: where its folder holds another one meanwhile, that.

    Args:
        bundle: The bundle that it was started with.
        key: The secret of this start.
        address: Where it listens.
    """

    def __init__(self, bundle: Bundle, key: bytes, address: Address) -> None:
        self.bundle = bundle
        self.seals = Seals(key)
        self.address = address

    def listening(self) -> bool:
        """Whether anything answers at the address."""
        try:
            with self._client() as client:
                client.get("/health")  # no secrets before it is known who listens
        except httpx.HTTPError:
            return False
        return True

    def prove_and_open(self) -> None:
        """Proves every process behind the address, then opens it.

        Raises:
            EngineError: The guard is not live, or decides otherwise than its bundle.
        """
        proved: set[int] = set()
        # Which process answers is the kernel's choice: ask until each has answered.
        for _ in range(100 * self.address.processes):
            with self._client() as client:  # one connection, so one process
                process = self._gate(client, "who")
                if process in proved:
                    time.sleep(0.05)
                    continue
                self._prove(client, process)
                self._gate(client, "open")
                proved.add(process)
            if len(proved) >= self.address.processes:
                return
        raise EngineError(
            f"only {len(proved)} of {self.address.processes} server processes could be proved"
        )

    def _prove(self, client: httpx.Client, process: int) -> None:
        """Proves one process, by the bundle that is in force in it."""
        for _ in range(_CHANGES):
            try:
                for case in _cases(self.bundle):
                    if self._statement(client, *case) != process:
                        raise EngineError("the server's answers came from several processes")
                return
            except _OtherBundle as other:
                error = other
            held = load_bundle(self.bundle.path)
            if held.version == error.version:
                self.bundle = held
            else:  # the server is about to find what the folder holds; or it has another folder
                time.sleep(0.25)
        raise EngineError(f"the server guards by bundle {error.version}, not by this one")

    def _gate(self, client: httpx.Client, purpose: str) -> int:
        """Asks the gate itself; returns the process that answers."""
        try:
            token = {f"x-guard-{purpose}": self.seals.token(purpose)}
            response = client.get("/health", headers=self._headers() | token)
            process: int = response.json()["process"]
        except (httpx.HTTPError, ValueError, KeyError, TypeError):
            raise EngineError(
                "the server has no gate: it does not stand as it was started"
            ) from None
        return process

    def _statement(self, client: httpx.Client, target: str, prompt: str, expected: bool) -> int:
        """Sends one known prompt and checks the signed answer; returns who answered."""
        token = self.seals.token("probe")
        body = {
            "model": self.address.model,
            "prompt": prompt,
            "max_tokens": 1,
            "vllm_xargs": {PROBE: token},
        }
        try:
            response = client.post("/v1/completions", json=body, headers=self._headers())
        except httpx.HTTPError as error:
            raise EngineError(f"the server broke off: {type(error).__name__}") from None
        if response.status_code != 200:
            raise EngineError(f"the server refused its probe: {_message(response)}")
        text = response.json()["choices"][0].get("text") or ""
        said = self.seals.attested(token, text)
        if said is None:
            raise EngineError("the server answered without its guard: the plugin is not live in it")
        if said["bundle"] != self.bundle.version:
            raise _OtherBundle(said["bundle"])
        if said["unsealed_refused"] is not True:
            raise EngineError("the engine process takes requests that were not judged")
        if (target in said["flagged"]) != expected:
            what = "is not flagged" if expected else "is flagged"
            side = "positive" if expected else "negative"
            raise EngineError(f"a known {side} of target {target} {what} in the live server")
        return int(said["process"])

    def _client(self) -> httpx.Client:
        transport = httpx.HTTPTransport(uds=self.address.uds, verify=False)
        # Its own server at its own address: a certificate made for another name is no matter.
        return httpx.Client(
            base_url=self.address.url, transport=transport, timeout=120, trust_env=False
        )

    def _headers(self) -> dict[str, str]:
        headers = {"x-guard-probe": self.seals.token("gate")}
        if self.address.key is not None:
            headers["authorization"] = f"Bearer {self.address.key}"
        return headers


class _OtherBundle(Exception):
    def __init__(self, version: str) -> None:
        super().__init__(version)
        self.version = version


def _cases(bundle: Bundle) -> list[tuple[str, str, bool]]:
    """Known prompts, with their target and whether they are to be flagged."""
    return [
        (target.id, prompt, expected)
        for target in bundle.manifest.live
        for prompts, expected in ((target.positives, True), (target.negatives, False))
        for prompt in prompts
    ]


def _message(response: httpx.Response) -> str:
    try:
        return f"HTTP {response.status_code}: {response.json()['error']['message']}"
    except (json.JSONDecodeError, KeyError, TypeError):
        return f"HTTP {response.status_code}"
