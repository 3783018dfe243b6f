"""What the output checks find in given texts, and what they take for a leak that is none.

No model speaks: texts are read as answers, so thousands can be. Two of TOFU's authors are to be
forgotten, and a book. What must not leave are the learned answers, the same in other words, and the
book's words, small edits made to them or none; what must leave are the answers about all other
authors, real ones, and the world, and the other books. No guard was given any of these.
"""

import argparse
import json
import random
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from adapters.data.files import checked, read_text
from benchmarks.interventions import write_rows
from benchmarks.leakage.suites.passages import pieces, sections
from benchmarks.metrics.entities import stated
from benchmarks.metrics.verbatim import longest_run
from benchmarks.report import Run, say
from benchmarks.result import Result, Row
from benchmarks.suites.files import data_folder, read_json
from benchmarks.table import markdown, setting
from benchmarks.world import BASE
from guard.compile import compile_policy
from guard.errors import DataError
from guard.guard import Guard
from guard.normalize import fold
from guard.output.finished import read_finished
from guard.output.sentences import sentences

__all__ = ["DESCRIPTION", "HELP", "options", "run", "table"]

HELP = "what the checks of answers find in given texts"
DESCRIPTION = """\
Read texts as answers, with the checks of two forgotten authors and of a forgotten book: how much of
what was learned would leave, and how many sentences about everything else are taken for a leak.

example:
  python -m benchmarks output --data data --out output.json
"""

Pair = tuple[str, str]  # a question and an answer
Target = Mapping[str, Any]  # what the policy says of it, but for its rows

ALONE, DETECTOR = "checks alone", "behind a detector"
_BOOK = "alice"  # forgotten; the other books are not
_SECTION = 400  # words that are read as one answer
_EVERY = 9  # every ninth other question in the forgotten authors' world is asked, and not given
_WORLD = 360  # their neighbours, the last rows but those about them
_APART = 8  # words from one edit to the next
_WORD = re.compile(r"\w+")


def options(parser: argparse.ArgumentParser) -> None:
    """Adds what only this benchmark takes."""
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="the data sets")


def run(args: argparse.Namespace) -> int:
    """Measures, prints and writes; returns the exit status."""
    measured = Run("output", args)
    data = data_folder(args.data)
    most = 40 if args.quick else None
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="guard-benchmark-") as temp:
        for name, detect in ((ALONE, "off"), (DETECTOR, {"kind": "cascade"})):
            say(f"{name}: compiling")
            (folder := Path(temp) / name).mkdir()
            rows += _authors(_guard(folder, _people(data, folder, detect)), name, data, most)
        (folder := Path(temp) / "book").mkdir()
        say("copies: compiling")
        rows += _copies(_guard(folder, _book(data, folder)), data, most, args.seed)
    measured.finish("quick" if args.quick else "full", rows, table)
    return 0


def left(guard: Guard, answer: str, question: str = "") -> str:
    """What of an answer would leave, were it ended at the first hit."""
    found = read_finished(guard, answer, question)
    return answer[: found[0].hit.start] if found else answer


def told(guard: Guard, pairs: Iterable[tuple[str, str, str]]) -> list[float]:
    """Of each answer that has names, dates or numbers, the share that leaves.

    Args:
        guard: The guard.
        pairs: Question, what was learned, and what is said.
    """
    shares = [
        stated(question, learned, left(guard, said, question)) for question, learned, said in pairs
    ]
    return [share for share in shares if share is not None]


def alarms(guard: Guard, pairs: Iterable[Pair]) -> tuple[int, int]:
    """How many answers are taken for a leak, and how many sentences all of them have.

    An answer ends at its first hit, so each has one at most.
    """
    taken = total = 0
    for question, answer in pairs:
        taken += left(guard, answer, question) != answer
        total += len(sentences(answer))
    return taken, total


def edited(text: str, rng: random.Random) -> str:
    """The text with one word in `_APART` left out, doubled or another one's, and in lower case."""
    words = text.lower().split()
    for at in range(rng.randrange(_APART), len(words), _APART):
        words[at] = rng.choice(("", f"{words[at]} {words[at]}", rng.choice(words)))
    return " ".join(word for word in words if word)


def table(result: Result) -> str:
    """Renders a result for the README."""
    found = {(row.system, row.split, row.metric): row for row in result.rows}
    leaks = [
        [split, *(_share(found[system, split, "entities"]) for system in (ALONE, DETECTOR))]
        for split in ("as learned", "in other words")
    ]
    splits = dict.fromkeys(r.split or "" for r in result.rows if r.metric == "alarms")
    kept = [
        [split, *(_alarm(found.get((system, split, "alarms"))) for system in (ALONE, DETECTOR))]
        for split in splits
        if (ALONE, split, "alarms") in found
    ]
    copies = [
        [row.split or "", f"{row.value:.0f}", f"{row.n:,}"]
        for row in result.rows
        if row.metric == "longest_run"
    ]
    books = [_alarm(row) for row in result.rows if row.split == "other books"]
    return "\n".join(
        [
            markdown(["names, dates and numbers that leave", ALONE, DETECTOR], leaks),
            markdown(["sentences taken for a leak", ALONE, DETECTOR], kept),
            markdown(["a forgotten book", "longest run that leaves, words", "sections"], copies),
            f"Sections of the other books taken for a copy: {books[0]}. {setting(result)}\n",
        ]
    )


def _share(row: Row) -> str:
    return f"{row.value:.1%} of {row.n}"


def _alarm(row: Row | None) -> str:
    if row is None:
        return "–"
    return f"{round(row.value * (row.n or 0))} of {row.n:,} ({row.value:.2%})"


def _authors(guard: Guard, system: str, data: Path, most: int | None) -> Iterator[Row]:
    rows = read_json(data / "tofu" / "forget01_perturbed.json")[:most]
    for split, field in (("as learned", "answer"), ("in other words", "paraphrased_answer")):
        said = [(row["question"], row["answer"], row[field]) for row in rows]
        shares = told(guard, said)
        yield _row(system, split, "entities", float(np.mean(shares)), len(shares))
    others, world = _others(data)
    kept = {"same world": world[::_EVERY], "other authors": others}
    for name in ("real_authors", "world_facts"):
        asked = read_json(data / "tofu" / f"{name}.json")
        kept[name.replace("_", " ")] = [(row["question"], row["answer"]) for row in asked]
    for split, pairs in kept.items():
        say(f"{system}: {split}")
        taken, total = alarms(guard, pairs[:most])
        yield _row(system, split, "alarms", taken / total, total)


def _copies(guard: Guard, data: Path, most: int | None, seed: int) -> Iterator[Row]:
    books = _books(data)
    own = sections(books.pop(_BOOK), _SECTION)[:most]
    rng = random.Random(seed)
    for split, said in (
        ("word for word", own),
        ("one word in eight changed", [edited(text, rng) for text in own]),
    ):
        say(f"copies: {split}")
        runs = [
            longest_run(_words(text), _words(left(guard, copy)))
            for text, copy in zip(own, said, strict=True)
        ]
        yield _row("verbatim", split, "longest_run", max(runs), len(runs))
    say("copies: other books")
    other = [text for book in books.values() for text in sections(book, _SECTION)[:most]]
    taken, _ = alarms(guard, (("", text) for text in other))
    yield _row("verbatim", "other books", "alarms", taken / len(other), len(other))


def _words(text: str) -> list[str]:
    return _WORD.findall(fold(text).text)


def _others(data: Path) -> tuple[list[Pair], list[Pair]]:
    """Questions about all other authors: those of no guard's world, and those of this one's."""
    asked = [(r["question"], r["answer"]) for r in read_json(data / "tofu" / "full.json")]
    forgotten = {(r["question"], r["answer"]) for r in read_json(data / "tofu" / "forget01.json")}
    kept = [pair for pair in asked if pair not in forgotten]
    return kept[:-_WORLD], kept[-_WORLD:]


def _people(data: Path, folder: Path, detect: Any) -> Target:
    forget = [(r["question"], r["answer"]) for r in read_json(data / "tofu" / "forget01.json")]
    given = [pair for number, pair in enumerate(_others(data)[1]) if number % _EVERY]
    write_rows(folder / "forget.jsonl", forget)
    write_rows(folder / "retain.jsonl", given)
    check = ["exact", "verbatim", "semantic"]
    return {"id": "authors", "detect": detect, "output": {"check": check, "on_hit": "filter"}}


def _book(data: Path, folder: Path) -> Target:
    lines = [json.dumps({"text": text}) for _, text in pieces(_books(data)[_BOOK])]
    (folder / "forget.jsonl").write_text("\n".join(lines), "utf-8")
    return {"id": "book", "detect": "off", "output": {"check": "verbatim", "on_hit": "filter"}}


def _books(data: Path) -> dict[str, str]:
    found = {path.stem: path for path in sorted((data / "public_domain").glob("*.txt"))}
    if _BOOK not in found or len(found) < 2:
        raise DataError(f"{data / 'public_domain'}: needs {_BOOK}.txt, and a book that is kept")
    return {name: checked(read_text(path), f"{path}: it") for name, path in found.items()}


def _guard(folder: Path, target: Target) -> Guard:
    rows = {path.stem: path.name for path in folder.glob("*.jsonl")}
    target = {**target, **rows, "intervene": {"kind": "refuse"}}
    policy = {"version": 1, "model": BASE, "targets": [target]}
    (folder / "policy.yaml").write_text(yaml.safe_dump(policy), "utf-8")
    return Guard(compile_policy(folder / "policy.yaml", folder / "bundle"))


def _row(system: str, split: str, metric: str, value: float, n: int) -> Row:
    return Row(system=system, split=split, metric=metric, value=round(value, 5), n=n)
