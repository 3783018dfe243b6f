"""How requests that are judged at the same time share the encoder.

One thread encodes. It takes whatever has come in while it was busy and encodes it in one go, so
batches form by themselves when there is much to do, and nobody waits for one to fill up. The thread
may be kept to a few CPU threads, so that it does not fight the engine for them. It ends when it has
had nothing to do for a while: a guard that was replaced leaves neither thread nor encoder behind.
"""

import os
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future

import numpy as np

from guard.detectors.base import Vectors
from guard.encoder import Encoder
from guard.errors import BundleError, GuardError
from guard.identity import identify, model_folder
from guard.models import resolve

THREADS = "GUARD_ENCODER_THREADS"  # environment: CPU threads of the encoder
_TOGETHER = 64  # requests whose texts are encoded in one go
_IDLE = 30.0  # seconds without work until the thread ends; the next text starts another

_Job = tuple[list[str], "Future[Vectors]"]


class Batcher:
    """Encodes for several threads at once, in one of its own.

    Args:
        encode: Encodes texts; called in one thread only.
    """

    def __init__(self, encode: Callable[[Sequence[str]], Vectors]) -> None:
        self._encode = encode
        self._jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._running = False

    def __call__(self, texts: Sequence[str]) -> Vectors:
        """Encodes texts as unit vectors, float32 [n, dimensions].

        Raises:
            Exception: Whatever the encoder raises for these texts.
        """
        future: Future[Vectors] = Future()
        with self._lock:  # a thread that is about to end has seen this job, or is none any more
            self._jobs.put((list(texts), future))
            if not self._running:
                self._running = True
                threading.Thread(target=self._run, name="guard-encoder", daemon=True).start()
        return future.result()

    def _run(self) -> None:
        while True:
            try:
                jobs = [self._jobs.get(timeout=_IDLE)]
            except queue.Empty:
                with self._lock:
                    if not self._jobs.empty():
                        continue
                    self._running = False
                    return
            while len(jobs) < _TOGETHER and not self._jobs.empty():
                jobs.append(self._jobs.get())
            self._serve(jobs)

    def _serve(self, jobs: Sequence[_Job]) -> None:
        try:
            vectors = self._encode([text for texts, _ in jobs for text in texts])
        except BaseException as error:
            if len(jobs) > 1:  # one bad text must not fail the others' requests
                for job in jobs:
                    self._serve([job])
            else:
                jobs[0][1].set_exception(error)
            return
        ends = np.cumsum([len(texts) for texts, _ in jobs])
        for (texts, future), end in zip(jobs, ends, strict=True):
            future.set_result(vectors[end - len(texts) : end])


class BundleEncoder:
    """A bundle's encoder: found, checked and loaded when the first text is encoded.

    Args:
        name: As the policy wrote it.
        sha256: The identity that the bundle was compiled with.
    """

    def __init__(self, name: str, sha256: str) -> None:
        self._name = name
        self._sha256 = sha256
        self._encoder: Encoder | None = None
        self._lock = threading.Lock()
        self._batcher = Batcher(self._encode)

    @property
    def folder(self) -> str:
        """The encoder's folder.

        Raises:
            BundleError: It is not the encoder that the bundle was compiled with.
        """
        return self._checked().folder

    def __call__(self, texts: Sequence[str]) -> Vectors:
        """Encodes texts as unit vectors, float32 [n, dimensions]."""
        return self._batcher(texts)

    def _encode(self, texts: Sequence[str]) -> Vectors:
        limit_threads()  # torch keeps the number thread by thread
        return self._checked()(texts)

    def _checked(self) -> Encoder:
        with self._lock:
            if self._encoder is None:
                folder = model_folder(resolve(self._name))
                if identify(folder) != self._sha256:
                    raise BundleError(
                        f"encoder {self._name} is not the one that the bundle was compiled with; "
                        "run `guard compile` again"
                    )
                self._encoder = Encoder(str(folder))
            return self._encoder


def limit_threads() -> None:
    """Keeps torch to as many CPU threads as the environment says.

    Raises:
        GuardError: The variable is no positive number.
    """
    value = os.environ.get(THREADS)
    if value is None:
        return
    if not value.isdecimal() or int(value) < 1:
        raise GuardError(f"{THREADS}={value}: give a number of CPU threads, 1 or more")
    import torch

    torch.set_num_threads(int(value))
