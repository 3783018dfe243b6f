"""Requests share the encoder: batches form by themselves, and nobody pays for another's text."""

import gc
import os
import queue
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from guard import batching
from guard.batching import THREADS, Batcher, BundleEncoder, limit_threads
from guard.detectors.base import Vectors
from guard.encoder import Encoder
from guard.errors import BundleError, GuardError
from guard.identity import identify, model_folder
from guard.models import resolve

NAME = "builtin:minilm"


def plain(texts: Sequence[str]) -> Vectors:
    """A text's vector: its length, and its first character's code."""
    return np.array([[len(text), ord(text[0])] for text in texts], np.float32).reshape(-1, 2)


class Gate:
    """An encoder that waits to be let go on; knows what it was asked in one go."""

    def __init__(self, encode: Callable[[Sequence[str]], Vectors] = plain) -> None:
        self.batches: list[list[str]] = []
        self.began: queue.SimpleQueue[None] = queue.SimpleQueue()
        self.go = threading.Semaphore(0)
        self._encode = encode

    def __call__(self, texts: Sequence[str]) -> Vectors:
        self.batches.append(list(texts))
        self.began.put(None)
        assert self.go.acquire(timeout=30)
        return self._encode(texts)


class Requests:
    """Threads that each encode some texts and keep what came of it."""

    def __init__(self, batcher: Batcher) -> None:
        self._batcher = batcher
        self._threads: list[threading.Thread] = []
        self.found: dict[tuple[str, ...], Vectors | Exception] = {}

    def ask(self, *texts: str) -> None:
        thread = threading.Thread(target=self._ask, args=(texts,))
        self._threads.append(thread)
        thread.start()

    def _ask(self, texts: tuple[str, ...]) -> None:
        try:
            self.found[texts] = self._batcher(texts)
        except Exception as error:
            self.found[texts] = error

    def finish(self) -> None:
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive()


def waiting(batcher: Batcher, count: int) -> None:
    """Returns when so many requests wait behind the one that is served."""
    for _ in range(3000):
        if batcher._jobs.qsize() >= count:
            return
        threading.Event().wait(0.01)
    raise AssertionError(f"{batcher._jobs.qsize()} of {count} requests wait")


def test_a_request_gets_its_vectors() -> None:
    batcher = Batcher(plain)
    assert batcher(["ab", "c"]).tolist() == [[2, 97], [1, 99]]
    assert batcher(("d",)).tolist() == [[1, 100]]
    assert batcher([]).shape == (0, 2)


def test_what_comes_in_meanwhile_is_encoded_in_one_go() -> None:
    batcher = Batcher(gate := Gate())
    requests = Requests(batcher)
    requests.ask("first")
    gate.began.get(timeout=30)  # the encoder is busy from here on
    others = [tuple("xyz"[: n % 4]) for n in range(7)]
    for n, texts in enumerate(others):
        requests.ask(*(f"{text}{n}" for text in texts), f"last{n}")
    waiting(batcher, len(others))
    for _ in range(2):
        gate.go.release()
    requests.finish()
    assert [len(batch) for batch in gate.batches] == [1, sum(len(texts) + 1 for texts in others)]
    for texts, vectors in requests.found.items():
        assert isinstance(vectors, np.ndarray)
        assert vectors.tolist() == plain(texts).tolist()
    assert len(requests.found) == len(others) + 1


def test_a_batch_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "_TOGETHER", 4)
    batcher = Batcher(gate := Gate())
    requests = Requests(batcher)
    requests.ask("first")
    gate.began.get(timeout=30)
    for n in range(10):
        requests.ask(f"text {n}")
    waiting(batcher, 10)
    for _ in range(4):
        gate.go.release()
    requests.finish()
    assert [len(batch) for batch in gate.batches] == [1, 4, 4, 2]


def choosy(texts: Sequence[str]) -> Vectors:
    if any(text.startswith("bad") for text in texts):
        raise ValueError("a bad text")
    return plain(texts)


def test_one_bad_text_fails_its_own_request_only() -> None:
    batcher = Batcher(gate := Gate(choosy))
    requests = Requests(batcher)
    requests.ask("first")
    gate.began.get(timeout=30)
    asked = [("good", "fine"), ("bad", "fine"), ("better",), ("bad again",)]
    for texts in asked:
        requests.ask(*texts)
    waiting(batcher, len(asked))
    for _ in range(2 + len(asked)):  # together, and then one by one
        gate.go.release()
    requests.finish()
    for texts in asked:
        found = requests.found[texts]
        if texts[0].startswith("bad"):
            assert isinstance(found, ValueError)
        else:
            assert isinstance(found, np.ndarray) and found.tolist() == plain(texts).tolist()


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(1), KeyboardInterrupt()])
def test_the_encoders_thread_outlives_an_error(error: BaseException) -> None:
    times = iter([error])

    def fails_once(texts: Sequence[str]) -> Vectors:
        for it in times:
            raise it
        return plain(texts)

    batcher = Batcher(fails_once)
    with pytest.raises(type(error)):
        batcher(["a"])
    assert batcher(["a"]).tolist() == [[1, 97]]


def test_one_thread_encodes() -> None:
    threads: set[int] = set()

    def encode(texts: Sequence[str]) -> Vectors:
        threads.add(threading.get_ident())
        return plain(texts)

    batcher = Batcher(encode)
    requests = Requests(batcher)
    for n in range(40):
        requests.ask(*[f"text {n} {m}" for m in range(n % 5 + 1)])
    requests.finish()
    assert len(threads) == 1 and threading.get_ident() not in threads
    assert len(requests.found) == 40
    for texts, vectors in requests.found.items():
        assert isinstance(vectors, np.ndarray) and vectors.tolist() == plain(texts).tolist()


def test_the_thread_ends_when_it_is_idle_and_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "_IDLE", 0.05)
    batcher = Batcher(plain)
    ours: set[threading.Thread] = set()
    before = set(threading.enumerate())
    for text in "abc":
        assert batcher([text]).tolist() == plain([text]).tolist()
        ours = set(threading.enumerate()) - before
        for thread in ours:
            thread.join(timeout=30)
            assert not thread.is_alive()


def test_no_text_is_lost_while_threads_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "_IDLE", 0.0)
    batcher = Batcher(plain)
    with ThreadPoolExecutor(8) as pool:
        found = pool.map(lambda n: batcher([f"text {n}"]).tolist(), range(2000), timeout=60)
        assert list(found) == [plain([f"text {n}"]).tolist() for n in range(2000)]


def test_a_guard_that_is_gone_leaves_no_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "_IDLE", 0.05)
    batcher = Batcher(plain)
    batcher(["text"])
    gone = weakref.ref(batcher)
    del batcher
    until = time.monotonic() + 30
    while gone() is not None and time.monotonic() < until:
        time.sleep(0.01)
        gc.collect()
    assert gone() is None


def test_no_thread_before_the_first_text() -> None:
    before = threading.active_count()
    Batcher(plain)
    assert threading.active_count() == before


# The encoder of a bundle.


@pytest.fixture(scope="module")
def sha256() -> str:
    return identify(model_folder(resolve(NAME)))


def test_it_encodes_as_the_encoder_does(encode: Encoder, sha256: str) -> None:
    found = BundleEncoder(NAME, sha256)
    texts = ["How do I boil an egg?", "Who is Odalys Brennick?"]
    assert found(texts) == pytest.approx(encode(texts), abs=1e-6)
    assert found.folder == encode.folder


def test_another_encoder_is_refused() -> None:
    found = BundleEncoder(NAME, "0" * 64)
    for _ in range(2):  # and stays refused
        with pytest.raises(BundleError, match="not the one that the bundle was compiled with"):
            found(["text"])
        with pytest.raises(BundleError, match="compile"):
            _ = found.folder


def test_it_is_loaded_once(monkeypatch: pytest.MonkeyPatch, sha256: str) -> None:
    made: list[str] = []

    class Fake:
        def __init__(self, folder: str) -> None:
            made.append(folder)
            self.folder = folder

        def __call__(self, texts: Sequence[str]) -> Vectors:
            return plain(texts)

    monkeypatch.setattr(batching, "Encoder", Fake)
    found = BundleEncoder(NAME, sha256)
    assert made == []  # not before it is asked
    wrong: list[object] = []

    def work() -> None:
        if not (found.folder and found(["ab"]).tolist() == [[2, 97]]):
            wrong.append(found)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(made) == 1 and wrong == []


def test_a_thread_that_comes_back_is_kept_to_its_cpu_threads(
    monkeypatch: pytest.MonkeyPatch, sha256: str
) -> None:
    import torch

    seen: list[int] = []

    class Fake:
        def __init__(self, folder: str) -> None:
            self.folder = folder

        def __call__(self, texts: Sequence[str]) -> Vectors:
            seen.append(torch.get_num_threads())
            return plain(texts)

    monkeypatch.setenv(THREADS, "3")
    monkeypatch.setattr(batching, "Encoder", Fake)
    monkeypatch.setattr(batching, "_IDLE", 0.0)
    found = BundleEncoder(NAME, sha256)
    outside = torch.get_num_threads()
    try:
        for _ in range(3):
            before = set(threading.enumerate())
            found(["ab"])
            for thread in set(threading.enumerate()) - before:
                thread.join(timeout=30)
            torch.set_num_threads(outside)
    finally:
        torch.set_num_threads(outside)
    assert seen == [3, 3, 3]


# CPU threads.


@pytest.mark.parametrize("value", ["0", "-1", "two", "", "1.5", " 2"])
def test_a_number_of_threads_that_is_none_is_refused(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv(THREADS, value)
    with pytest.raises(GuardError, match=f"^{THREADS}={value}: give a number of CPU threads"):
        limit_threads()


def test_torch_is_kept_to_as_many_threads() -> None:
    """In a process of its own: torch's number of threads is the process's."""
    script = (
        "import sys; from guard.batching import limit_threads; limit_threads();"
        "seen = 'torch' in sys.modules; import torch; print(seen, torch.get_num_threads())"
    )
    run = [sys.executable, "-c", script]
    env = {**os.environ, THREADS: "3"}
    out = subprocess.run(run, env=env, capture_output=True, text=True, check=True, timeout=120)
    assert out.stdout.split() == ["True", "3"]
    env.pop(THREADS)
    out = subprocess.run(run, env=env, capture_output=True, text=True, check=True, timeout=120)
    assert out.stdout.split()[0] == "False"  # nothing is set, and nothing is loaded for it
