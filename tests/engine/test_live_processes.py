"""What needs a process of its own: other models, an engine in the same process."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from guard.bundle import Bundle
from guard.compile import compile_policy
from tests.engine.conftest import REFUSAL
from tests.engine.endpoints import chat_body, post
from tests.engine.servers import environment, serve, wait_ready
from tests.engine.test_live_faults import FAULTY, POLICY

pytestmark = [pytest.mark.engine, pytest.mark.slow]

SCRIPTS = Path(__file__).parent / "scripts"


def _run(script: str, *args: str, **env: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, str(SCRIPTS / script), *args],
        env=environment(**env),
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.parametrize("kind", ["gemma3", "granite", "qwen2", "gpt2"])
def test_other_models_read_the_embeddings_as_their_own(kind: str, tmp_path: Path) -> None:
    done = _run("fidelity.py", kind, str(tmp_path), VLLM_ENABLE_V1_MULTIPROCESSING="0")
    assert done.returncode == 0 and "FAITHFUL" in done.stdout, done.stderr[-3000:]


def test_on_error_open_is_a_choice_and_is_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(FAULTY))
    (tmp_path / "policy.yaml").write_text(f"on_error: open\n{POLICY}", "utf-8")
    (tmp_path / "forget.jsonl").write_text('{"text": "the forgettable thing"}\n', "utf-8")
    (tmp_path / "retain.jsonl").write_text('{"text": "the memorable thing"}\n', "utf-8")
    bundle = compile_policy(tmp_path / "policy.yaml", tmp_path / "bundle").path
    env = {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "PYTHONPATH": str(FAULTY)}
    done = _run("open_on_error.py", str(bundle), **env)
    assert done.returncode == 0 and "OPENED" in done.stdout, done.stderr[-3000:]
    log = done.stdout + done.stderr
    assert log.count("is answered UNGUARDED") == 2
    assert "PLEASE" not in log


def test_several_api_servers_are_each_proved(live_bundle: Bundle, tmp_path: Path) -> None:
    """Behind one port, with a key that the prover has to give as well."""
    flags = ["--api-server-count", "2", "--api-key", "a-key"]
    server = serve(live_bundle.path, tmp_path / "log", *flags)
    try:
        wait_ready(server)
        deadline = time.monotonic() + 120  # the first answers before the second
        while "ready: " not in server.text() and time.monotonic() < deadline:
            time.sleep(0.5)
        assert "ready: " in server.text()
        texts = set()
        for _ in range(8):  # a connection each: the kernel chooses which process answers
            with server.client() as client:
                body = chat_body("What did Isaac Newton discover?")
                assert client.post("/v1/chat/completions", json=body).status_code == 401
                client.headers["authorization"] = "Bearer a-key"
                answer = post(client, "/v1/chat/completions", body)
                texts.add(answer["choices"][0]["message"]["content"])
        assert texts == {REFUSAL}
        assert "(ApiServer_0 " in server.text() and "(ApiServer_1 " in server.text()
    finally:
        server.stop()
