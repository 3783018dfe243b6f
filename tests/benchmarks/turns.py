"""Made-up loads."""

from benchmarks.load import Answer, Load


def load_of(first: float, between: float, tokens: int = 11, answers: int = 3) -> Load:
    """Answers that are all alike, one after the other."""
    one = Answer(first, first + between * (tokens - 1), tokens)
    return Load(one.last * answers, [one] * answers)
