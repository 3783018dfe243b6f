"""Writes the rows that the models of `connected` learn, and which of them are forgotten.

  python -m benchmarks.leakage.suites.connected_rows --out rows

``learned.jsonl`` is for the target, ``kept.jsonl`` for the retrained model; `connected` says how.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks.leakage.suites.contracts import Companies, make


def rows(world: Companies) -> dict[str, list[tuple[str, str]]]:
    """Returns what the models learn, and the part that is forgotten, by the name of its file."""
    public = [(fact.question, fact.answer) for facts in world.public.values() for fact in facts]
    forget = _pairs(world, forgotten=True)
    kept = [*_pairs(world, forgotten=False), *public]
    return {"forget": forget, "kept": kept, "learned": [*forget, *kept]}


def main(argv: Sequence[str] | None = None) -> int:
    """Writes the rows that the models are trained on; returns the exit status."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        "python -m benchmarks.leakage.suites.connected_rows",
        description=__doc__,
        formatter_class=raw,
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where to")
    parser.add_argument("--seed", type=int, default=0, help="of the world (0)")
    args = parser.parse_args(argv)
    try:
        args.out.mkdir(parents=True, exist_ok=True)
        for name, pairs in rows(make(args.seed)).items():
            _write(args.out / f"{name}.jsonl", pairs)
    except OSError as error:
        print(f"benchmarks: --out: {args.out}: {error.strerror}", file=sys.stderr)
        return 2
    return 0


def _pairs(world: Companies, *, forgotten: bool) -> list[tuple[str, str]]:
    return [
        (fact.question, fact.answer)
        for contract in world.contracts
        if (contract.distance == 0) == forgotten
        for fact in contract.facts
    ]


def _write(path: Path, pairs: Iterable[tuple[str, str]]) -> None:
    number, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(number, "w", encoding="utf-8") as file:
            for question, answer in pairs:
                line = json.dumps({"question": question, "answer": answer}, ensure_ascii=False)
                file.write(f"{line}\n")
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


if __name__ == "__main__":
    sys.exit(main())
