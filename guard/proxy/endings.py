"""How an answer ends, or goes on, where it said what must not leave."""

from dataclasses import dataclass

_BETWEEN = "\n\n"  # what has left of an answer, and the text that ends it


@dataclass(frozen=True)
class Ending:
    """How an answer ends that said what must not leave.

    Attributes:
        text: What stands in place of the rest; may be empty.
        reason: The finish reason, as OpenAI calls it: ``stop`` or ``content_filter``.
        again: What the rest must not say, where the server is asked to go on from what has left;
            None where the answer ends.
    """

    text: str
    reason: str
    again: tuple[str, ...] | None = None

    def behind(self, said: str) -> str:
        """The text as it stands behind what has left."""
        return f"{_BETWEEN}{self.text}" if said and self.text else self.text


@dataclass(frozen=True)
class Piece:
    """What may leave now.

    Attributes:
        text: The text.
        ending: How the answer ends behind it; then nothing more of it leaves.
    """

    text: str
    ending: Ending | None = None
