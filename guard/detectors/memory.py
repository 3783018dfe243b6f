"""Scores remembered per window, so that a growing conversation pays for its new turn only."""

import threading
from collections import OrderedDict
from collections.abc import Sequence

from guard.detectors.base import Windowed
from guard.view import Window

REMEMBERED = 20_000  # windows


class Remembering:
    """Asks a detector about windows that it has not judged yet.

    It lives as long as one loaded bundle, so what it holds is of that version. It keeps digests,
    not texts: what people asked is not kept.

    Args:
        detector: The detector.
        most: How many windows are remembered; the longest unused one is forgotten first.
    """

    def __init__(self, detector: Windowed, most: int = REMEMBERED) -> None:
        self.detector = detector
        self._most = most
        self._seen: OrderedDict[bytes, tuple[frozenset[str], dict[str, float]]] = OrderedDict()
        self._lock = threading.Lock()

    def window_scores(
        self, windows: Sequence[Window], targets: frozenset[str]
    ) -> list[dict[str, float]]:
        """Returns for each window the scores of these targets; see `Windowed.window_scores`."""
        keys = [window.digest for window in windows]
        with self._lock:
            known = {key: self._recall(key, targets) for key in keys}
        new = {key: w for key, w in zip(keys, windows, strict=True) if known[key] is None}
        if new:
            found = self.detector.window_scores(list(new.values()), targets)
            fresh = dict(zip(new, found, strict=True))
            known |= fresh
            with self._lock:
                for key, scores in fresh.items():
                    self._seen[key] = targets, scores
                    self._seen.move_to_end(key)
                while len(self._seen) > self._most:
                    self._seen.popitem(last=False)
        return [known[key] or {} for key in keys]

    def _recall(self, key: bytes, targets: frozenset[str]) -> dict[str, float] | None:
        held = self._seen.get(key)
        if held is None or not targets <= held[0]:
            return None
        self._seen.move_to_end(key)
        return held[1]
