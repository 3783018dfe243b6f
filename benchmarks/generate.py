"""Answers of one system, in a process of its own: an engine's memory goes back with it.

Reads a JSON object from stdin and writes one to the file that it names:
``{"model", "bundle", "questions", "max_tokens", "out"}`` to ``{"answers", "seconds"}``.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from guard.errors import GuardError


def generate(
    model: Path, bundle: Path | None, questions: Sequence[str], max_tokens: int = 64
) -> dict[str, Any]:
    """Asks a model, guarded by a bundle or as it is, each question as a chat; greedy.

    Returns:
        ``answers`` in the questions' order, and the ``seconds`` that they took together.

    Raises:
        GuardError: The engine did not start or failed; its last line is quoted.
    """
    with tempfile.TemporaryDirectory(prefix="guard-benchmark-") as folder:
        out = Path(folder) / "answers.json"
        request = {
            "model": str(model),
            "bundle": bundle and str(bundle),
            "questions": list(questions),
            "max_tokens": max_tokens,
            "out": str(out),
        }
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.generate"],
            input=json.dumps(request),
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_LOGGING_LEVEL": "ERROR"},
        )
        if done.returncode or not out.is_file():
            said = [line for line in done.stderr.splitlines() if line.strip()] or [
                "no reason given"
            ]
            raise GuardError(f"{model.name}: the engine failed: {said[-1][:300]}")
        answered: dict[str, Any] = json.loads(out.read_text("utf-8"))
        return answered


def main() -> None:
    """Answers the request on stdin."""
    request = json.load(sys.stdin)
    from vllm import LLM, SamplingParams

    from guard import GuardedLLM

    settings: dict[str, Any] = {"enforce_eager": True, "max_model_len": 1024, "seed": 0}
    llm: Any
    if request["bundle"]:
        llm = GuardedLLM(request["model"], guard=request["bundle"], **settings)
    else:
        llm = LLM(request["model"], **settings)
    chats = [[{"role": "user", "content": question}] for question in request["questions"]]
    params = SamplingParams(temperature=0, max_tokens=request["max_tokens"])
    began = time.perf_counter()
    outputs = llm.chat(chats, params, use_tqdm=False)
    seconds = time.perf_counter() - began
    answers = [output.outputs[0].text for output in outputs]
    Path(request["out"]).write_text(json.dumps({"answers": answers, "seconds": seconds}), "utf-8")


if __name__ == "__main__":
    main()
