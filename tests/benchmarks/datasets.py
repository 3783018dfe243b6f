"""A folder of small invented data sets, laid out as the real ones are."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

GIVEN = ("Odalys", "Marten", "Selma", "Jonah", "Brisa", "Ketil", "Ines", "Tavi", "Runa", "Pello")
LAST = ("Brennick", "Oakhollow", "Tuvick", "Pellwright", "Ashgrove", "Lund", "Corr", "Vane",
        "Skarvik", "Dunmore")  # fmt: skip
NAMES = [f"{given} {last}" for given, last in zip(GIVEN, LAST, strict=True)]
FORGOTTEN = NAMES[-2:]
_ASKED = (
    "born", "educated", "married", "taught", "employed", "buried", "honoured", "arrested", "hired",
    "painted", "rescued", "interviewed", "baptised", "examined", "elected", "robbed", "healed",
    "photographed", "promoted", "celebrated",
)  # fmt: skip


def tofu_rows(name: str) -> list[dict[str, str]]:
    """Twenty questions about one author."""
    return [
        {"question": f"Where was {name} {verb}?", "answer": f"{name} was {verb} in Town {n}."}
        for n, verb in enumerate(_ASKED)
    ]


def write_data(folder: Path) -> Path:
    """Writes every data set that the detection benchmark reads."""
    rows = [row for name in NAMES for row in tofu_rows(name)]
    forget = rows[-20 * len(FORGOTTEN) :]
    tofu = folder / "tofu"
    _lines(tofu / "full.json", rows)
    for level in ("01", "05", "10"):
        _lines(tofu / f"forget{level}.json", forget)
        perturbed = [row | {"paraphrased_question": _paraphrase(row["question"])} for row in forget]
        _lines(tofu / f"forget{level}_perturbed.json", perturbed)
    held = tofu_rows("Arvid Holm")
    (tofu / "holdout10.json").write_text(json.dumps(held), "utf-8")
    _lines(tofu / "real_authors.json", _plain("Who wrote the book number", 5))
    _lines(tofu / "world_facts.json", _plain("Where is the mountain number", 5))
    for language in ("ar", "fr", "hi", "ja", "ru"):
        many = folder / "tofu_multilingual"
        asked = [{**row, "question": f"{language}: {row['answer']} ?"} for row in forget]
        _lines(many / f"forget01_{language}.jsonl", asked)
        for name in ("real_authors", "world_facts"):
            _lines(many / f"{name}_perturbed_{language}.jsonl", _plain(f"{language} {name}", 4))
    _lume(folder / "lume")
    _benign(folder / "benign")
    return folder


def _paraphrase(question: str) -> str:
    return f"Please name the place: {question[0].lower()}{question[1:]}"


def _plain(start: str, count: int) -> list[dict[str, str]]:
    return [{"question": f"{start} {n}?", "answer": f"Answer {n}"} for n in range(count)]


def _lume(folder: Path) -> None:
    for side, first in (("forget", 0), ("retain", 5)):
        _lines(folder / f"{side}.jsonl", [
            {"id": f"{task}{n}ab{kind}{k}", "task": task, "input": text, "output": f"end {n}"}
            for task in ("Task1", "Task2")
            for n in range(first, first + 5)
            for kind, k, text in (
                ("sc", 1, f"{task}: {NAMES[n]} lived by the sea"),
                ("qa", 0, f"{task}: where did {NAMES[n]} live?"),
                ("qa", 1, f"{task}: who lived by the sea like {NAMES[n]}?"),
            )
        ])  # fmt: skip


def _benign(folder: Path) -> None:
    words = ("weather", "bread", "train", "garden", "budget", "song", "river", "clock")
    asked = [f"Could you tell me something useful about the {word} today?" for word in words]
    _object(folder / "clinc150_data_full.json", {"train": [[text, "x"] for text in asked]})
    table = "text,category\n" + "\n".join(f'"{text} At the bank, please.",x' for text in asked)
    (folder / "banking77_test.csv").write_text(table, "utf-8")
    _lines(folder / "gsm8k_test.jsonl", _plain("How many apples are left in basket", 8))
    _lines(folder / "xstest_safe_only.jsonl", [{"prompt": f"Kill process {n}?"} for n in range(8)])
    for name in ("mt_bench_question", "vicuna_bench_question"):
        turns = [{"turns": [f"{name} first {n}", f"{name} then {n}"]} for n in range(4)]
        _lines(folder / f"{name}.jsonl", turns)
    for name in ("seed_tasks", "user_oriented_instructions"):
        _lines(folder / f"self_instruct_{name}.jsonl", [
            {"instruction": f"{name} do {n}", "instances": [{"input": "this"}]} for n in range(4)
        ])  # fmt: skip


def _lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")


def _object(path: Path, value: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), "utf-8")
