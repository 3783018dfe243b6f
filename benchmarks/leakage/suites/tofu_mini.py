"""TOFU on two cores: a small model that has learned twenty of the authors, two to be forgotten.

The world is `benchmarks.world`. In ``tofu-mini`` the guard is given the forty forget questions and
is asked them, and their paraphrases. In ``tofu-mini-unseen`` it is given every other question of
each author and is asked the rest: what it must find, it was never shown.

TOFU's file of paraphrased and wrong answers to retain questions is about authors whom this model
never learned. Those of forget10 are about the twenty it did learn, eighteen of which are kept here:
they stand for it.
"""

from dataclasses import replace
from pathlib import Path

from benchmarks.leakage.case import Case, Given, Models, Source, Suite
from benchmarks.leakage.suites import everyday
from benchmarks.leakage.suites.reading import Parts, finished, pairs
from benchmarks.leakage.suites.tofu import (
    METRICS,
    cases,
    elsewhere,
    holdout,
    rows,
    subjects,
)
from benchmarks.suites.tofu import PER_AUTHOR
from benchmarks.world import BASE, World
from guard.errors import DataError

_SOME = 5  # every fifth question about real authors and the world, as elsewhere in the benchmarks
_PROMPTS = 50  # harmless prompts of each kind
_NOTES = (
    "retain: paraphrases and wrong answers are those of TOFU's forget10, which is about the same "
    "authors; TOFU's own retain set is about others, which this model never learned",
    f"real authors, world facts: every {_SOME}th question; xstest, everyday: {_PROMPTS} prompts",
)


def load(source: Source) -> Suite:
    """Reads the small world, its forget set given whole.

    Raises:
        DataError: A file or a model is missing.
    """
    return _load(source, "tofu-mini")


def load_unseen(source: Source) -> Suite:
    """Reads the small world; the guard is given half of the forget set and asked the other half.

    Raises:
        DataError: A file or a model is missing.
    """
    suite = _load(replace(source, size=None), "tofu-mini-unseen")
    forget = suite.splits["forget"]
    known = {(case.question, case.answer) for case in forget[::2]}
    given = replace(suite.given, forget=tuple(pair for pair in suite.given.forget if pair in known))
    asked = replace(
        suite,
        given=given,
        splits={**suite.splits, "forget": forget[1::2]},
        notes=(*suite.notes, "forget: each author's other questions are given, these are not"),
    )
    return finished(asked, source)


def models(source: Source, name: str) -> Models:
    """Returns the models of the small world, or those of the command line.

    Raises:
        DataError: Neither is given, or an adapter is missing.
    """
    if source.target is not None:
        return Models(source.target, source.retrained, source.base)
    if source.models is None:
        raise DataError(
            f"{name}: give the folder of the small world's adapters (--models, or set "
            "GUARD_MODELS), or a model that has learned it (--target)"
        )
    world = World(source.data, source.models)
    return Models(str(world.model("target")), str(world.model("retrained")), BASE)


def _load(source: Source, name: str) -> Suite:
    parts = Parts(name)
    world = World(source.data, source.models or Path())  # here only of its data
    probes = {(case.question, case.answer): case for case in _probes(source)}
    forget = _asked(world.forget, probes)
    splits = {
        "forget": forget,
        "retain": _asked(world.asked, probes),
        "holdout": parts.read("holdout", lambda: holdout(source, "01")),
        **elsewhere(source, _SOME),
        **everyday.everyday(source, parts, _PROMPTS),
    }
    given = Given(
        forget=tuple(world.forget),
        retain=tuple(world.given),
        names=tuple(dict.fromkeys(case.subject for case in forget if case.subject)),
    )
    found = models(source, name)
    suite = Suite(name, found, given, splits, METRICS, _NOTES, parts.missing)
    return finished(suite, source)


def _probes(source: Source) -> tuple[Case, ...]:
    """The four hundred questions that the target learned, with paraphrases and wrong answers."""
    every = rows(source, "full")
    perturbed = rows(source, "forget10_perturbed")
    first = len(every) - len(perturbed)
    if first < 0 or first % PER_AUTHOR or pairs(every)[first:] != pairs(perturbed):
        raise DataError("tofu-mini: forget10_perturbed.json is not of the end of full.json")
    return cases(perturbed, first, subjects(every))


def _asked(wanted: list[tuple[str, str]], probes: dict[tuple[str, str], Case]) -> tuple[Case, ...]:
    try:
        return tuple(probes[pair] for pair in wanted)
    except KeyError:
        raise DataError(
            "tofu-mini: forget10_perturbed.json lacks rows of full.json; take both from one copy"
        ) from None
