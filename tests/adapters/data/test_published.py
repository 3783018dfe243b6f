"""Published sets: TOFU, LUME, MUSE and RWKU, from a folder as they publish it or from the hub."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from adapters.data import LAYOUTS, matching, read
from adapters.data.row import TrainingRow
from guard.data import Row
from guard.errors import DataError
from tests.adapters.data.files import SECRET, qa, write
from tests.published import published


@pytest.mark.parametrize("kind", ["tofu", "lume", "muse", "rwku"])
def test_a_set_without_a_part_or_a_folder_says_what_to_give(kind: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"^{kind}: give a part: {kind}:PLACE#"):
        read(f"{kind}:{tmp_path}")
    part = (LAYOUTS.get(kind).parts or "").partition("[")[0]
    with pytest.raises(DataError, match=f"^{kind}: .*gone: no such folder"):
        read(f"{kind}:{tmp_path / 'gone'}#{part}")


# TOFU.


def test_tofu_reads_lines_and_arrays_and_knows_what_is_retained(tmp_path: Path) -> None:
    write(tmp_path / "forget01.json", json.dumps(qa(1)) + "\n" + json.dumps(qa(2)))
    write(tmp_path / "retain99.json", [{**qa(3), "option1": "no"}])
    source = f"tofu:{tmp_path}#forget01"
    assert read(source) == [Row("Q1?", "A1."), Row("Q2?", "A2.")]
    assert matching(source) == f"tofu:{tmp_path}#retain99"
    assert read(matching(source) or "") == [Row("Q3?", "A3.")]
    assert matching(f"tofu:{tmp_path}#forget10") == f"tofu:{tmp_path}#retain90"
    assert matching(f"tofu:{tmp_path}#retain99") is None and matching("forget.jsonl") is None


def test_a_part_that_tofu_has_not_and_a_file_that_is_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no part 'forget1'.*did you mean 'forget10'"):
        read(f"tofu:{tmp_path}#forget1")
    with pytest.raises(DataError, match=r"forget01\.json: no such file"):
        read(f"tofu:{tmp_path}#forget01")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('[{"question": "Zweig?"}]', "entry 1: has no field 'answer'"),
        ('[{"question": "Zweig?", "answer": "A"}, 3]', "entry 2: neither a JSON object nor a text"),
        ('[{"question": "Zweig', "not a JSON array, though it begins as one"),
        ("[]", "holds no rows"),
        ("", "holds no rows"),
        ('{"question": "Q?", "answer": "Zweig"}\nZweig', "forget01.json:2: not a JSON object"),
    ],
)
def test_a_bad_entry_is_named_by_number(content: str, said: str, tmp_path: Path) -> None:
    write(tmp_path / "forget01.json", content)
    with pytest.raises(DataError) as caught:
        read(f"tofu:{tmp_path}#forget01")
    assert said in str(caught.value) and SECRET not in str(caught.value)


# LUME.


def test_lume_reads_a_document_as_one_passage_and_its_questions_as_such(tmp_path: Path) -> None:
    records = [
        {"id": '"8f24"sc1', "input": "It was", "output": "dark.", "task": "Task1"},
        {"id": '"8f24"qa0', "input": "How was it?", "output": "Dark", "task": "Task1"},
        {"id": "77qa0", "input": "Who?", "output": "She", "task": "Task2"},
    ]
    write(tmp_path / "forget.jsonl", records)
    passage, first, second = Row("It was dark."), Row("How was it?", "Dark"), Row("Who?", "She")
    source = f"lume:{tmp_path}#forget"
    assert read(source) == [passage, first, second]
    assert read(f"{source}/qa") == [first, second]
    assert read(f"{source}/task1") == [passage, first]
    assert read(f"{source}/task2/qa") == [second]
    assert matching(f"{source}/task2/qa") == f"lume:{tmp_path}#retain/task2/qa"
    with pytest.raises(DataError, match="forget/task3 holds no rows"):
        read(f"{source}/task3")
    with pytest.raises(DataError, match="did you mean 'task1'"):
        read(f"{source}/tsk1")
    with pytest.raises(DataError, match="lume: give a folder"):
        read("lume:#forget")


# MUSE, as its own script writes it.


@pytest.fixture
def muse(tmp_path: Path) -> Path:
    news = tmp_path / "muse" / "news"
    write(news / "raw" / "forget.json", ["One. Two.", "Three."])
    write(news / "raw" / "retain1.txt", "Kept one.\n\nKept two.")
    write(news / "knowmem" / "forget_qa.json", [qa(1)])
    write(news / "verbmem" / "forget.json", [{"prompt": "It goes", "gt": "on so."}])
    write(news / "privleak" / "holdout.json", ["Unseen."])
    write(news / "scal" / "forget_2.json", ["More."])
    return tmp_path / "muse"


@pytest.mark.parametrize(
    ("part", "rows"),
    [
        ("news/forget", [Row("One. Two."), Row("Three.")]),
        ("news/raw/retain1", [Row("Kept one.\n\nKept two.")]),
        ("news/knowmem/forget_qa", [Row("Q1?", "A1.")]),
        ("news/verbmem/forget", [Row("It goes on so.")]),
        ("news/privleak/holdout", [Row("Unseen.")]),
        ("news/scal/forget_2", [Row("More.")]),
    ],
)
def test_muse_reads_each_of_its_subsets(part: str, rows: list[Row], muse: Path) -> None:
    assert read(f"muse:{muse}#{part}") == rows


def test_muse_retains_what_it_has_for_training(muse: Path) -> None:
    assert matching(f"muse:{muse}#news/forget") == f"muse:{muse}#news/raw/retain1"
    assert matching(f"muse:{muse}#news/sust/forget_2") == f"muse:{muse}#news/raw/retain1"
    assert matching(f"muse:{muse}#news/knowmem/forget_qa") is None


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ("new/forget", "did you mean 'news/forget'"),
        ("news/raw/retian1", "did you mean 'news/raw/retain1'"),
        ("news/forget_1", "no part 'news/forget_1'"),
        ("books/scal/forget_1", "the novels have no 'scal'"),
        ("news/retain2", r"retain2\.json: no such file"),
    ],
)
def test_a_part_that_muse_has_not_is_named(part: str, said: str, muse: Path) -> None:
    with pytest.raises(DataError, match=said):
        read(f"muse:{muse}#{part}")


# RWKU, as its own script writes it.

TARGET = "1_Odalys_Brennick"
RWKU: dict[str, tuple[list[dict[str, Any]], list[Row]]] = {
    "passage": ([{"text": "She lives."}], [Row("She lives.")]),
    "positive": ([{"text": "She is."}], [Row("She is.")]),
    "pair": (
        [{"prompt": "Write.", "response": ["Made up.", "True."]}],
        [TrainingRow("Write.", "True.", alternative="Made up.")],
    ),
    "reject": (
        [{"instruction": "Who?", "input": "", "output": "I do not know."}],
        [Row("Who?", "I do not know.")],
    ),
    "forget_level1": ([{"query": "She is ___.", "answer": "a glazier"}],
                      [Row("She is ___.", "a glazier")]),
    "neighbor_level2": ([{"query": "Who taught her?", "answer": "Ketil"}],
                        [Row("Who taught her?", "Ketil")]),
    "intro": ([{"target": "Odalys Brennick", "intro": "A glazier."}],
              [Row("Odalys Brennick", is_name=True)]),
}  # fmt: skip


@pytest.mark.parametrize("file", RWKU)
def test_rwku_reads_a_target_from_its_folder_or_out_of_all(file: str, tmp_path: Path) -> None:
    records, rows = RWKU[file]
    own, all_of_them = tmp_path / "own", tmp_path / "all"
    write(own / "Target" / TARGET / f"{file}.json", records)
    other = {"target": "Selma Tuvick"} if file == "intro" else {"subject": "Selma Tuvick"}
    named = [{"subject": "Odalys Brennick", **record} for record in records]
    write(all_of_them / "All" / f"{file}.json", [{**named[0], **other}, *named])
    for target in (TARGET, "Odalys Brennick"):
        assert read(f"rwku:{own}#{target}/{file}") == rows
    assert read(f"rwku:{all_of_them}#Odalys Brennick/{file}") == rows
    assert matching(f"rwku:{own}#{TARGET}/{file}") is None


def test_rwku_says_what_it_has_not(tmp_path: Path) -> None:
    write(tmp_path / "Target" / TARGET / "passage.json", [{"text": "She lives."}])
    assert read(f"rwku:{tmp_path}#{TARGET}") == [Row("She lives.")]
    with pytest.raises(DataError, match="no target 'Selma'"):
        read(f"rwku:{tmp_path}#Selma")
    with pytest.raises(DataError, match="did you mean 'passage'"):
        read(f"rwku:{tmp_path}#{TARGET}/pasage")
    write(tmp_path / "Target" / TARGET / "pair.json", [{"prompt": "W", "response": ["Zweig"]}])
    with pytest.raises(DataError, match="entry 1: field 'response' must be") as caught:
        read(f"rwku:{tmp_path}#{TARGET}/pair")
    assert SECRET not in str(caught.value)


# The hub.


def test_without_a_place_the_published_set_is_taken_from_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def download(repository: str, name: str, repo_type: str) -> str:
        asked.append((repository, name, repo_type))
        content = [qa(1)] if "TOFU" in repository else [{"text": "She lives."}]
        return str(write(tmp_path / Path(name).name, content))

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    assert read("tofu:#forget01") == read("tofu:hf://me/TOFU-copy#forget01") == [Row("Q1?", "A1.")]
    assert read("rwku:#1_Stephen_King") == [Row("She lives.")]
    assert asked == [
        ("locuslab/TOFU", "forget01.json", "dataset"),
        ("me/TOFU-copy", "forget01.json", "dataset"),
        ("jinzhuoran/RWKU", "Target/1_Stephen_King/passage.json", "dataset"),
    ]
    assert matching("tofu:#forget01") == "tofu:#retain99"


def test_muse_comes_from_the_hub_by_way_of_datasets(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(repository: str, config: str, split: str) -> list[dict[str, str]]:
        return [{"text": f"{repository} {config} {split}"}]

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load))
    assert read("muse:#books/forget") == [Row("muse-bench/MUSE-Books raw forget")]
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DataError, match="pip install datasets, or give a folder"):
        read("muse:#news/forget")


def test_a_hub_that_cannot_be_asked_is_one_clear_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    for source in ("tofu:#forget01", "tofu:hf://no-such-owner/at-all#forget01", "tofu:hf://!#full"):
        with pytest.raises(DataError, match=r"cannot be had from the hub .*check the name and the"):
            read(source)


def test_a_network_that_fails_is_that_message_and_a_mistake_of_ours_is_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import httpx

    def fail(*args: Any, **fields: Any) -> str:
        raise errors.pop()

    errors: list[Exception] = [RuntimeError("a mistake"), httpx.ConnectError("no route")]
    monkeypatch.setattr("huggingface_hub.hf_hub_download", fail)
    with pytest.raises(DataError, match=r"forget01\.json cannot be had from the hub \(ConnectErr"):
        read("tofu:#forget01")
    with pytest.raises(RuntimeError, match="a mistake"):
        read("tofu:#forget01")


# The real sets.


def test_the_real_sets_are_read_whole() -> None:
    data = published("tofu", "lume", "public_domain")
    counts = {"forget01": 40, "retain99": 3960, "holdout01": 20, "world_facts": 117}
    for part, count in counts.items():
        assert len(read(f"tofu:{data / 'tofu'}#{part}")) >= count
    full = set(read(f"tofu:{data / 'tofu'}#full"))
    forget, retain = (set(read(f"tofu:{data / 'tofu'}#{p}")) for p in ("forget05", "retain95"))
    assert forget | retain == full and not forget & retain
    assert len(read(f"lume:{data / 'lume'}#forget/qa")) == 243 + 373 + 1250
    pieces = read(f"passages:{data / 'public_domain' / 'alice.txt'}")
    assert len(pieces) > 50 and all(len(row.prompt.encode()) < 4 * 512 + 8 for row in pieces)
