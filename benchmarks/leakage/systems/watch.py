"""Ends the process of an engine when one that it cannot do without has ended.

vLLM waits for ever for the answers of an engine process that was killed.
"""

import os
import signal
import sys
import time
from collections.abc import Sequence

import psutil


def watch(processes: Sequence[psutil.Process], parent: int) -> None:
    """Watches until something ends; never returns.

    Args:
        processes: The engine's; the end of one of them is said on stderr.
        parent: Whoever started this process; with it, all that is here ends.
    """
    while os.getppid() == parent:
        if not all(map(_alive, processes)):
            print("a process of the engine was ended", file=sys.stderr, flush=True)
            os._exit(1)
        time.sleep(0.5)
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


def engine_processes() -> list[psutil.Process]:
    """Returns the processes that vLLM has started here, by the titles that it gives them."""
    children = psutil.Process().children(recursive=True)
    return [one for one in children if "VLLM::" in " ".join(one.cmdline())]


def _alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
