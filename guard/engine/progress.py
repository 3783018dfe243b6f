"""How far a judgement has come: it goes on in its thread when whoever waited for it gives it up."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from guard.decision import Decision
from guard.errors import DetectionError


@dataclass
class Progress:
    """How far a judgement has come, for whoever has to give it up.

    Attributes:
        decision: What was decided, once it was.
        seconds: How long each stage took that is over.
    """

    decision: Decision | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    _since: float = field(default_factory=time.perf_counter)
    _told: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def enforced(self) -> bool:
        """Whether it is decided already that the unguarded model must not answer."""
        return self.decision is not None and bool(self.decision.enforced)

    @property
    def told(self) -> bool:
        """Whether what became of it is told."""
        return self._told

    def tell(self, record: Callable[[], None]) -> bool:
        """Tells what became of it, once.

        A judgement that was given up goes on in its thread: whichever of the two comes second is
        not heard.

        Args:
            record: Tells it; where it fails, nothing is told.

        Returns:
            Whether this was the first.
        """
        with self._lock:
            if self._told:
                return False
            self._told = True
        try:
            record()
        except BaseException:
            self._told = False
            raise
        return True

    def decided(self, record: Callable[[], None]) -> None:
        """Tells what was decided.

        Raises:
            DetectionError: The judgement was given up meanwhile.
        """
        if not self.tell(record):
            raise DetectionError("it was given up before it was judged")

    def passed(self, stage: str) -> None:
        """Says that a stage is over, and the next one begins."""
        now = time.perf_counter()
        self.seconds[stage] = now - self._since
        self._since = now
