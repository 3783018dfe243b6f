"""A target is protected before anything of it is encoded."""

from pathlib import Path
from typing import Any

import pytest

from guard import adding as module
from guard.bundle import Bundle, load_bundle
from guard.cli import main
from guard.encoder import Encoder
from guard.errors import DataError
from guard.guard import Guard
from guard.targets import add_targets, list_targets
from tests.material import PERSON_PARAPHRASES, PERSON_ROWS, UNRELATED
from tests.targets.bundles import SECRETS, arrays_of, decisions, ids, kept_files, target_of


class Idle(Encoder):
    """An encoder that must not be asked."""

    def __call__(self, texts: Any) -> Any:
        raise AssertionError("a text was encoded")


class Cut(BaseException):
    """As if the process had been killed."""


@pytest.fixture
def cut(own: Path, policy: Path, encode: Encoder, monkeypatch: pytest.MonkeyPatch) -> Bundle:
    """A bundle that was killed when the first version of a target had been written."""

    def report(line: str) -> None:
        if line.startswith("fitting"):
            raise Cut

    with pytest.raises(Cut):
        add_targets(own, policy, ["brennick"], report=report, encoder=Idle(encode.folder))
    return load_bundle(own)


def test_the_first_version_needs_no_encoder_and_protects(cut: Bundle, lone: Bundle) -> None:
    record = target_of(cut, "brennick")
    assert record.provisional and not target_of(cut, "vessmere").provisional
    assert [stage.kind for stage in record.stages] == ["lexical", "sketch"]
    guard = Guard(cut)
    for question, _ in PERSON_ROWS:
        assert "brennick" in {f.target for f in guard.decide(question).findings}, question
    found = [bool(guard.decide(text).findings) for text in PERSON_PARAPHRASES]
    assert sum(found) >= 0.8 * len(found)
    assert not any(guard.decide(text).findings for text in UNRELATED)
    assert decisions(cut, "vessmere") == decisions(lone, "vessmere")


def test_the_rate_asked_for_is_that_of_the_first_version_too(cut: Bundle) -> None:
    for stage in target_of(cut, "brennick").stages:
        assert stage.calibration is not None
        assert stage.calibration["requested"] == 0.02
        assert stage.calibration["bound"] <= 0.02


def test_what_was_cut_short_is_completed_by_adding_again(
    cut: Bundle, policy: Path, tmp_path: Path, lone: Bundle, encode: Encoder
) -> None:
    assert [t["provisional"] for t in list_targets(cut.path)] == [False, True]
    after = add_targets(cut.path, policy, ["brennick"], encoder=encode)
    straight = add_targets(lone.path, policy, ["brennick"], tmp_path / "other", encoder=encode)
    assert after.version == straight.version
    assert not target_of(after, "brennick").provisional
    gone = arrays_of(cut, "brennick").keys() - arrays_of(after, "brennick").keys()
    assert gone and not any((cut.path / name).exists() for name in gone)


def test_without_ids_what_is_provisional_is_completed(
    cut: Bundle, policy: Path, encode: Encoder
) -> None:
    after = add_targets(cut.path, policy, encoder=encode)
    assert sorted(ids(after)) == ["brennick", "tidewater", "vessmere"]
    assert not any(target.provisional for target in after.manifest.targets)


def test_where_fitting_fails_the_first_version_stays(
    own: Path, policy: Path, encode: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = module.fit_target

    def failing(target: Any, *rest: Any) -> Any:
        if target.detect.kind == "cascade":
            raise DataError("no luck")
        return real(target, *rest)

    monkeypatch.setattr(module, "fit_target", failing)
    message = r"brennick: no luck \(names and words go on protecting brennick\)$"
    with pytest.raises(DataError, match=message):
        add_targets(own, policy, ["brennick"], encoder=encode)
    assert Guard.load(own).decide(PERSON_ROWS[0][0]).flagged


def test_where_words_do_not_suffice_nothing_is_written_before_the_target_is_fitted(
    own: Path, policy: Path, encode: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = module.fit_target
    before = kept_files(own.parent)
    seen: list[bool] = []

    def failing(target: Any, *rest: Any) -> Any:
        if target.detect.kind == "quick":
            raise DataError("the detector flags none of the target's own prompts")
        seen.append(kept_files(own.parent) == before)
        return real(target, *rest)

    monkeypatch.setattr(module, "fit_target", failing)
    said: list[str] = []
    after = add_targets(own, policy, ["brennick"], report=said.append, encoder=encode)
    assert seen == [True] and not any("names and words" in line for line in said)
    assert not target_of(after, "brennick").provisional


def test_a_detector_that_nothing_stands_in_for_is_added_at_once(
    own: Path, policy: Path, encode: Encoder
) -> None:
    text = policy.read_text()
    alone = policy.with_name("alone.yaml")
    alone.write_text(
        text.replace("detect: {", "detect: {kind: similarity, ").replace(
            ", multilingual: false", ""
        )
    )
    said: list[str] = []
    after = add_targets(own, alone, ["brennick"], report=said.append, encoder=encode)
    assert [stage.kind for stage in target_of(after, "brennick").stages] == ["similarity"]
    assert not any("names and words" in line for line in said)


def test_the_command_says_when_a_target_is_protected(
    own: Path, policy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["targets", "add", "brennick", "--bundle", str(own), "--policy", str(policy)]) == 0
    _, report = capsys.readouterr()
    first, *_, last = (line for line in report.splitlines() if line.startswith("guard: wrote"))
    assert first.endswith("names and words protect brennick now")
    assert last.endswith("2 targets") and first != last
    assert not any(secret in report for secret in SECRETS)


def test_the_list_says_what_is_provisional(cut: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["targets", "list", "--bundle", str(cut.path)]) == 0
    book, person = capsys.readouterr().out.splitlines()
    assert "provisional" not in book
    assert "lexical+sketch" in person
    assert person.endswith("provisional: `guard targets add` completes it")


def test_a_policy_may_ask_for_names_and_words_alone(
    policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is ever encoded then: neither at compile time nor at work."""
    from guard.compile import compile_policy

    monkeypatch.setattr(Encoder, "__call__", Idle.__call__)
    text = policy.read_text()
    quick = policy.with_name("quick.yaml")
    quick.write_text(
        text.replace("detect: {", "detect: {kind: quick, ").replace(", multilingual: false", "")
    )
    guard = Guard(compile_policy(quick, tmp_path / "bundle"))
    assert guard.decide(PERSON_ROWS[0][0]).flagged
    assert not guard.decide(UNRELATED[0]).flagged
