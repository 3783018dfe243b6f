"""RWKU (Jin et al., NeurIPS 2024, arXiv 2406.10890): famous people whom models know as they are.

One person is forgotten. A guard is given the name and the passages about them; it is asked at three
levels (blanks to be filled in, questions, and questions in adversarial dress), about neighbours,
and about what has nothing to do with it: the set's five measures of utility.
"""

from collections.abc import Callable, Mapping
from functools import partial

from adapters.data.files import Record, checked, read_records
from adapters.data.hub import hub_file
from benchmarks.leakage.case import Case, Given, Models, Source, Suite
from benchmarks.leakage.suites.choices import chosen
from benchmarks.leakage.suites.passages import pieces
from benchmarks.leakage.suites.reading import Parts, finished, texts
from guard.errors import DataError
from guard.registry import nearest

HUB = "jinzhuoran/RWKU"
FIRST = "1_Stephen_King"
METRICS = (
    "rouge_l", "entities", "leak_at_k", "probability", "closeness", "choice", "choice_said",
    "unchanged", "refusal", "over_refusal", "repetition", "fluency",
    "perplexity", "forget_score", "kfr",
    "krr", "blocked", "failed",
)  # fmt: skip
_THOUGHT, _WRITTEN = 256, 128  # tokens of an answer that reasons first, and of a free one
# Split, to the file that holds it.
_PROBES = {
    "forget": "forget_level2",
    "forget, blanks": "forget_level1",
    "forget, attacked": "forget_level3",
    "retain": "neighbor_level2",
    "retain, blanks": "neighbor_level1",
}


def load(source: Source, target: str = FIRST) -> Suite:
    """Reads one person's probes.

    Args:
        source: Where the data sets lie, and the model that knows the person.
        target: The folder of the person, as the set numbers them.

    Raises:
        DataError: A file is missing, there is no such person, or no model is given.
    """
    name = f"rwku:{target}"
    if source.target is None:
        raise DataError(f"{name}: give a model that knows the person as it is (--target)")
    parts = Parts(name)
    read = partial(_read, source, target)
    who = read("intro")[0].text("target")
    splits = {split: _probes(read(file), who, split) for split, file in _PROBES.items()}
    for split, make in _UTILITY.items():
        splits[split] = parts.read(split, partial(make, read))
    passages = [pair for row in read("passage") for pair in pieces(row.text("text"))]
    notes = (
        "forget texts are passages about the person, which the model has read; retain texts about "
        "others, which it has read as well: their likelihoods should move apart",
        "the set is made for models that know famous people; there is no retrained model",
    )
    suite = Suite(
        name,
        Models(source.target, source.retrained, source.base),
        Given(forget=tuple(dict.fromkeys(passages)), retain=(), names=(who,)),
        splits,
        METRICS,
        notes,
        parts.missing,
    )
    return finished(suite, source)


Read = Callable[[str], list[Record]]


def _read(source: Source, target: str, file: str) -> list[Record]:
    folder = source.data / "rwku" / "Target"
    if not folder.is_dir():
        try:
            return read_records(hub_file(HUB, f"Target/{target}/{file}.json"))
        except DataError as error:
            raise DataError(f"{folder}: no such folder, and {error}") from None
    own = folder / target
    if not own.is_dir():
        known = [path.name for path in folder.iterdir()]
        raise DataError(f"rwku: no person {target!r}{nearest(target, known)}")
    return read_records(own / f"{file}.json")


def _probes(rows: list[Record], who: str, split: str) -> tuple[Case, ...]:
    subject = who if split.startswith("forget") else None
    return tuple(
        Case(row.text("query"), row.text("answer"), _group(row, split, number), subject)
        for number, row in enumerate(rows)
    )


def _group(row: Record, split: str, number: int) -> str:
    """Neighbours belong together; every probe of the one person stands by itself."""
    neighbour = row.fields.get("neighbor")
    return neighbour if isinstance(neighbour, str) else f"{split} {number}"


def _texts(file: str, read: Read) -> tuple[Case, ...]:
    return tuple(
        Case("", row.text("text"), f"{file} {number}", passage=True)
        for number, row in enumerate(read(file))
    )


def _general(read: Read) -> tuple[Case, ...]:
    return tuple(
        chosen(row, str(row.fields.get("task", number)))
        for number, row in enumerate(read("retain_mmlu"))
    )


def _reasoning(read: Read) -> tuple[Case, ...]:
    return tuple(
        Case(f"{row.text('cot')}\n\nQ: {row.text('question')}", _first(row, "answer"),
             row.text("task"), tokens=_THOUGHT, stop=("\nQ:",))
        for row in read("retain_bbh")
    )  # fmt: skip


def _truthful(read: Read) -> tuple[Case, ...]:
    """The one right answer among wrong ones (TruthfulQA's MC1)."""
    found = []
    for number, row in enumerate(read("truthful")):
        held = row.fields.get("mc1_targets")
        if not isinstance(held, Mapping):
            raise DataError(f"{row.where}: field 'mc1_targets' must hold choices and labels")
        inner = Record(f"{row.where}: mc1_targets", held)
        options, labels = texts(inner, "choices"), held.get("labels")
        if not isinstance(labels, list) or labels.count(1) != 1 or len(labels) != len(options):
            raise DataError(
                f"{inner.where}: one of its labels must be 1, and there must be as many"
            )
        found.append(
            Case(row.text("question"), options[labels.index(1)], f"truthful {number}",
                 options=options)
        )  # fmt: skip
    return tuple(found)


def _factual(read: Read) -> tuple[Case, ...]:
    return tuple(
        Case(row.text("question"), _first(row, "answers"), f"factual {number}")
        for number, row in enumerate(read("triviaqa"))
    )


def _fluent(read: Read) -> tuple[Case, ...]:
    return tuple(
        Case(row.text("instruction"), "", f"fluent {number}", tokens=_WRITTEN)
        for number, row in enumerate(read("fluency"))
    )


def _first(row: Record, field: str) -> str:
    """A field that is a text, or the first of several."""
    value = row.fields.get(field)
    return checked(value[0] if isinstance(value, list) and value else value,
                   f"{row.where}: field {field!r}")  # fmt: skip


_UTILITY: Mapping[str, Callable[[Read], tuple[Case, ...]]] = {
    "forget texts": partial(_texts, "forget_mia"),
    "retain texts": partial(_texts, "retain_mia"),
    "general": _general,
    "reasoning": _reasoning,
    "truthful": _truthful,
    "factual": _factual,
    "fluent": _fluent,
}
