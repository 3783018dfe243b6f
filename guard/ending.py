"""How a process ends: a server by a signal, a command when nobody reads on."""

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from types import FrameType

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_NOT_READ = 128 + 13  # a shell's status of what SIGPIPE ended


@contextlib.contextmanager
def ends_well() -> Iterator[None]:
    """Within it, a signal that ends the process ends it with status 0, and `finally` is heard.

    uvicorn finishes what has begun and then raises the signal again, which by itself would be the
    end of the process at once, with status 143 as if it had been killed.
    """
    before = {number: signal.signal(number, _end) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(number: int, frame: FrameType | None) -> None:
    sys.exit(0)


def read_or_ended(run: Callable[[], int]) -> int:
    """Runs a command that prints; returns its exit status.

    A reader that has closed the pipe (``… | head``) is no error to tell of: the status is 141.
    """
    try:
        status = run()
        sys.stdout.flush()  # here it can be caught; as the interpreter ends it could not
    except BrokenPipeError:
        # The interpreter tries once more to write what is left.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _NOT_READ
    return status
