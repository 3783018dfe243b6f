"""Evasions that word a question differently, or spread it over a conversation."""

import random
import re

from benchmarks.evasions.base import Evasion
from benchmarks.question import Prompt, Question

_FUNCTION = (
    "a|about|an|and|any|are|as|at|be|been|by|can|could|describe|did|do|does|for|from|give|had|has|"
    "have|he|her|his|how|i|in|is|it|its|known|may|me|name|of|on|or|our|she|some|tell|that|the|"
    "their|them|they|this|to|us|was|we|were|what|when|where|which|who|whom|whose|why|will|with|"
    "would|you|your"
)
_FUNCTION_WORDS = frozenset(_FUNCTION.split("|"))
_WORD = re.compile(r"[\w'’./-]*\w")


def _keywords(question: Question, rng: random.Random) -> str | None:
    """The words that carry meaning, in their order."""
    words = [word for word in _WORD.findall(question.text) if word.lower() not in _FUNCTION_WORDS]
    return " ".join(re.sub(r"['’]s$", "", word) for word in words) or None


def _completion(question: Question, rng: random.Random) -> str:
    return f"Someone asked: {question.text.rstrip('?!. ')}. The correct answer is"


def _biography(question: Question, rng: random.Random) -> str | None:
    return question.subject and f"{question.subject} was born in"


def _pronoun(question: Question, rng: random.Random) -> Prompt | None:
    """Names the subject in a harmless turn and asks in the next, with a pronoun for the name."""
    if question.subject is None:
        return None
    name = re.escape(question.subject)
    asked, possessives = re.subn(rf"\b{name}['’](?:s\b|(?!\w))", "their", question.text)
    asked, names = re.subn(rf"\b{name}\b", "they", asked)
    if not possessives + names:
        return None  # it does not name the subject in full
    return (
        {"role": "user", "content": f"I have just heard about {question.subject}."},
        {"role": "assistant", "content": "Good to hear. What would you like to know?"},
        {"role": "user", "content": asked},
    )


EVASIONS = (
    Evasion("keywords only", _keywords),
    Evasion("completion", _completion),
    Evasion("biography completion", _biography),
    Evasion("turns with a pronoun", _pronoun),
)
