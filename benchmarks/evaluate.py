"""A system on a suite: rates at its own thresholds, ROC figures over all, and each evasion."""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from benchmarks import roc
from benchmarks.evasions import EVASIONS
from benchmarks.question import Prompt, Question
from benchmarks.result import Row
from benchmarks.split import Suite
from benchmarks.systems import NEXT, Fitted, Verdict

RATES = (0.01, 0.001)  # of false positives, that true-positive rates are given at

# Judges prompts with one fitted system, in their order.
Ask = Callable[[Fitted, Sequence[Prompt]], list[Verdict]]


@dataclass(frozen=True)
class Measured:
    """One system, fitted to the folds of one suite.

    Attributes:
        system: Its name.
        suite: The suite.
        fitted: What was fitted, one a fold: the first folds of the suite.
        ask: Judges prompts.
        seed: Of the bootstrap and of what is drawn.
    """

    system: str
    suite: Suite
    fitted: Sequence[Fitted]
    ask: Ask
    seed: int
    _asked: dict[tuple[int, str], list[Verdict]] = field(default_factory=dict)

    def verdicts(self, fold: int, name: str, questions: Sequence[Question]) -> list[Verdict]:
        """Judges a set with a fold's system, once."""
        if (fold, name) not in self._asked:
            texts = [question.text for question in questions]
            self._asked[fold, name] = self.ask(self.fitted[fold], texts)
        return self._asked[fold, name]

    def ask_all(self) -> None:
        """Judges every set, one fold after another: to load a system takes seconds.

        The first fold comes last: it is the one that is asked further.
        """
        suite = self.suite
        for fold in reversed(range(len(self.fitted))):
            one = suite.folds[fold]
            sets = {"positives": one.positives, "negatives": one.negatives, **suite.elsewhere}
            sets |= {} if fold else {**suite.benign, **suite.extra}
            for name, questions in sets.items():
                self.verdicts(fold, name, questions)

    def row(self, split: str, metric: str, value: float, **rest: object) -> Row:
        """A figure of this system on this suite."""
        numbers = {key: round(v, 6) if isinstance(v, float) else v for key, v in rest.items()}
        return Row.model_validate(
            {
                "system": self.system,
                "split": f"{self.suite.name}: {split}",
                "metric": metric,
                "value": round(value, 6),
                **numbers,
            }
        )


def detection_rows(measured: Measured) -> list[Row]:
    """Rates at the thresholds that would be deployed, of every set of the suite.

    True positives are the mean over the folds' detectors and the worst of them; a false positive
    elsewhere is one of the fold that has most of them.
    """
    suite, folds = measured.suite, range(len(measured.fitted))
    measured.ask_all()
    rows = []
    if any(suite.folds[fold].positives for fold in folds):
        rows += _positives(measured)
    flags = [
        verdict.flagged
        for fold in folds
        for verdict in measured.verdicts(fold, "negatives", suite.folds[fold].negatives)
    ]
    if flags:
        rows += _false_positives(measured, suite.neighbours, sum(flags), len(flags))
    for sets, over in ((suite.elsewhere, folds), (suite.benign, folds[:1])):
        for name, questions in sets.items():
            found = [sum(v.flagged for v in measured.verdicts(n, name, questions)) for n in over]
            rows += _false_positives(measured, name, max(found), len(questions))
    for name, questions in suite.extra.items():
        hits = sum(verdict.flagged for verdict in measured.verdicts(0, name, questions))
        rows.append(_rate(measured, name, "tpr", hits, len(questions)))
    return rows


def roc_rows(measured: Measured) -> list[Row]:
    """AUC, and true positives at given rates of false ones, of the folds taken together."""
    suite = measured.suite
    sides = []
    for name in ("positives", "negatives"):
        scores: list[float] = []
        groups: list[str] = []
        for number in range(len(measured.fitted)):
            questions = getattr(suite.folds[number], name)
            scores += [v.score for v in measured.verdicts(number, name, questions)]
            groups += [question.group for question in questions]
        sides.append(roc.Scored(np.array(scores), tuple(groups)))
    figures = {"auc": roc.auc} | {
        f"tpr_at_{rate:g}_fpr": partial(_tpr_at, rate=rate) for rate in RATES
    }
    above, below = sides
    rows = []
    for metric, figure in figures.items():
        low, high = roc.bootstrap(above, below, figure, measured.seed)
        value = figure(above.scores, below.scores, None)
        rows.append(
            measured.row(suite.neighbours, metric, value, low=low, high=high, n=len(below.scores))
        )
    return rows


def stage_rows(measured: Measured, staged: Fitted, count: int) -> list[Row]:
    """How many prompts get as far as each stage, of the first fold's positives and of each set.

    Args:
        measured: The system.
        staged: Its verdicts name every stage that was asked, in order.
        count: How many prompts are drawn of each set.
    """
    suite = measured.suite
    sets: dict[str, Sequence[Question]] = {"positives": suite.folds[0].positives}
    sets |= {suite.neighbours: suite.folds[0].negatives, **suite.elsewhere, **suite.benign}
    rows = []
    for name, questions in sets.items():
        texts = [question.text for question in questions]
        drawn = random.Random(measured.seed).sample(texts, min(count, len(texts)))
        paths = [verdict.stage.split(NEXT) for verdict in measured.ask(staged, drawn)]
        reached = Counter(stage for path in paths for stage in path)
        rows += [
            _rate(measured, name, f"reaches {stage}", hits, len(paths))
            for stage, hits in reached.items()
        ]
    return rows


def evasion_rows(
    measured: Measured, count: int, long: int, names: Sequence[str] = tuple(EVASIONS)
) -> list[Row]:
    """What the first fold's detector makes of disguised questions.

    Each evasion is compared with the same questions as they are, and put to the held-out
    neighbours too: who flags all that is encoded has detected nothing.

    Args:
        measured: The system.
        count: How many positives, and how many negatives, are drawn.
        long: How many of these are put at great length.
        names: Which evasions.
    """
    fold = measured.suite.folds[0]
    sides = {"tpr": ("positives", fold.positives), "fpr": ("negatives", fold.negatives)}
    rows = []
    for metric, (label, questions) in sides.items():
        plain = measured.verdicts(0, label, questions)
        drawn = random.Random(measured.seed).sample(
            range(len(questions)), min(count, len(questions))
        )
        for name in names:
            evasion = EVASIONS[name]
            made = [(n, evasion(questions[n], measured.seed)) for n in drawn]
            prompts = [(n, p) for n, p in made if p is not None][: long if evasion.long else None]
            if not prompts:
                continue
            found = measured.ask(measured.fitted[0], [prompt for _, prompt in prompts])
            hits = sum(verdict.flagged for verdict in found)
            row = _rate(measured, label, metric, hits, len(prompts))
            rows.append(row.model_copy(update={"attack": name}))
            before = sum(plain[n].flagged for n, _ in prompts)
            if metric == "tpr" and before:
                share = measured.row(label, "of_plain_tpr", hits / before, n=len(prompts))
                rows.append(share.model_copy(update={"attack": name}))
    return rows


def _positives(measured: Measured) -> list[Row]:
    suite, split = measured.suite, "positives"
    rates: dict[str, list[float]] = {}
    of: dict[str, str] = {}
    counts = []
    for number in range(len(measured.fitted)):
        questions = suite.folds[number].positives
        verdicts = measured.verdicts(number, "positives", questions)
        counts.append((sum(v.flagged for v in verdicts), len(verdicts)))
        for question, verdict in zip(questions, verdicts, strict=True):
            rates.setdefault(question.text, []).append(verdict.flagged)
            of[question.text] = question.group
    means = [float(np.mean(flags)) for flags in rates.values()]
    low, high = roc.mean_interval(means, [of[text] for text in rates], measured.seed)
    hits, n = min(counts, key=lambda pair: pair[0] / pair[1])
    mean = measured.row(split, "tpr", float(np.mean(means)), low=low, high=high, n=len(means))
    return [mean, _rate(measured, split, "tpr_worst_fold", hits, n)]


def _false_positives(measured: Measured, name: str, count: int, n: int) -> list[Row]:
    return [
        _rate(measured, name, "fpr", count, n),
        measured.row(name, "false_positives", count, n=n),
    ]


def _rate(measured: Measured, split: str, metric: str, hits: int, n: int) -> Row:
    low, high = roc.exact_interval(hits, n)
    return measured.row(split, metric, hits / n, low=low, high=high, n=n)


def _tpr_at(
    above: roc.Floats,
    below: roc.Floats,
    weights: tuple[roc.Floats, roc.Floats] | None,
    *,
    rate: float,
) -> float:
    return roc.tpr_at(above, below, rate, weights)
