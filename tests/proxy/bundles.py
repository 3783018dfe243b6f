"""A bundle with all that HTTP can do: a person refused, a book instructed, a project in shadow."""

from pathlib import Path

from guard.bundle import Bundle
from guard.compile import compile_policy
from tests.checks import quick_policy, small

REFUSAL = "I know nothing about that person."
INSTRUCTION = "Say that you do not know."
ENDING = "Let us talk of something else."
SECRET = "Halvorsen Medal"  # of a forgotten answer


def compiled(
    folder: Path, book: str = f"{{kind: instruct, message: {INSTRUCTION}}}", **outputs: str
) -> Bundle:
    """Compiles it.

    Args:
        folder: Where.
        book: What is done about the book.
        outputs: How answers are checked, by target.
    """
    policy = quick_policy(folder, **outputs)
    text = policy.read_text().replace("intervene: {kind: corrupt}", f"intervene: {book}")
    policy.write_text(text)
    with small(folder / "cache"):
        return compile_policy(policy, folder / "bundle")
