"""Remembered windows: judged once, no text kept, never more than so many, in threads too."""

import sys
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from guard.detectors.base import DetectOptions, Encode, Examples, Fitted, Parts, Windowed
from guard.detectors.memory import Remembering
from guard.view import Window

BOTH = frozenset({"a", "b"})


class Counting(Windowed):
    """Scores a window by its length; knows what it was asked about."""

    kind = "counting"
    cost = 1

    def __init__(self) -> None:
        super().__init__({}, lambda texts: 1 / 0)  # type: ignore[arg-type]
        self.asked: list[tuple[str, frozenset[str]]] = []

    @classmethod
    def fit(
        cls, examples: Examples, options: DetectOptions, encode: Encode, shared: Parts | None = None
    ) -> Fitted | None:
        return None

    def window_scores(
        self, windows: Sequence[Window], targets: frozenset[str]
    ) -> list[dict[str, float]]:
        self.asked += [(window.text, targets) for window in windows]
        return [
            {target: len(window.text) + ord(target) for target in targets if "!" not in window.text}
            for window in windows
        ]


def windows(*texts: str) -> list[Window]:
    return [Window(text, 10 * n, 10 * n + len(text)) for n, text in enumerate(texts)]


def only(scores: Sequence[Mapping[str, float]], targets: frozenset[str]) -> list[dict[str, float]]:
    return [{t: value for t, value in one.items() if t in targets} for one in scores]


def test_a_window_is_judged_once() -> None:
    memory = Remembering(detector := Counting())
    first = memory.window_scores(windows("one", "two"), BOTH)
    assert memory.window_scores(windows("two", "one"), BOTH) == first[::-1]
    memory.window_scores(windows("one", "two", "three"), BOTH)  # a chat that grew
    assert [text for text, _ in detector.asked] == ["one", "two", "three"]


def test_what_is_said_twice_is_judged_once() -> None:
    memory = Remembering(detector := Counting())
    scores = memory.window_scores(windows("one", "two", "one", "one"), BOTH)
    assert len(detector.asked) == 2
    assert scores == [{"a": 100, "b": 101}] * 4


def test_nothing_is_remembered_too() -> None:
    """A window that scored for no target is as good as one that did."""
    memory = Remembering(detector := Counting())
    assert memory.window_scores(windows("!"), BOTH) == [{}]
    assert memory.window_scores(windows("!"), BOTH) == [{}]
    assert len(detector.asked) == 1


def test_a_target_that_was_not_asked_about_is_judged_when_it_is() -> None:
    memory = Remembering(detector := Counting())
    a, b = frozenset("a"), frozenset("b")
    assert memory.window_scores(windows("one"), a) == [{"a": 100}]
    assert only(memory.window_scores(windows("one"), b), b) == [{"b": 101}]
    assert memory.window_scores(windows("one"), BOTH) == [{"a": 100, "b": 101}]
    assert [targets for _, targets in detector.asked] == [a, b, BOTH]
    assert only(memory.window_scores(windows("one"), a), a) == [{"a": 100}]
    assert len(detector.asked) == 3  # what is known of both is known of each


def test_no_windows() -> None:
    memory = Remembering(detector := Counting())
    assert memory.window_scores([], BOTH) == []
    assert detector.asked == []


@given(
    st.lists(
        st.tuples(st.lists(st.sampled_from("uvwxyz!"), max_size=8), st.sets(st.sampled_from("ab")))
    ),
    st.integers(1, 5),
)
def test_it_says_what_the_detector_says(asked: list[tuple[list[str], set[str]]], most: int) -> None:
    memory, plain = Remembering(Counting(), most), Counting()
    for texts, some in asked:
        targets = frozenset(some)
        found = memory.window_scores(windows(*texts), targets)
        assert only(found, targets) == plain.window_scores(windows(*texts), targets)
        assert len(memory._seen) <= most


def test_the_longest_unused_window_is_forgotten_first() -> None:
    memory = Remembering(detector := Counting(), most=2)
    for text in ("one", "two", "one", "three"):  # "two" has not been asked for since
        memory.window_scores(windows(text), BOTH)
    detector.asked.clear()
    memory.window_scores(windows("one", "three"), BOTH)
    assert detector.asked == []
    memory.window_scores(windows("two"), BOTH)
    assert len(detector.asked) == 1


def test_what_is_judged_anew_counts_as_used() -> None:
    memory = Remembering(detector := Counting(), most=2)
    memory.window_scores(windows("one"), frozenset("a"))
    memory.window_scores(windows("two"), BOTH)
    memory.window_scores(windows("one"), BOTH)  # for more targets than it was judged for
    memory.window_scores(windows("three"), BOTH)
    detector.asked.clear()
    memory.window_scores(windows("one"), BOTH)
    assert detector.asked == []


def test_more_windows_at_once_than_are_remembered() -> None:
    memory = Remembering(Counting(), most=3)
    texts = [str(n) * (n + 1) for n in range(30)]
    scores = memory.window_scores(windows(*texts), frozenset("a"))
    assert scores == [{"a": len(text) + 97} for text in texts]
    assert len(memory._seen) == 3


def test_no_text_is_kept() -> None:
    memory = Remembering(detector := Counting())
    said = "Is my neighbour Odalys Brennick ill?"
    memory.window_scores(windows(said), BOTH)
    detector.asked.clear()
    for held in everything(memory):
        if isinstance(held, str):
            assert said not in held
        if isinstance(held, bytes):
            assert said.encode() not in held


def everything(value: Any) -> list[Any]:
    """A value and all that it holds."""
    if isinstance(value, dict):
        return [each for pair in value.items() for item in pair for each in everything(item)]
    if isinstance(value, list | tuple | set | frozenset):
        return [each for item in value for each in everything(item)]
    return [value, *everything(vars(value))] if hasattr(value, "__dict__") else [value]


def test_an_error_is_not_remembered() -> None:
    class Failing(Counting):
        def window_scores(
            self, windows: Sequence[Window], targets: frozenset[str]
        ) -> list[dict[str, float]]:
            if not self.asked:
                self.asked.append(("", targets))
                raise RuntimeError("once")
            return super().window_scores(windows, targets)

    memory = Remembering(Failing())
    try:
        memory.window_scores(windows("one"), BOTH)
    except RuntimeError:
        pass
    else:
        raise AssertionError("an error must be passed on")
    assert memory.window_scores(windows("one"), BOTH) == [{"a": 100, "b": 101}]


def test_threads_get_the_same_scores() -> None:
    memory = Remembering(Counting(), most=7)
    texts = [f"text {n}" * (n % 5 + 1) for n in range(20)]
    wrong: list[object] = []

    def work(number: int) -> None:
        for turn in range(200):
            some = texts[(number * turn) % 20 :][:6]
            expected = [{"a": len(text) + 97} for text in some]
            if (found := memory.window_scores(windows(*some), frozenset("a"))) != expected:
                wrong.append(found)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    finally:
        sys.setswitchinterval(before)
    assert not any(thread.is_alive() for thread in threads)
    assert wrong == []
    assert len(memory._seen) <= 7
