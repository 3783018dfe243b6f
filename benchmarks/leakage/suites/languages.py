"""TOFU's one percent asked in five languages (machine translated); a guard is given it in English.

What was learned is the English answer, and is what leaks. The translated answers, right and wrong,
are there for likelihoods; none are published in Russian.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from adapters.data.files import Record
from benchmarks.leakage.case import Case, Source, Suite
from benchmarks.leakage.suites import tofu_mini
from benchmarks.leakage.suites.reading import Parts, finished, records, texts
from benchmarks.suites.tofu import LANGUAGES
from guard.errors import DataError

FOLDER = "tofu_multilingual"
TRANSLATED = ("ar", "fr", "hi", "ja")  # those with answers in other words, and wrong ones
METRICS = (
    "rouge_l", "entities", "leak_at_k", "probability", "truth_ratio", "forget_quality",
    "closeness", "unchanged", "refusal", "over_refusal", "repetition", "fluency",
    "perplexity", "blocked", "failed",
)  # fmt: skip
_SOME = 5  # every fifth question about real authors and the world, as in tofu-mini


def load(source: Source) -> Suite:
    """Reads the five languages beside the English questions.

    Raises:
        DataError: A file or a model is missing.
    """
    english = tofu_mini.load(replace(source, size=None))
    parts = Parts("tofu-languages")
    splits = {name: english.splits[name] for name in ("forget", "retain")}
    for language in LANGUAGES:
        splits[f"forget, {language}"] = _forget(source, language, splits["forget"], parts)
        for name in ("real_authors", "world_facts"):
            label = f"{name.replace('_', ' ')}, {language}"
            splits[label] = parts.read(label, partial(_kept, source, name, language))
    notes = (
        "answers in other languages than English are not counted as leaks, unless names tell them",
        "forget, ru: no answers in other words and no wrong ones are published",
    )
    suite = Suite(
        "tofu-languages", english.models, english.given, splits, METRICS, notes, parts.missing
    )
    return finished(suite, source)


def _forget(
    source: Source, language: str, english: tuple[Case, ...], parts: Parts
) -> tuple[Case, ...]:
    asked = records(source, FOLDER, f"forget01_{language}.jsonl")
    probes: Sequence[Record] = ()
    if language in TRANSLATED:
        name = f"forget01_perturbed_{language}.jsonl"
        probes = parts.read(name, lambda: records(source, FOLDER, name))
    if len(asked) != len(english) or len(probes) not in (0, len(english)):
        raise DataError(
            f"tofu-languages: the rows in {language} are not as many as those of forget01.json"
        )
    cases = [
        replace(case, question=row.text("question"), paraphrased=None, right=None, wrong=())
        for row, case in zip(asked, english, strict=True)
    ]
    if probes:
        cases = [
            replace(
                case,
                paraphrased=probe.text("paraphrased_question"),
                right=probe.text("paraphrased_answer"),
                wrong=texts(probe, "perturbed_answer"),
            )
            for probe, case in zip(probes, cases, strict=True)
        ]
    return tuple(cases)


def _kept(source: Source, name: str, language: str) -> tuple[Case, ...]:
    rows = records(source, FOLDER, f"{name}_perturbed_{language}.jsonl")
    return tuple(
        Case(
            row.text("question"),
            row.text("answer"),
            group=f"{name} {number}",
            wrong=texts(row, "perturbed_answer"),
        )
        for number, row in enumerate(rows[::_SOME])
    )
