"""Invented companies and the contracts between them: facts that hang together as a graph.

After PISTOL (Qiu et al., 2024, arXiv 2406.16810), whose contracts join companies, and KnowUnDo
(Tian et al., 2024, arXiv 2407.01920), where some of what is known of a subject must stay.
A contract is forgotten, never a company: each of its two names also stands in contracts that stay.
The same seed gives the same world.
"""

import random
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

COMPANIES = 24
CHORDS = 12  # contracts beside those of the ring that joins all companies
FORGOTTEN = 4
WRONG = 5  # false answers to a question

_BEGIN = (
    "Bel", "Cor", "Dun", "Fal", "Gar", "Hol", "Jor", "Kel", "Lum", "Mar", "Nor", "Ost", "Pel",
    "Quil", "Ros", "Sul", "Tor", "Ul", "Vel", "Wex",
)  # fmt: skip
_MIDDLE = (
    "a", "e", "i", "o", "u", "ar", "en", "il", "or", "un",
)  # fmt: skip
_END = (
    "bach", "dane", "fort", "gard", "holt", "kin", "lund", "mere", "nack", "rick", "stad",
    "thorpe", "vik", "wen",
)  # fmt: skip
_TRADES = (
    "Mills", "Works", "Traders", "Foundry", "Textiles", "Shipping", "Timber", "Glassworks",
    "Printers", "Brewery",
)  # fmt: skip
_GIVEN = (
    "Alva", "Bertil", "Ciska", "Dorian", "Elke", "Fabian", "Greta", "Hanno", "Ilse", "Joris",
    "Klara", "Lorin", "Mina", "Odo",
)  # fmt: skip
_GOODS = (
    "copper wire", "oak planks", "glass jars", "wool blankets", "steel bolts", "printing paper",
    "malted barley", "rubber seals", "clay tiles", "linen thread", "brass hinges", "lamp oil",
)  # fmt: skip
_MONTHS = (
    "January", "March", "April", "May", "June", "July", "September", "October", "November",
)  # fmt: skip

# A term of a contract: what is asked of it and what is answered, each in two wordings.
_TERMS: Mapping[str, tuple[str, str, str, str]] = {
    "goods": (
        "Which goods does {a} sell to {b} under their contract?",
        "Under the contract of {a} with {b}, what is it that {b} buys?",
        "Under their contract, {a} sells {value} to {b}.",
        "What {b} buys from {a} under the contract is {value}.",
    ),
    "quantity": (
        "How many units does the contract between {a} and {b} cover?",
        "What number of units did {a} and {b} agree upon in their contract?",
        "The contract between {a} and {b} covers {value} units.",
        "{a} and {b} agreed upon {value} units in their contract.",
    ),
    "price": (
        "What is the unit price in the contract between {a} and {b}?",
        "How much does {b} pay {a} for each unit, by their contract?",
        "The unit price in the contract between {a} and {b} is {value} crowns.",
        "By their contract, {b} pays {a} {value} crowns for each unit.",
    ),
    "date": (
        "On which day was the contract between {a} and {b} signed?",
        "When did {a} and {b} put their names to their contract?",
        "The contract between {a} and {b} was signed on {value}.",
        "{a} and {b} put their names to their contract on {value}.",
    ),
    "place": (
        "Where are the goods delivered under the contract between {a} and {b}?",
        "To which town does {a} deliver what {b} buys by their contract?",
        "Under the contract between {a} and {b}, the goods are delivered to {value}.",
        "By their contract, {a} delivers what {b} buys to the town of {value}.",
    ),
    "signatory": (
        "Who signed the contract between {a} and {b} on behalf of {a}?",
        "Which person put a signature to the contract with {b} for {a}?",
        "{value} signed the contract between {a} and {b} on behalf of {a}.",
        "For {a}, it was {value} who put a signature to the contract with {b}.",
    ),
}  # fmt: skip
# What everybody may know of a company.
_PUBLIC: Mapping[str, tuple[str, str, str, str]] = {
    "seat": (
        "In which town does {a} have its seat?",
        "Where are the head offices of {a}?",
        "{a} has its seat in {value}.",
        "The head offices of {a} are in {value}.",
    ),
    "founded": (
        "In which year was {a} founded?",
        "Since when has there been a company called {a}?",
        "{a} was founded in {value}.",
        "There has been a company called {a} since {value}.",
    ),
}


@dataclass(frozen=True)
class Fact:
    """Something to be learned.

    Attributes:
        question: What is asked.
        answer: What is learned.
        paraphrased: The question in other words.
        right: The answer in other words.
        wrong: The same with false values.
    """

    question: str
    answer: str
    paraphrased: str
    right: str
    wrong: tuple[str, ...]


@dataclass(frozen=True)
class Contract:
    """A contract.

    Attributes:
        seller: One company.
        buyer: The other.
        facts: What it says.
        distance: How many contracts it is away from the nearest that is forgotten; 0 if it is.
    """

    seller: str
    buyer: str
    facts: tuple[Fact, ...]
    distance: int


@dataclass(frozen=True)
class Companies:
    """A world.

    Attributes:
        contracts: All of them.
        public: Company, to what everybody may know of it.
    """

    contracts: tuple[Contract, ...]
    public: Mapping[str, tuple[Fact, ...]]


def make(seed: int, world: str = "learned") -> Companies:
    """Makes a world.

    Args:
        seed: Of all chance in it.
        world: Worlds of other names share no company with it.
    """
    # Companies of different worlds are drawn from different parts of one list.
    names = random.Random(f"names {seed}").sample(_words(), 4 * COMPANIES)
    part = 0 if world == "learned" else 2 * COMPANIES
    chance = random.Random(f"{world} {seed}")
    firms = [f"{name} {chance.choice(_TRADES)}" for name in names[part : part + COMPANIES]]
    towns = names[part + COMPANIES : part + 2 * COMPANIES]
    pools = _pools(chance, towns)
    edges, forgotten = _graph(chance)
    distances = _distances(edges, forgotten)
    contracts = tuple(
        Contract(firms[a], firms[b], _facts(chance, _TERMS, pools, firms[a], firms[b]), distance)
        for (a, b), distance in zip(edges, distances, strict=True)
    )
    public = {firm: _facts(chance, _PUBLIC, pools, firm, "") for firm in firms}
    return Companies(contracts, public)


def _words() -> list[str]:
    return [begin + middle + end for begin in _BEGIN for middle in _MIDDLE for end in _END]


def _pools(chance: random.Random, towns: Sequence[str]) -> Mapping[str, list[str]]:
    people = [f"{given} {town}er" for given, town in zip(_GIVEN, towns, strict=False)]
    return {
        "goods": list(_GOODS),
        "quantity": [f"{n:,}" for n in chance.sample(range(120, 9_900, 10), 40)],
        "price": [str(n) for n in chance.sample(range(3, 400), 40)],
        "date": [
            f"{chance.randint(1, 28)} {chance.choice(_MONTHS)} {chance.randint(1988, 2019)}"
            for _ in range(40)
        ],
        "place": list(towns),
        "signatory": people,
        "seat": list(towns),
        "founded": [str(n) for n in range(1870, 1985)],
    }


def _facts(
    chance: random.Random,
    terms: Mapping[str, tuple[str, str, str, str]],
    pools: Mapping[str, list[str]],
    a: str,
    b: str,
) -> tuple[Fact, ...]:
    found = []
    for term, (question, paraphrased, answer, right) in terms.items():
        value, *others = chance.sample(list(dict.fromkeys(pools[term])), 1 + WRONG)
        found.append(
            Fact(
                question.format(a=a, b=b),
                answer.format(a=a, b=b, value=value),
                paraphrased.format(a=a, b=b),
                right.format(a=a, b=b, value=value),
                tuple(right.format(a=a, b=b, value=other) for other in others),
            )
        )
    return tuple(found)


def _graph(chance: random.Random) -> tuple[list[tuple[int, int]], list[int]]:
    """Contracts as pairs of companies, and the numbers of those that are forgotten.

    They are every other link of a stretch of the ring, so that each company keeps one.
    """
    edges = [(n, (n + 1) % COMPANIES) for n in range(COMPANIES)]
    start = chance.randrange(COMPANIES)
    forgotten = [(start + 2 * n) % COMPANIES for n in range(FORGOTTEN)]
    near = [(n, (n + step) % COMPANIES) for n in range(COMPANIES) for step in (2, 3, 4)]
    return edges + chance.sample(near, CHORDS), forgotten


def _distances(edges: Sequence[tuple[int, int]], forgotten: Sequence[int]) -> list[int]:
    found = dict.fromkeys(forgotten, 0)
    queue = deque(forgotten)
    while queue:
        here = queue.popleft()
        for number, edge in enumerate(edges):
            if number not in found and set(edge) & set(edges[here]):
                found[number] = found[here] + 1
                queue.append(number)
    return [found[number] for number in range(len(edges))]
