"""The suites of the detection benchmark, and which systems are put to which."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks import latency
from benchmarks.baselines import Classifier, Cosine, Keyword, Router
from benchmarks.baselines.router import environment
from benchmarks.evaluate import Measured, detection_rows, evasion_rows, roc_rows, stage_rows
from benchmarks.guarded import Guarded, staged
from benchmarks.question import Prompt
from benchmarks.result import Row
from benchmarks.size import Size
from benchmarks.split import Suite, check
from benchmarks.suites import benign, lume, tofu
from benchmarks.suites.files import read_json
from benchmarks.systems import Fitted, System, Verdict
from benchmarks.workers import Workers
from guard.errors import GuardError


@dataclass(frozen=True)
class Experiment:
    """One run.

    Attributes:
        data: The folder of the data sets.
        folder: An empty folder for what is fitted.
        workers: Who fits and judges.
        size: How much is asked.
        seed: Of everything that is drawn by chance.
        detect: The guard's kind of detector.
        make: Whether to make semantic-router's environment where there is none.
        epochs: Of the classifier; what the size says by default.
        say: Is told what is going on.
    """

    data: Path
    folder: Path
    workers: Workers
    size: Size
    seed: int
    detect: str
    make: bool
    epochs: int | None
    say: Callable[[str], None]
    _fitted: dict[tuple[str, str], list[Fitted]] = field(default_factory=dict)

    def tofu(self, level: str) -> list[Row]:
        """TOFU at one level, the guard alone."""
        suite = self._tofu(level)
        return self._measure(self.guard, replace(suite, folds=suite.folds[: self.size.side_folds]))

    def tofu10(self) -> list[Row]:
        """TOFU's ten percent: everyday prompts, evasions, and what the guard is compared with."""
        suite, rows = self._tofu("10"), []
        sets, dropped = benign.load(self.data, self.size.benign, self.seed)
        everyday = replace(suite, benign=sets, dropped=suite.dropped + dropped)
        less = {name: prompts[: self.size.compared] for name, prompts in sets.items()}
        rows += self._measure(self.guard, everyday, evasions=self.size.evasions)
        for system in self.baselines:
            compared = replace(suite, benign=less)
            rows += self._measure(system, compared, evasions=self.size.evasions // 2)
        if self._router is None:
            rows.append(self._no_router)
        return rows

    def languages(self) -> list[Row]:
        """TOFU's one percent, asked about in five languages, the guard alone."""
        return self._measure(self.guard, self._cut(tofu.load_multilingual(self.data, self.seed)))

    def lume(self) -> list[Row]:
        """LUME, the guard alone."""
        count = self.size.lume if self.size.questions is None else self.size.questions // 2
        return self._measure(self.guard, self._cut(lume.load(self.data, count, self.seed)))

    def latency(self) -> list[Row]:
        """Decision times by length and by number of targets; every system in turn."""
        suite = replace(self._tofu("10"), benign={})
        systems = {s.name: self._fit(s, suite)[0] for s in (self.guard, *self.baselines)}
        sets, _ = benign.load(self.data, None, self.seed)
        pool = {name: [prompt.text for prompt in prompts] for name, prompts in sets.items()}
        mixed = [text for texts in pool.values() for text in texts[: self.size.mixed]]
        rest = [text for texts in pool.values() for text in texts[self.size.mixed :]]
        supply = latency.Supply(rest, self.seed)
        core = latency.OneCore()
        try:
            self.say("timing benign prompts as they come")
            rows = latency.rows(latency.AS_THEY_COME, core.times(systems, mixed))
            for words, count in self.size.timed.items():
                self.say(f"timing prompts of {words} words")
                prompts = supply.prompts(words, count)
                rows += latency.rows(f"{words} words", core.times(systems, prompts))
                guard = {self.guard.name: systems[self.guard.name]}
                again = core.times(guard, latency.next_turns(prompts))
                rows += latency.rows(f"{words} words, next turn", again)
            for count in self.size.targets:
                self.say(f"timing with {count} targets")
                fitted = self._many(count)
                prompts = supply.prompts(32, self.size.timed[32])
                rows += latency.rows(f"{count} targets", core.times({"guard": fitted}, prompts))
        finally:
            core.close()
        return rows

    @cached_property
    def guard(self) -> System:
        """The guard."""
        return Guarded(self.detect)

    @cached_property
    def baselines(self) -> tuple[System, ...]:
        """What the guard is compared with."""
        epochs = self.size.epochs if self.epochs is None else self.epochs
        router = () if self._router is None else (Router(self._router, self.seed),)
        return (Keyword(), Cosine(), Classifier(epochs, self.seed), *router)

    @cached_property
    def _router(self) -> Path | None:
        try:
            return environment(make=self.make)
        except GuardError as error:
            self.say(f"WITHOUT semantic-router: {error}")
            return None

    @property
    def _no_router(self) -> Row:
        return Row(system="semantic-router", split="not run", metric="unavailable", value=1)

    def _many(self, count: int) -> Fitted:
        rows = read_json(self.data / "tofu" / "full.json")
        targets = latency.many_targets(rows, count)
        return self.workers.fit(self.guard, targets, self.folder / f"{count}-targets").result()

    def _tofu(self, level: str) -> Suite:
        return self._cut(tofu.load(self.data, level, self.seed))

    def _cut(self, suite: Suite) -> Suite:
        """A suite as far as this run's size goes."""
        folds = suite.folds[: self.size.folds]
        most = self.size.questions
        return replace(
            suite,
            folds=tuple(
                replace(
                    fold,
                    targets={
                        name: replace(target, retain=target.retain[: self.size.retain])
                        for name, target in fold.targets.items()
                    },
                    positives=fold.positives[:most],
                    negatives=fold.negatives[:most],
                )
                for fold in folds
            ),
            elsewhere={name: asked[:most] for name, asked in suite.elsewhere.items()},
            extra={name: asked[:most] for name, asked in suite.extra.items()},
        )

    def _fit(self, system: System, suite: Suite) -> list[Fitted]:
        key = system.name, suite.name
        if key not in self._fitted:
            self.say(f"fitting {system.name} to {suite.name}")
            stem = self.folder / f"{len(self._fitted)}"
            started = [
                self.workers.fit(system, fold.targets, Path(f"{stem}-{number}"))
                for number, fold in enumerate(suite.folds[: system.folds])
            ]
            self._fitted[key] = [future.result() for future in started]
        return self._fitted[key]

    def _measure(self, system: System, suite: Suite, *, evasions: int = 0) -> list[Row]:
        check(suite)
        fitted = self._fit(system, suite)
        with _progress() as progress:
            task = progress.add_task(f"{system.name}, {suite.name}", total=0)

            def ask(judge: Fitted, prompts: Sequence[Prompt]) -> list[Verdict]:
                progress.update(task, total=(progress.tasks[0].total or 0) + len(prompts))
                return self.workers.judge(
                    judge, prompts, lambda count: progress.advance(task, count)
                )

            measured = Measured(system.name, suite, fitted, ask, self.seed)
            rows = [*detection_rows(measured), *roc_rows(measured)]
            if system is self.guard:
                rows += stage_rows(measured, staged(fitted[0]), self.size.staged)
                rows.append(measured.row("evaluation questions", "dropped", suite.dropped))
            if evasions:
                rows += evasion_rows(measured, evasions, self.size.long)
        return rows


def _progress() -> Progress:
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        console=console, transient=True, disable=not console.is_terminal,
    )  # fmt: skip
