"""How likely a system's answers are to a model that has no part in it: are they language?"""

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.leakage.ask import Forced
from benchmarks.leakage.case import Case, Suite
from benchmarks.leakage.depends import made_of
from benchmarks.leakage.evidence import Answered, Evidence, Scored
from benchmarks.leakage.separation import forgotten
from benchmarks.leakage.store import Store, fingerprint
from benchmarks.leakage.systems.base import Running, System
from benchmarks.leakage.systems.engine import Settings
from benchmarks.leakage.systems.models import Model, Which

_READERS: tuple[Which, ...] = ("base", "retrained", "target")


def reader_of(suite: Suite, settings: Settings) -> System:
    """Returns the model of a suite that has learned least: who reads the answers."""
    which = next(name for name in _READERS if getattr(suite.models, name) is not None)
    return Model(which, settings)


def read(
    suite: Suite, evidence: Sequence[Evidence], reader: System, store: Store
) -> Iterable[Evidence]:
    """Yields the evidence with how likely its answers about what is forgotten are to a reader.

    Each answer is read as a text of its own, without the question; what was read before is in the
    store, and the reader is started only for what was not.

    Args:
        suite: What was asked about.
        evidence: Of each system.
        reader: Who reads.
        store: What was read before.

    Raises:
        GuardError: The reader cannot be started or is gone.
    """
    of = made_of(reader, suite)
    with ExitStack() as stack:
        running: Running | None = None
        for one in evidence:
            found: dict[str, Scored] = {}
            for (split, attack), held in one.answered.items():
                if attack is not None or not forgotten(split):
                    continue
                cases, texts = _said(held)
                key = _key(suite, one.system, split, texts, of)
                told = store.read(key)
                if told is None:
                    if running is None:
                        folder: Path = store.place(suite.name, reader.name, "made")
                        running = stack.enter_context(reader.start(suite, folder))
                    told = running.score([Forced("", text, passage=True) for text in texts])
                    store.write(key, told)
                likely = tuple(None if logs is None else tuple(logs) for logs in told)
                found[split] = Scored(cases, likely)
            yield replace(one, read=found)


def _said(held: Answered) -> tuple[tuple[Case, ...], list[str]]:
    """The cases whose first answer has words, and these; what was blocked is not the system's."""
    firsts = [(case, answers[0]) for case, answers in zip(held.cases, held.answers, strict=True)]
    said = [
        (case, one.text) for case, one in firsts if one.state == "answered" and one.text.split()
    ]
    return tuple(case for case, _ in said), [text for _, text in said]


def _key(
    suite: Suite, system: str, split: str, texts: Sequence[str], of: dict[str, Any]
) -> dict[str, Any]:
    return {
        "suite": suite.name,
        "system": system,
        "kind": "read",
        "split": split,
        "attack": None,
        "made_of": of,
        "texts": fingerprint(list(texts)),
    }
