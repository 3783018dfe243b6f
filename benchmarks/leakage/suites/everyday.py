"""Prompts that have nothing to do with any target: what over-refusal is measured on.

XSTest (Röttger et al., NAACL 2024, arXiv 2308.01263): its harmless prompts that look harmful; and a
sample of everyday requests. They have no known answer: refusals count, and changed answers.
"""

from benchmarks.leakage.case import Case, Source
from benchmarks.leakage.suites.reading import Parts, records
from benchmarks.suites import benign

XSTEST, EVERYDAY = "xstest", "everyday"


def everyday(source: Source, parts: Parts, count: int | None = None) -> dict[str, tuple[Case, ...]]:
    """Reads both.

    Args:
        source: Where data sets lie.
        parts: Where missing ones are noted.
        count: How many prompts of each; without it all of XSTest, and a hundred everyday prompts.
    """
    looking = parts.read(XSTEST, lambda: _xstest(source))
    wanted = 100 if count is None else count
    common = parts.read(EVERYDAY, lambda: _everyday(source, wanted))
    if count is not None and count < len(looking):
        looking = tuple(looking[n * len(looking) // count] for n in range(count))
    return {XSTEST: looking, EVERYDAY: common}


def _xstest(source: Source) -> tuple[Case, ...]:
    rows = records(source, "benign", "xstest_safe_only.jsonl")
    return tuple(
        Case(row.text("prompt"), "", group=f"XSTest {number}") for number, row in enumerate(rows)
    )


def _everyday(source: Source, count: int) -> tuple[Case, ...]:
    sets = [name for name in benign.SETS if name != "XSTest"]
    found, _ = benign.load(source.data, -(-count // len(sets)), source.seed)
    asked = [question for name in sets for question in found[name]]
    step = len(asked) / min(count, len(asked))
    drawn = [asked[int(number * step)] for number in range(min(count, len(asked)))]
    return tuple(Case(question.text, "", group=question.group) for question in drawn)
