"""LUME, SemEval-2025 task 4 (Ramakrishna et al., arXiv 2502.15097, 2504.02883): three sub-tasks.

Each is to forget documents (short novels, invented personal records, real biographies), and is
asked by completion and by question, of what is forgotten and of what is kept: twelve scores. A
case's group begins with its sub-task (``task2 ...``) and a completion is a passage, by which the
twelve are told apart; `benchmarks.metrics.task_aggregate` makes the challenge's aggregate of them.

A guard is given documents. Of those that are kept it is given every second one and asked about the
others; the questions are never given. ``lume-privacy`` compares whole texts that were learned with
texts that never were, the challenge's files for membership inference.
"""

import re
from collections.abc import Iterable, Mapping

from adapters.data.files import Record
from benchmarks.leakage.case import TOKENS, Case, Given, Source, Suite
from benchmarks.leakage.suites.reading import finished, given_models, records
from guard.errors import DataError

METRICS = (
    "task_aggregate", "rouge_l", "entities", "leak_at_k", "probability", "closeness", "unchanged",
    "refusal", "over_refusal", "repetition", "fluency", "perplexity", "forget_score", "kfr", "krr",
    "blocked", "failed",
)  # fmt: skip
PRIVACY = (
    "privacy_leak", "loss_mia", "mia_score", "min_k", "repetition", "perplexity", "blocked",
    "failed",
)  # fmt: skip
_COPIED = 256  # tokens of a completion: the longest that was learned has 164 of SmolLM2's
_ID = re.compile(r"(.*?)(sc|qa)(\d+)", re.DOTALL)

# Sub-task and document, to its rows: a text cut in two ("sc"), and questions about it ("qa").
Documents = Mapping[str, list[tuple[str, Record]]]


def load(source: Source) -> Suite:
    """Reads the three sub-tasks.

    Raises:
        DataError: A file or the target model is missing.
    """
    models = given_models(source, "lume")
    forget, kept = (_documents(source, side) for side in ("forget", "retain"))
    order = sorted(kept)
    splits = {"forget": _cases(forget, forget), "retain": _cases(kept, order[1::2])}
    given = Given(_passages(forget, forget), _passages(kept, order[::2]))
    notes = ("retain: every second document that is kept; a guard is given the others",)
    return finished(Suite("lume", models, given, splits, METRICS, notes), source)


def load_privacy(source: Source) -> Suite:
    """Reads the texts for membership inference.

    Raises:
        DataError: A file or the target model is missing.
    """
    models = given_models(source, "lume-privacy")
    forget = _documents(source, "forget")
    splits = {
        split: _whole(records(source, "lume", f"mia/{name}.jsonl"), split)
        for split, name in (("forget", "member"), ("holdout", "nonmember"))
    }
    given = Given(_passages(forget, forget), ())
    return finished(Suite("lume-privacy", models, given, splits, PRIVACY), source)


def _documents(source: Source, side: str) -> Documents:
    found: dict[str, list[tuple[str, Record]]] = {}
    for row in records(source, "lume", f"{side}.jsonl"):
        match = _ID.fullmatch(row.text("id"))
        if match is None:
            raise DataError(f"{row.where}: field 'id' must end in sc or qa and a number")
        found.setdefault(f"{row.text('task').lower()} {match[1]}", []).append((match[2], row))
    return found


def _cases(documents: Documents, names: Iterable[str]) -> tuple[Case, ...]:
    return tuple(
        Case(row.text("input"), row.text("output"), name, passage=kind == "sc",
             tokens=_COPIED if kind == "sc" else TOKENS)
        for name in names
        for kind, row in documents[name]
    )  # fmt: skip


def _passages(documents: Documents, names: Iterable[str]) -> tuple[tuple[str, str], ...]:
    return tuple(
        ("", f"{row.text('input')} {row.text('output')}")
        for name in names
        for kind, row in documents[name]
        if kind == "sc"
    )


def _whole(rows: Iterable[Record], split: str) -> tuple[Case, ...]:
    return tuple(
        Case("", row.text("document" if "document" in row.fields else "text"),
             f"{split} {number}", passage=True)
        for number, row in enumerate(rows)
    )  # fmt: skip
