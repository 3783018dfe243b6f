"""What needs a process of its own: other models, an engine in the same process."""

import subprocess
import sys
from pathlib import Path

import pytest

from guard.compile import compile_policy
from tests.engine.servers import environment
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
