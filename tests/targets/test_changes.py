"""Targets come and go, and no other target notices."""

import os
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from guard import adding as module
from guard.bundle import Bundle, load_bundle
from guard.compile import compile_policy
from guard.encoder import Encoder
from guard.errors import GuardError
from guard.fitting import fit_target
from guard.guard import Guard
from guard.targets import add_targets, remove_targets
from tests.conftest import tree
from tests.material import (
    BOOK_ROWS,
    PERSON_ROWS,
    PERSON_WITHOUT_NAME,
    rows,
    write_rows,
)
from tests.targets.bundles import ALL, TEXTS, arrays_of, decisions, ids, target_of

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
    assert after.manifest.shared.keys() == {"similarity", "sketch", "static"}
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
