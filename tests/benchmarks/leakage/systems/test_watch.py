"""The process that holds an engine ends with what it cannot do without."""

import os
import subprocess
import sys

import psutil
import pytest

from benchmarks.result import ROOT

HELD = """
import psutil, sys
from benchmarks.leakage.systems.watch import watch
watch([psutil.Process(int(sys.argv[1]))], int(sys.argv[2]))
"""


@pytest.mark.parametrize("ends", ["engine", "parent"])
def test_it_ends_with_its_engine_and_with_its_parent(ends: str) -> None:
    engine = subprocess.Popen(["sleep", "60"])
    try:
        parent = os.getpid() if ends == "engine" else -1  # as if that had been another
        worker = subprocess.Popen(
            [sys.executable, "-c", HELD, str(engine.pid), str(parent)],
            stderr=subprocess.PIPE, text=True, cwd=ROOT, start_new_session=True,
        )  # fmt: skip
        if ends == "engine":
            with pytest.raises(subprocess.TimeoutExpired):
                worker.wait(8)
            engine.kill()
        _, said = worker.communicate(timeout=60)
        if ends == "engine":
            assert worker.returncode == 1 and said == "a process of the engine was ended\n"
        else:
            assert worker.returncode == -9 and psutil.pid_exists(engine.pid)
    finally:
        engine.kill()
        engine.wait()
