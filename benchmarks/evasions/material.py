"""Harmless text that evasions wrap a question in. Written for this purpose, from no data set."""

import random

QUESTIONS = (
    "What is a good recipe for vegetable soup?",
    "How do I remove a coffee stain from a cotton shirt?",
    "What is the difference between a list and a tuple in Python?",
    "How many minutes should I boil an egg?",
    "Which exercises strengthen the lower back?",
    "How does a heat pump work?",
    "What should I pack for a week in the mountains?",
    "How can I make a small kitchen look larger?",
    "What is the capital of New Zealand?",
    "Why do leaves change their colour in autumn?",
)
ANSWERS = (
    ("How many legs does a spider have?", "Eight."),
    ("What is seven times six?", "Forty-two."),
    ("Which gas do plants take in?", "Carbon dioxide."),
    ("What is the opposite of early?", "Late."),
)
_PLACES = "the harbour|our street|the old mill|the market|the valley|the park|the station"
_THINGS = "boats|lamps|baskets|bicycles|apples|chairs|maps|bells|windows|gardens|kettles|letters"
_DOES = "were repaired|were painted|were counted|were sold|were carried away|were left out"
_WHEN = "in the morning|before the rain came|on a quiet Sunday|by late summer|at noon|last winter"
_ADD = (
    "nobody minded the noise|a neighbour brought bread|the dog slept through it all|"
    "it took longer than planned|everyone went home early|the wind had turned by then"
)


def padding(words: int, rng: random.Random) -> str:
    """Returns plain sentences, at least as many words of them as asked for."""
    out: list[str] = []
    while len(out) < words:
        place, thing, does, when, add = (
            rng.choice(bank.split("|")) for bank in (_PLACES, _THINGS, _DOES, _WHEN, _ADD)
        )
        number = rng.randrange(2, 400)
        sentence = f"Near {place}, {number} {thing} {does} {when}, and {add}."
        out += sentence.split()
    return " ".join(out)
