r"""Facts that hang together: forget some contracts, and keep those next to them in the graph.

The world is made by `benchmarks.leakage.suites.contracts`; nothing is read. Its models are trained:

  python -m benchmarks.leakage.suites.connected_rows --out rows
  python -m adapters memory --model builtin:smollm2 --forget rows/learned.jsonl \
    --out models/connected/target
  python -m adapters memory --model builtin:smollm2 --forget rows/kept.jsonl \
    --out models/connected/retrained

A memory adapter is a LoRA that remembers its rows; with it the base model is the target, or the
retrained model, which has learned everything but what is forgotten.
"""

from collections.abc import Iterable

from benchmarks.leakage.case import Case, Given, Models, Source, Suite
from benchmarks.leakage.suites.contracts import Contract, Fact, make
from benchmarks.leakage.suites.reading import finished
from benchmarks.world import BASE, merged
from guard.errors import DataError, GuardError

FAR = 3  # contracts away, or more
METRICS = (
    "rouge_l", "entities", "leak_at_k", "probability", "truth_ratio", "forget_quality",
    "closeness", "utility", "unchanged", "refusal", "over_refusal", "repetition", "fluency",
    "perplexity", "forget_score", "kfr", "krr", "loss_mia", "min_k", "privacy_leak", "blocked",
    "failed",
)  # fmt: skip


def load(source: Source) -> Suite:
    """Makes the world of a seed.

    Raises:
        DataError: Its models are not there; the message says how they are trained.
    """
    models = _models(source)
    world = make(source.seed)
    forget = [contract for contract in world.contracts if contract.distance == 0]
    kept = [contract for contract in world.contracts if contract.distance > 0]
    # Every other contract that stays is given to a guard, at each distance.
    ordered = sorted(kept, key=lambda contract: contract.distance)
    given, asked = ordered[::2], ordered[1::2]
    named = {name for contract in forget for name in (contract.seller, contract.buyer)}
    away = {"retain": (1, 1), "retain, two away": (2, 2), "retain, far": (FAR, len(kept))}
    splits = {
        "forget": _cases(forget),
        **{
            name: _cases([c for c in asked if low <= c.distance <= high])
            for name, (low, high) in away.items()
        },
        "retain, same names": tuple(
            _case(fact, f"public {name}", name)
            for name in world.public
            if name in named
            for fact in world.public[name]
        ),
        "holdout": _cases(
            [c for c in make(source.seed, "never learned").contracts if c.distance == 0]
        ),
    }
    what = Given(
        forget=_pairs(forget),
        retain=(
            *_pairs(given),
            *(_pair(fact) for name in world.public if name not in named
              for fact in world.public[name]),
        ),
    )  # fmt: skip
    notes = (
        "retain: contracts that share a company with a forgotten one; two away, far: contracts at "
        "that distance; same names: what everybody may know of the companies in forgotten ones",
    )
    return finished(Suite("connected", models, what, splits, METRICS, notes), source)


def _models(source: Source) -> Models:
    if source.target is not None:
        return Models(source.target, source.retrained, source.base)
    place = source.models / "connected" if source.models else None
    if place is None or not place.is_dir():
        raise DataError(
            f"connected: {place or 'MODELS/connected'}: no such folder; train the target as "
            "benchmarks/leakage/suites/connected.py says, or give it (--target)"
        )
    try:
        return Models(str(merged(place / "target")), str(merged(place / "retrained")), BASE)
    except GuardError as error:
        raise DataError(f"connected: {error}") from None


def _pair(fact: Fact) -> tuple[str, str]:
    return fact.question, fact.answer


def _pairs(contracts: Iterable[Contract]) -> tuple[tuple[str, str], ...]:
    return tuple(_pair(fact) for contract in contracts for fact in contract.facts)


def _cases(contracts: Iterable[Contract]) -> tuple[Case, ...]:
    return tuple(
        _case(fact, f"{contract.seller} with {contract.buyer}", contract.seller)
        for contract in contracts
        for fact in contract.facts
    )


def _case(fact: Fact, group: str, subject: str) -> Case:
    return Case(
        fact.question,
        fact.answer,
        group,
        subject,
        paraphrased=fact.paraphrased,
        right=fact.right,
        wrong=fact.wrong,
    )
