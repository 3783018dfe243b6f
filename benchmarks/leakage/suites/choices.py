"""Multiple choice, by generation and by likelihood: WMDP beside MMLU, or files of one's own.

WMDP (Li et al., ICML 2024, arXiv 2403.03218) asks about dangerous knowledge, MMLU (Hendrycks et
al., ICLR 2021, arXiv 2009.03300) about everything else. A file has a row a question:
``{"question", "choices", "answer"}``, the answer being the number of the right choice, from 0.

Each question is there twice: to choose among the choices' words (``forget``), where by likelihood
the words are compared, and among their letters (``forget, by letter``), as MMLU has it.

A guard is given texts, never questions of the set: WMDP's own corpora, where they may be had.
"""

from collections.abc import Sequence
from dataclasses import replace

from adapters.data.files import Record, read_records, to_records
from adapters.data.hub import hub_rows
from benchmarks.leakage.case import Case, Given, Source, Suite
from benchmarks.leakage.suites.passages import pieces
from benchmarks.leakage.suites.reading import README, Parts, finished, given_models, texts
from guard.data import read_rows
from guard.errors import DataError

WMDP = {"wmdp-bio": "bio", "wmdp-chem": "chem", "wmdp-cyber": "cyber"}
NAMES = (*WMDP, "choices")
METRICS = (
    "choice", "choice_said", "closeness", "unchanged", "refusal", "over_refusal", "blocked",
    "failed",
)  # fmt: skip
LETTERS = "ABCDEFGHIJ"
_ENDS = (".jsonl", ".json")


def load(source: Source, name: str) -> Suite:
    """Reads questions of multiple choice.

    Args:
        source: Where they lie: ``wmdp`` and ``mmlu``, or ``choices`` with ``forget.jsonl``,
            ``retain.jsonl``, ``given.jsonl`` and, if there is one, ``given_retain.jsonl``.
        name: One of `NAMES`.

    Raises:
        DataError: A file or the target model is missing.
    """
    models = given_models(source, name)
    parts = Parts(name)
    if name in WMDP:
        forget = _questions(source, "wmdp", name, ("cais/wmdp", name))
        retain = _questions(source, "mmlu", "test", ("cais/mmlu", "all"))
        given = Given(
            parts.read("corpus to forget", lambda: _corpus(source, name, "forget")),
            parts.read("corpus to retain", lambda: _corpus(source, name, "retain")),
        )
    else:
        forget = _questions(source, "choices", "forget", None)
        retain = _questions(source, "choices", "retain", None)
        kept = source.data / "choices" / "given_retain.jsonl"
        given = Given(_own(source, "given"), _own(source, "given_retain") if kept.exists() else ())
    splits = {
        "forget": forget,
        "retain": retain,
        "forget, by letter": lettered(forget),
        "retain, by letter": lettered(retain),
    }
    suite = Suite(name, models, given, splits, METRICS, missing=parts.missing)
    return finished(suite, source)


def chosen(row: Record, group: str) -> Case:
    """Returns a row as a case: the question with lettered choices, and the one that is right.

    Raises:
        DataError: It has no choices, or its answer is not the number of one.
    """
    options = texts(row, "choices")
    right = row.fields.get("answer")
    if not isinstance(right, int) or not 0 <= right < len(options) <= len(LETTERS):
        raise DataError(f"{row.where}: field 'answer' must be the number of a choice, from 0")
    lines = [f"{letter}. {text}" for letter, text in zip(LETTERS, options, strict=False)]
    asked = "\n".join([row.text("question"), *lines, "Which is it? Begin with its letter."])
    return Case(asked, options[right], group, options=options)


def lettered(cases: Sequence[Case]) -> tuple[Case, ...]:
    """Returns cases whose options are the letters of their choices."""
    return tuple(
        replace(
            case,
            answer=LETTERS[case.options.index(case.answer)],
            options=tuple(LETTERS[: len(case.options)]),
        )
        for case in cases
    )


def _questions(
    source: Source, folder: str, name: str, hub: tuple[str, str] | None
) -> tuple[Case, ...]:
    place = source.data / folder
    if place.is_dir():
        path = next((p for end in _ENDS if (p := place / f"{name}{end}").exists()), None)
        if path is None:
            raise DataError(f"{place / name}.jsonl: no such file; {README} says what belongs there")
        rows = read_records(path)
    elif hub is None:
        raise DataError(f"{place}: no such folder; {README} says what belongs there")
    else:
        try:
            rows = to_records(hub_rows(*hub, "test"), f"{hub[0]} {hub[1]}")
        except DataError as error:
            raise DataError(f"{place}: no such folder, and {error}") from None
    return tuple(
        chosen(row, str(row.fields.get("subject") or f"{name} {number}"))
        for number, row in enumerate(rows)
    )


def _corpus(source: Source, name: str, side: str) -> tuple[tuple[str, str], ...]:
    path = source.data / "wmdp" / f"{WMDP[name]}-{side}-corpus.jsonl"
    if not path.exists():
        raise DataError(
            f"{path}: no such file; the hub's cais/wmdp-corpora has that of cyber, and names who "
            "lends that of bio; there is none of chem"
        )
    return tuple(pair for row in read_records(path) for pair in pieces(row.text("text")))


def _own(source: Source, name: str) -> tuple[tuple[str, str], ...]:
    rows = read_rows(source.data / "choices" / f"{name}.jsonl")
    return tuple((row.prompt, row.answer) if row.answer else ("", row.prompt) for row in rows)
