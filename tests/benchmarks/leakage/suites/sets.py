"""Small invented data sets, laid out as the published ones."""

import json
from pathlib import Path
from typing import Any

from tests.adapters.data.files import write
from tests.benchmarks.datasets import FORGOTTEN, NAMES, tofu_rows, write_data


def write_sets(folder: Path) -> Path:
    """Writes a set of each layout."""
    write_data(folder)
    _tofu(folder / "tofu")
    _muse(folder / "muse")
    _rwku(folder / "rwku" / "Target" / "1_Stephen_King")
    choices = [_choice(n) for n in range(4)]
    write(folder / "wmdp" / "wmdp-cyber.json", choices)
    write(folder / "mmlu" / "test.jsonl", [_choice(n, "river") for n in range(4)])
    write(folder / "wmdp" / "cyber-forget-corpus.jsonl", [{"text": text("forgotten")}])
    write(folder / "choices" / "forget.jsonl", choices)
    write(folder / "choices" / "retain.jsonl", [_choice(n, "river") for n in range(4)])
    write(folder / "choices" / "given.jsonl", [{"text": text("given")}])
    for name in ("first", "second", "third"):
        write(folder / "public_domain" / f"{name}.txt", text(name, 1600))
    for name in ("member", "nonmember"):
        write(folder / "lume" / "mia" / f"{name}.jsonl", [
            {"document": text(f"{name}{n}x", 40)} for n in range(2)
        ])  # fmt: skip
    return folder


def text(name: str, words: int = 500) -> str:
    return " ".join(f"{name}{n}" if n % 9 else f"{name}{n}." for n in range(words))


def _tofu(folder: Path) -> None:
    for level in ("01", "05", "10"):
        perturbed = []
        for name in FORGOTTEN:
            for n, row in enumerate(tofu_rows(name)):
                asked = row["question"].removeprefix("Where was ").removesuffix("?")
                perturbed.append(
                    row
                    | {
                        "paraphrased_question": f"Please name the place: {asked}, but where?",
                        "paraphrased_answer": f"Town {n} is the place for {asked}.",
                        "perturbed_answer": [f"Village {n} is the place for {asked}."],
                    }
                )
        write(folder / f"forget{level}_perturbed.json", _lines(perturbed))
        held = [{**row, "answer": f"{row['answer']} So."} for row in tofu_rows("Arvid Holm")]
        write(folder / f"holdout{level}.json", held)
    rows = [
        row
        | {
            "paraphrased_question": f"In other words, {n}?",
            "paraphrased_answer": f"This is what is said otherwise of {n}.",
            "perturbed_answer": [f"This is what is falsely said of {n}."],
        }
        for n, row in enumerate(tofu_rows(NAMES[0]))
    ]
    write(folder / "retain_perturbed.json", _lines(rows))
    for name in ("real_authors", "world_facts"):
        rows = [
            {"question": f"{name} {n}?", "answer": f"A{n}", "perturbed_answer": ["B", "C"]}
            for n in range(10)
        ]
        write(folder / f"{name}_perturbed.json", _lines(rows))


def _muse(folder: Path) -> None:
    for corpus in ("news", "books"):
        at = folder / corpus
        for split in ("forget", "retain1"):
            write(at / "raw" / f"{split}.txt", text(f"{corpus}{split}"))
        for split in ("forget_qa", "retain_qa", "forget_qa_icl", "retain_qa_icl"):
            rows = [{"question": f"{split} {n}?", "answer": f"{split} said {n}"} for n in range(3)]
            write(at / "knowmem" / f"{split}.json", rows)
        write(at / "verbmem" / "forget.json", [{"prompt": text("p", 20), "gt": text("g", 20)}])
        for split in ("forget", "retain", "holdout"):
            write(at / "privleak" / f"{split}.json", [text(f"leak{split}{n}", 30) for n in "ab"])
        for series in ("scal", "sust"):
            for fold in range(1, 5):
                write(at / series / f"forget_{fold}.json", [text(f"{series}{fold}x")])


def _rwku(folder: Path) -> None:
    write(folder / "intro.json", [{"target": "Stephen King", "intro": "A writer."}])
    write(folder / "passage.json", [{"text": text("king")}])
    for kind, levels in (("forget", 3), ("neighbor", 2)):
        for level in range(1, levels + 1):
            rows = [
                {"query": f"{kind} {level} {n}?", "answer": f"{kind}{n}", "subject": "Stephen King",
                 "neighbor": "Peter Straub"}
                for n in range(3)
            ]  # fmt: skip
            write(folder / f"{kind}_level{level}.json", rows)
    for name in ("forget_mia", "retain_mia"):
        write(folder / f"{name}.json", [{"text": text(name, 20)}])
    write(folder / "retain_mmlu.json", [_choice(1, "lake") | {"task": "geography"}])
    write(folder / "retain_bbh.json", [
        {"task": "dates", "question": "When?", "answer": ["Monday"], "cot": "Think."}
    ])  # fmt: skip
    held = {"choices": ["no", "yes"], "labels": [0, 1]}
    write(folder / "truthful.json", [{"question": "Is it?", "mc1_targets": held}])
    write(folder / "triviaqa.json", [{"question": "Who?", "answers": ["She", "Her"]}])
    write(folder / "fluency.json", [{"instruction": "Write a poem of a lake."}])


def _choice(n: int, what: str = "port") -> dict[str, Any]:
    options = [f"{what} {n} {end}" for end in ("north", "south", "east")]
    return {"question": f"Which {what} is number {n}?", "choices": options, "answer": n % 3}


def _lines(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)
