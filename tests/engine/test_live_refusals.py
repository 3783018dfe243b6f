"""What must not start: the server ends with one clear line, and never answers."""

import json
import os
import shutil
import time
from pathlib import Path

import httpx
import pytest

from guard.bundle import MANIFEST, Bundle, load_bundle, write_bundle
from guard.compile import compile_policy
from guard.models import resolve
from tests.engine.servers import (
    ENGINE_FLAGS,
    environment,
    free_port,
    launch,
    plain,
    serve,
    wait_exit,
)
from tests.material import PERSON_NEIGHBOURS, PERSON_ROWS, rows, write_rows

pytestmark = [pytest.mark.engine, pytest.mark.slow]

BREAK_THE_CORE = '''
"""Stands for a plugin that cannot be imported in the engine's process: vLLM only logs that."""
import multiprocessing
import sys

spawned = "from multiprocessing" in " ".join(sys.orig_argv)
if spawned or multiprocessing.parent_process() is not None:
    class Broken:
        def find_spec(self, name, path=None, target=None):
            if name == "guard.engine.plugin":
                raise ImportError("broken for the test")
    sys.meta_path.insert(0, Broken())
'''


def _copy(bundle: Bundle, folder: Path) -> Path:
    return Path(shutil.copytree(bundle.path, folder / "copy"))


def _altered(bundle: Bundle, folder: Path, **changes: object) -> Path:
    """A sound bundle that says something else."""
    value = bundle.manifest.model_dump(exclude={"format", "files"}) | changes
    return write_bundle(folder / "altered", value, bundle.arrays).path


def test_a_damaged_bundle(live_bundle: Bundle, tmp_path: Path) -> None:
    copy = _copy(live_bundle, tmp_path)
    raw = bytearray((copy / MANIFEST).read_bytes())
    raw[len(raw) // 2] ^= 1
    (copy / MANIFEST).write_bytes(raw)
    server = serve(copy, tmp_path / "log")
    assert wait_exit(server, 60) == 2
    (line,) = server.text().splitlines()
    assert str(copy / MANIFEST) in line and "guard compile" in line


def test_no_bundle_under_plain_vllm_with_the_environment_set(tmp_path: Path) -> None:
    missing = str(tmp_path / "nowhere")
    server = plain(resolve("builtin:smollm2"), tmp_path / "log", GUARD_BUNDLE=missing)
    assert wait_exit(server) != 0
    assert f"{missing}: no such folder" in server.text()
    assert "Application startup complete" not in server.text()


def test_a_wrong_entry_in_the_additional_config(tmp_path: Path) -> None:
    config = json.dumps({"guard": {"bundel": "x"}})
    server = plain(resolve("builtin:smollm2"), tmp_path / "log", "--additional-config", config)
    assert wait_exit(server) != 0
    assert "guard.bundel: unknown field (did you mean 'bundle'?)" in server.text()


def test_a_bundle_for_another_model(live_bundle: Bundle, tmp_path: Path) -> None:
    other = _altered(live_bundle, tmp_path, model={"name": "other/model", "sha256": "0" * 64})
    server = serve(other, tmp_path / "log")
    assert wait_exit(server) != 0
    assert "was compiled for other/model, not for" in server.text()


def test_a_failed_self_test(live_bundle: Bundle, tmp_path: Path) -> None:
    """A known positive that the live guard does not flag."""
    targets = live_bundle.manifest.model_dump()["targets"]
    targets[0]["positives"] = ["What is the capital of France?"]
    server = serve(_altered(live_bundle, tmp_path, targets=targets), tmp_path / "log")
    assert wait_exit(server) != 0
    assert "self-test failed: target secret-target-one: known positive 1" in server.text()
    assert "Application startup complete" not in server.text()


def test_a_vllm_outside_the_tested_range(live_bundle: Bundle, tmp_path: Path) -> None:
    info = tmp_path / "path" / "vllm-0.99.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: vllm\nVersion: 0.99.0\n")
    server = serve(live_bundle.path, tmp_path / "log", PYTHONPATH=str(info.parent))
    assert wait_exit(server, 60) == 2
    assert "vLLM 0.99.0 is outside the tested range" in server.text()


def test_a_plugin_that_is_not_live_in_the_engine_process(
    live_bundle: Bundle, tmp_path: Path
) -> None:
    """Only the proof from outside can notice it: nothing in the front end is wrong."""
    (tmp_path / "sitecustomize.py").write_text(BREAK_THE_CORE)
    server = serve(live_bundle.path, tmp_path / "log", PYTHONPATH=str(tmp_path))
    assert wait_exit(server) == 2
    assert "The engine process is not guarded." in server.text()


def test_the_server_answers_nothing_before_it_is_proved(
    live_bundle: Bundle, tmp_path: Path
) -> None:
    """The server's own process, without the parent that would prove it."""
    reading, writing = os.pipe()
    env = {"GUARD_BUNDLE": str(live_bundle.path), "GUARD_REPORT_FD": str(writing)}
    command = ["guard.server.child", resolve("builtin:smollm2"), *ENGINE_FLAGS]
    server = launch(command, tmp_path / "log", free_port(), pass_fds=(writing,), **env)
    os.close(writing)
    try:
        with os.fdopen(reading) as pipe:
            assert json.loads(pipe.read())["host"] == "127.0.0.1"
        deadline = time.monotonic() + 180
        response = None
        while response is None and time.monotonic() < deadline:
            try:
                body = {"model": "x", "prompt": "Hi", "max_tokens": 1}
                response = httpx.post(f"{server.url}/v1/completions", json=body, timeout=10)
            except httpx.HTTPError:
                time.sleep(0.5)
        assert response is not None and response.status_code == 503
        assert "not proved to be live" in response.json()["error"]["message"]
        assert httpx.get(f"{server.url}/health").status_code == 503
        assert httpx.get(f"{server.url}/v1/models").status_code == 503
    finally:
        server.stop()


def test_the_bundle_on_disk_is_the_one_that_was_pinned(live_bundle: Bundle, tmp_path: Path) -> None:
    """A bundle that is swapped between the start and the server's own loading is refused."""
    env = {"GUARD_BUNDLE": str(live_bundle.path), "GUARD_BUNDLE_VERSION": "0" * 16}
    server = plain(resolve("builtin:smollm2"), tmp_path / "log", **env)
    assert wait_exit(server) != 0
    assert f"is version {load_bundle(live_bundle.path).version}, not {'0' * 16}" in server.text()


def test_environment_of_the_tests_is_clean() -> None:
    assert not [name for name in environment() if name.startswith("GUARD_") and "CACHE" not in name]


def test_speculative_decoding_where_answers_are_steered(tmp_path: Path) -> None:
    """vLLM would drop what steers them, and say so in its log alone."""
    write_rows(tmp_path / "forget.jsonl", rows(PERSON_ROWS))
    write_rows(tmp_path / "retain.jsonl", rows(PERSON_NEIGHBOURS))
    target = {"id": "brennick", "names": ["Odalys Brennick"], "detect": {"kind": "lexical"},
              "forget": "forget.jsonl", "retain": "retain.jsonl",
              "intervene": {"kind": "penalize"}}  # fmt: skip
    policy = {"version": 1, "model": "builtin:smollm2", "targets": [target]}
    (tmp_path / "policy.yaml").write_text(json.dumps(policy), "utf-8")
    bundle = compile_policy(tmp_path / "policy.yaml", tmp_path / "bundle")
    ngram = {"method": "ngram", "num_speculative_tokens": 2, "prompt_lookup_max": 3}
    server = serve(bundle.path, tmp_path / "log", "--speculative-config", json.dumps(ngram))
    assert wait_exit(server) != 0
    assert "interventions steer answers: --speculative-config" in server.text()
    assert "Application startup complete" not in server.text()
