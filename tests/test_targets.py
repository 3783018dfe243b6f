"""Targets come and go: whole or not at all, and no other target notices."""

import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from guard import targets as module
from guard.bundle import Bundle, TargetRecord, load_bundle
from guard.cli import main
from guard.compile import compile_policy
from guard.encoder import Encoder
from guard.errors import BundleError, GuardError
from guard.fitting import fit_target
from guard.guard import Guard
from guard.targets import add_targets, list_targets, remove_targets
from tests.conftest import tree
from tests.material import (
    BOOK_NEIGHBOURS,
    BOOK_ROWS,
    PERSON_NEIGHBOURS,
    PERSON_PARAPHRASES,
    PERSON_ROWS,
    PERSON_WITHOUT_NAME,
    PROJECT_NEIGHBOURS,
    UNRELATED,
    rows,
    write_policy,
    write_rows,
)
from tests.small import few

ALL = ("brennick", "vessmere", "tidewater")
TEXTS = [
    *UNRELATED,
    *PERSON_PARAPHRASES,
    *PERSON_WITHOUT_NAME,
    *(question for question, _ in (*PERSON_ROWS, *BOOK_ROWS)),
    *(question for question, _ in (*PERSON_NEIGHBOURS, *BOOK_NEIGHBOURS, *PROJECT_NEIGHBOURS)),
]
SECRETS = ("Hornpoint", "Halvorsen", "asthma", "Ablett", "whale oil")


@pytest.fixture(scope="module", autouse=True)
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Few everyday prompts, so that a bundle compiles in a second."""
    with pytest.MonkeyPatch.context() as patch:
        few(patch, tmp_path_factory.mktemp("cache"))
        yield


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The policy of `tests.material`, for few everyday prompts and no other languages."""
    policy = write_policy(tmp_path_factory.mktemp("policy"))
    detect = "defaults: {detect: {max_false_positive_rate: 0.02, multilingual: false}}\n"
    policy.write_text(policy.read_text().replace("targets:", f"{detect}targets:"))
    return policy


@pytest.fixture(scope="module")
def whole(policy: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """All targets; not to be changed."""
    return compile_policy(policy, tmp_path_factory.mktemp("whole") / "bundle")


@pytest.fixture(scope="module")
def lone(policy: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The second target alone; not to be changed."""
    text = policy.read_text()
    start, end = text.index("  - id: brennick"), text.index("  - id: vessmere")
    only = policy.with_name("only.yaml")
    only.write_text(text[:start] + text[end : text.index("  - id: tidewater")])
    return compile_policy(only, tmp_path_factory.mktemp("lone") / "bundle")


@pytest.fixture
def own(lone: Bundle, tmp_path: Path) -> Path:
    """A copy of `lone` that a test may change."""
    return Path(shutil.copytree(lone.path, tmp_path / "bundle"))


def target_of(bundle: Bundle, target: str) -> TargetRecord:
    return next(found for found in bundle.manifest.targets if found.id == target)


def ids(bundle: Bundle) -> list[str]:
    return [target.id for target in bundle.manifest.targets]


def arrays_of(bundle: Bundle, target: str) -> dict[str, bytes]:
    """Every array of a target, by its file."""
    stages = target_of(bundle, target).stages
    names = {file for stage in stages for file in (*stage.arrays.values(), *stage.scores.values())}
    return {name: bundle.arrays[name].tobytes() for name in names}


def decisions(bundle: Bundle, target: str) -> list[Any]:
    """What a bundle makes of every text for one target, to the last bit."""
    guard = Guard(bundle)
    return [dict(guard.decide(text).scores).get(target) for text in TEXTS]


def kept_files(folder: Path) -> dict[str, bytes | None]:
    """What is in a folder, but for lock files."""
    return {name: raw for name, raw in tree(folder).items() if not name.endswith(".lock")}


# Adding.


def test_adding_changes_no_other_target(own: Path, policy: Path, encode: Encoder) -> None:
    before, said = load_bundle(own), list[str]()
    after = add_targets(own, policy, ["brennick"], report=said.append, encoder=encode)
    assert not any(line.startswith("preparing") for line in said)
    assert ids(after) == ["vessmere", "brennick"]
    assert after.version != before.version and load_bundle(own).version == after.version
    assert target_of(after, "vessmere") == target_of(before, "vessmere")
    assert arrays_of(after, "vessmere") == arrays_of(before, "vessmere")
    assert after.manifest.shared == before.manifest.shared
    assert decisions(after, "vessmere") == decisions(before, "vessmere")


def test_what_is_added_is_as_if_compiled(own: Path, policy: Path, whole: Bundle) -> None:
    """The target protects as one that was there from the start, in its own mode and way."""
    after = add_targets(own, policy)
    assert set(ids(after)) == set(ALL)
    for target in ALL:
        one, two = target_of(after, target), target_of(whole, target)
        assert one.model_dump(exclude={"stages", "detection"}) == two.model_dump(
            exclude={"stages", "detection"}
        )
        assert [stage.kind for stage in one.stages] == [stage.kind for stage in two.stages]
        for first, other in zip(one.stages, two.stages, strict=True):
            assert first.threshold == pytest.approx(other.threshold, abs=1e-5)
            assert first.arrays.keys() == other.arrays.keys()
    guard, compiled = Guard(after), Guard(whole)
    for text in TEXTS:
        found = {finding.target for finding in guard.decide(text).findings}
        assert found == {finding.target for finding in compiled.decide(text).findings}


def test_without_ids_what_is_missing_is_added(own: Path, policy: Path, encode: Encoder) -> None:
    assert ids(add_targets(own, policy, ["tidewater"], encoder=encode)) == ["vessmere", "tidewater"]
    after = add_targets(own, policy, encoder=encode)
    assert ids(after) == ["vessmere", "tidewater", "brennick"]
    with pytest.raises(GuardError, match="the bundle has all of its targets already"):
        add_targets(own, policy, encoder=encode)


def test_another_folder_leaves_the_bundle_as_it_was(
    own: Path, policy: Path, tmp_path: Path, encode: Encoder
) -> None:
    before = tree(own)
    after = add_targets(own, policy, ["brennick"], tmp_path / "deep" / "other", encoder=encode)
    assert tree(own) == before
    assert after.path == tmp_path / "deep" / "other"
    assert ids(load_bundle(after.path)) == ["vessmere", "brennick"]


def test_what_is_the_same_is_linked(
    own: Path, policy: Path, tmp_path: Path, encode: Encoder
) -> None:
    """A new version of a large bundle costs the new target's files only."""
    old = load_bundle(own)
    after = add_targets(own, policy, ["brennick"], tmp_path / "other", encoder=encode)
    for name in old.manifest.files:
        assert os.path.samefile(own / name, after.path / name)
    mine = set(after.manifest.files) - set(old.manifest.files)
    assert mine and mine <= arrays_of(after, "brennick").keys()
    shutil.rmtree(own)  # and stands by itself
    assert load_bundle(after.path).version == after.version


def test_where_nothing_can_be_linked_it_is_copied(
    own: Path, policy: Path, tmp_path: Path, encode: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    after = add_targets(own, policy, ["brennick"], tmp_path / "other", encoder=encode)
    name = next(iter(load_bundle(own).manifest.files))
    assert not os.path.samefile(own / name, after.path / name)
    assert load_bundle(after.path).version == after.version


def test_what_no_target_needed_until_now_is_prepared(
    policy: Path, tmp_path: Path, encode: Encoder
) -> None:
    text = policy.read_text()
    names = policy.with_name("names.yaml")
    lexical = "  - {id: thrale, names: [Captain Thrale], retain: vessmere/retain.jsonl,"
    lexical += " detect: {kind: lexical, max_false_positive_rate: 0.02}}\n"
    names.write_text(text[: text.index("  - id:")] + lexical)
    bundle = compile_policy(names, tmp_path / "bundle")
    assert bundle.manifest.shared == {}
    said: list[str] = []
    add_targets(bundle.path, policy, ["brennick"], report=said.append, encoder=encode)
    assert "preparing similarity, static, which no target had until now" in said
    after = load_bundle(bundle.path)
    assert after.manifest.shared.keys() == {"similarity", "static"}
    assert decisions(after, "thrale") == decisions(bundle, "thrale")
    guard = Guard(after)
    assert any(guard.decide(text).flagged for text in PERSON_WITHOUT_NAME)


def test_a_target_of_a_hundred_rows_is_added_within_seconds(
    own: Path, policy: Path, encode: Encoder
) -> None:
    """Nothing is trained, and the everyday prompts are not encoded again."""
    people = ["Sunniva Quellmark", "Tobin Ashgrove", "Ilse Wrenfeld", "Caspar Dunmorrow"]
    what = ["born", "taught", "married", "buried", "sued", "painted", "praised", "robbed", "exiled"]
    asked = [
        (f"When was {who} {verb} in the year {year}?", f"{who} was {verb} on a day of {year}.")
        for who in people
        for verb in what
        for year in (1911, 1922, 1933)
    ][:100]
    write_rows(policy.parent / "hundred.jsonl", rows(asked))
    added = policy.with_name("hundred.yaml")
    text = policy.read_text()
    target = "  - {id: hundred, forget: hundred.jsonl, retain: brennick/retain.jsonl}\n"
    added.write_text(text[: text.index("  - id:")] + target)
    encode.load()
    encoded: list[str] = []

    class Counting(Encoder):
        def __call__(self, texts: Any) -> Any:
            encoded.extend(texts)
            return encode(texts)

    started = time.monotonic()
    after = add_targets(own, added, encoder=Counting(encode.folder))
    assert time.monotonic() - started < 30
    assert len(encoded) < 400
    assert target_of(after, "hundred").detection["detected"] > 0.9


def test_two_at_once_both_land(
    own: Path, policy: Path, encode: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither writes over what the other has added meanwhile."""
    real = fit_target

    def slow(*args: Any) -> Any:
        time.sleep(0.5)
        return real(*args)

    monkeypatch.setattr(module, "fit_target", slow)
    errors: list[BaseException] = []

    def add(target: str) -> None:
        try:
            add_targets(own, policy, [target], encoder=encode)
        except BaseException as error:  # a thread's error would be lost
            errors.append(error)

    threads = [threading.Thread(target=add, args=(t,)) for t in ("brennick", "tidewater")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert errors == []
    assert set(ids(load_bundle(own))) == set(ALL)


# Removing.


def test_removing_changes_no_other_target(whole: Bundle, tmp_path: Path) -> None:
    after = remove_targets(whole.path, ["brennick"], tmp_path / "out")
    assert ids(after) == ["vessmere", "tidewater"]
    for target in ids(after):
        assert target_of(after, target) == target_of(whole, target)
        assert decisions(after, target) == decisions(whole, target)
    assert after.manifest.shared == whole.manifest.shared
    assert not any(decisions(after, "brennick"))


def test_a_removed_target_leaves_nothing_behind(whole: Bundle, tmp_path: Path) -> None:
    own = Path(shutil.copytree(whole.path, tmp_path / "bundle"))
    gone = set(arrays_of(whole, "brennick"))
    gone -= arrays_of(whole, "vessmere").keys() | arrays_of(whole, "tidewater").keys()
    assert len(gone) > 8
    after = remove_targets(own, ["brennick"])
    assert {path.name for path in own.iterdir()} == {"manifest.json", *after.manifest.files}
    assert not gone & set(after.manifest.files)
    raw = b"".join(path.read_bytes() for path in own.iterdir())
    for word in (b"brennick", b"Brennick", b"Odalys"):
        assert word not in raw
    assert {path.name for path in tmp_path.iterdir()} <= {"bundle", ".bundle.lock"}


def test_there_and_back_is_the_same_bundle(own: Path, policy: Path, encode: Encoder) -> None:
    before = load_bundle(own)
    add_targets(own, policy, ["brennick", "tidewater"], encoder=encode)
    after = remove_targets(own, ["tidewater", "brennick"])
    assert after.version == before.version
    assert after.arrays.keys() == before.arrays.keys()
    assert all(
        np.array_equal(array, before.arrays[name], equal_nan=True)
        for name, array in after.arrays.items()
    )


def test_a_reader_keeps_what_it_has_loaded(own: Path, policy: Path, encode: Encoder) -> None:
    """A server goes on with the version that it started with."""
    serving = Guard.load(own)
    add_targets(own, policy, ["brennick"], encoder=encode)
    remove_targets(own, ["vessmere"])
    assert [f.target for f in serving.decide(BOOK_ROWS[0][0]).findings] == ["vessmere"]
    assert [f.target for f in Guard.load(own).decide(PERSON_ROWS[0][0]).findings] == ["brennick"]


# What is refused.

Wrong = Callable[[Path, Path], tuple[list[str], str]]


def edited(policy: Path, old: str, new: str) -> Path:
    text = policy.read_text()
    assert old in text
    other = policy.with_name("edited.yaml")
    other.write_text(text.replace(old, new))
    return other


def adding(folder: Path, policy: Path, *wanted: str) -> list[str]:
    return ["add", *wanted, "--bundle", str(folder), "--policy", str(policy)]


WRONG: dict[str, Wrong] = {
    "a target that is there": lambda folder, policy: (
        adding(folder, policy, "vessmere"),
        f"{folder}: has a target 'vessmere' already; `guard targets remove` it first",
    ),
    "a target that the policy lacks": lambda folder, policy: (
        adding(folder, policy, "newton"),
        f"{policy}: has no target 'newton' (it has: brennick, vessmere, tidewater)",
    ),
    "one that is there among others": lambda folder, policy: (
        adding(folder, policy, "brennick", "vessmere"),
        "has a target 'vessmere' already",
    ),
    "another model": lambda folder, policy: (
        adding(folder, edited(policy, "builtin:smollm2", "builtin:minilm"), "brennick"),
        "edited.yaml: model: the bundle was compiled with builtin:smollm2",
    ),
    "another encoder": lambda folder, policy: (
        adding(folder, edited(policy, "defaults", "encoder: builtin:smollm2\ndefaults")),
        "edited.yaml: encoder: the bundle was compiled with builtin:minilm",
    ),
    "other everyday prompts": lambda folder, policy: (
        adding(
            folder, edited(policy, "defaults", f"background: {other_prompts(policy)}\ndefaults")
        ),
        "edited.yaml: background: the bundle was compiled with other everyday prompts; give the",
    ),
    "a policy that is none": lambda folder, policy: (
        adding(folder, policy.with_name("none.yaml")),
        "none.yaml: no such file",
    ),
    "rows that cannot be read": lambda folder, policy: (
        adding(folder, edited(policy, "brennick/forget.jsonl", "gone.jsonl"), "brennick"),
        "gone.jsonl: no such file",
    ),
    "rows that will not do": lambda folder, policy: (
        adding(folder, edited(policy, "    retain: brennick/retain.jsonl\n", ""), "brennick"),
        "edited.yaml: brennick: retain: give a file of neighbours",
    ),
    "a rate that is too low": lambda folder, policy: (
        adding(folder, edited(policy, "0.02", "0.0002"), "brennick"),
        "everyday prompts cannot vouch for a false-positive rate of 0.0002",
    ),
    "no bundle to add to": lambda folder, policy: (
        adding(folder.with_name("nowhere") / "deep", policy),
        "deep: no such folder; give the folder that `guard compile --out` wrote",
    ),
    "no bundle but a folder": lambda folder, policy: (
        adding(policy.parent, policy),
        "not a bundle (it has no manifest.json)",
    ),
    "an output in the way": lambda folder, policy: (
        [*adding(folder, policy, "brennick"), "--out", str(policy.parent)],
        "holds something that is no bundle; give --out another path",
    ),
    "an output that cannot be written": lambda folder, policy: (
        [*adding(folder, policy, "tidewater"), "--out", "/proc/bundle"],
        "/proc/bundle: cannot be written",
    ),
    "removing what is not there": lambda folder, policy: (
        ["remove", "newton", "--bundle", str(folder)],
        f"{folder}: has no target 'newton' (it has: vessmere)",
    ),
    "removing the last": lambda folder, policy: (
        ["remove", "vessmere", "--bundle", str(folder)],
        f"{folder}: a bundle without targets guards nothing; leave one",
    ),
    "removing from nothing": lambda folder, policy: (
        ["remove", "vessmere", "--bundle", str(folder.with_name("nowhere"))],
        "nowhere: no such folder",
    ),
    "listing nothing": lambda folder, policy: (
        ["list", "--bundle", str(folder.with_name("nowhere"))],
        "nowhere: no such folder",
    ),
}


def other_prompts(policy: Path) -> str:
    write_rows(policy.with_name("mine.jsonl"), [{"text": "Where is my parcel?"}])
    return "mine.jsonl"


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_one_line_and_changes_nothing(
    own: Path, policy: Path, capsys: pytest.CaptureFixture[str], case: str
) -> None:
    arguments, message = WRONG[case](own, policy)
    quiet = [] if arguments[0] == "list" else ["--quiet"]
    before = kept_files(own.parent)
    assert main(["targets", *arguments, *quiet]) == 2
    printed, line = capsys.readouterr()
    assert printed == "" and line.startswith("guard: ") and line.count("\n") == 1
    assert message in line
    assert not any(secret in line for secret in SECRETS)
    assert kept_files(own.parent) == before


@pytest.mark.parametrize("step", ["fit_target", "write_bundle"])
@pytest.mark.parametrize("fault", [KeyboardInterrupt(), MemoryError()])
def test_an_interruption_changes_nothing(
    own: Path,
    policy: Path,
    encode: Encoder,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    fault: BaseException,
) -> None:
    def failing(*_: Any, **__: Any) -> Any:
        raise fault

    before = kept_files(own.parent)
    monkeypatch.setattr(module, step, failing)
    with pytest.raises(type(fault)):
        add_targets(own, policy, ["tidewater"], encoder=encode)
    monkeypatch.undo()
    assert kept_files(own.parent) == before
    # And whoever comes next need not wait for the lock.
    assert len(remove_and_add(own, policy, encode)) == 2


def remove_and_add(own: Path, policy: Path, encode: Encoder) -> list[str]:
    add_targets(own, policy, ["tidewater"], encoder=encode)
    return ids(load_bundle(own))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_bundle_in_a_folder_that_cannot_be_written(own: Path) -> None:
    own.parent.chmod(0o500)
    try:
        with pytest.raises(BundleError, match=f"{own}: cannot be written"):
            remove_targets(own, ["vessmere"])
    finally:
        own.parent.chmod(0o700)


def test_a_lock_that_cannot_be_taken_is_one_line(
    own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("filelock.FileLock.acquire", refuse)
    with pytest.raises(BundleError, match=f"{own}: cannot be written: Permission denied"):
        remove_targets(own, ["vessmere"])


# The command.


def test_the_command_adds_lists_and_removes(
    own: Path, policy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = str(own)
    assert main(["targets", "add", "tidewater", "--bundle", bundle, "--policy", str(policy)]) == 0
    printed, report = capsys.readouterr()
    assert printed == "" and "guard: fitting tidewater" in report
    version = load_bundle(own).version
    assert report.splitlines()[-1] == f"guard: wrote {own}: version {version}, 2 targets"

    assert main(["targets", "list", "--bundle", bundle]) == 0
    printed, errors = capsys.readouterr()
    book, project = printed.splitlines()
    assert errors == ""
    assert book.split()[:4] == ["vessmere", "enforce", "corrupt", "lexical+static+similarity"]
    assert "15 rows, 100% of them detected when held out" in book
    assert project.split()[:4] == ["tidewater", "shadow", "refuse", "lexical"]

    assert main(["targets", "list", "--bundle", bundle, "--json"]) == 0
    values = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert values == list_targets(own)
    assert [value["id"] for value in values] == ["vessmere", "tidewater"]
    assert values[0]["forget_rows"] == len(BOOK_ROWS) + 5
    assert values[0]["retain_rows"] == len(BOOK_NEIGHBOURS)
    assert not any(secret in json.dumps(values) for secret in SECRETS)

    arguments = ["targets", "remove", "vessmere", "--bundle", bundle, "--quiet"]
    assert main(arguments) == 0
    assert capsys.readouterr() == ("", "")
    assert ids(load_bundle(own)) == ["tidewater"]
