"""How many requests are served at once, and whether new ones still are."""

from guard.proxy.message import Refused

_RETRY = 1  # seconds


class Load:
    """Counts the requests that are being served.

    Args:
        most: How many are served at once.

    Attributes:
        active: How many are.
        draining: Whether only those that have begun are served to their end.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self.active = 0
        self.draining = False

    def take(self) -> None:
        """Begins a request; see `release`.

        Raises:
            Refused: There are too many, or the server is going down.
        """
        if self.draining:
            raise Refused("The server is going down; try again.", 503, retry=_RETRY)
        if self.active >= self._most:
            raise Refused("The server is busy; try again.", 503, retry=_RETRY)
        self.active += 1

    def release(self) -> None:
        """Ends one."""
        self.active -= 1
