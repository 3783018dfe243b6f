"""What a policy says of answers: read strictly, and each target's own before the defaults'."""

from pathlib import Path

import pytest

from guard.errors import PolicyError
from guard.output import CHECKS
from guard.output.choices import OutputChoice
from guard.policy import Policy, load_policy
from tests.checks import register
from tests.conftest import Refused

BASE = """\
version: 1
model: builtin:smollm2
targets:
  - id: brennick
    names: [Odalys Brennick]
"""


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch)


def read(folder: Path, text: str) -> Policy:
    path = folder / "policy.yaml"
    path.write_text(text, encoding="utf-8")
    return load_policy(path)


def output_of(folder: Path, text: str) -> OutputChoice:
    found = read(folder, f"{BASE}    output: {text}\n").targets[0].output
    assert found is not None
    return found


def test_nothing_is_checked_unless_asked_for(tmp_path: Path) -> None:
    (target,) = read(tmp_path, BASE).targets
    assert target.output == output_of(tmp_path, "off")
    assert target.output is not None and target.output.check == ()


def test_checks_by_kind_and_with_options(tmp_path: Path) -> None:
    forms = {
        "words": [("words", {})],
        "{kind: words, length: 9}": [("words", {"length": 9})],
        "[words, {kind: sense}]": [("words", {}), ("sense", {})],
        "[{kind: sense}, {kind: words, length: 9}]": [("sense", {}), ("words", {"length": 9})],
    }
    for text, checks in forms.items():
        found = output_of(tmp_path, f"{{check: {text}}}").check
        assert [(one.kind, one.options) for one in found] == checks


def test_what_is_left_out_is_rolled_back_three_times_and_then_filtered(tmp_path: Path) -> None:
    found = output_of(tmp_path, "{check: words}")
    assert (found.on_hit, found.times, found.then, found.context) == (
        "rollback",
        3,
        "filter",
        "guard",
    )
    assert found.answer.strip()


def test_every_field_is_read(tmp_path: Path) -> None:
    for on_hit in ("rollback", "switch", "answer", "filter"):
        for then in ("answer", "filter"):
            for context in ("guard", "allow"):
                found = output_of(
                    tmp_path,
                    f"{{check: words, on_hit: {on_hit}, times: 7, then: {then}, "
                    f"answer: Enough., context: {context}}}",
                )
                fields = found.model_dump(exclude={"check"})
                assert fields == {
                    "on_hit": on_hit,
                    "times": 7,
                    "then": then,
                    "answer": "Enough.",
                    "context": context,
                }


def test_a_target_takes_the_defaults_or_its_own_as_a_whole(tmp_path: Path) -> None:
    policy = read(
        tmp_path,
        "version: 1\nmodel: m\ndefaults: {output: {check: words, times: 9}}\ntargets:\n"
        "  - {id: a, names: [Anna Berg]}\n"
        "  - {id: b, names: [Bo Dahl], output: {check: sense}}\n"
        "  - {id: c, names: [Cy Eld], output: off}\n",
    )
    kinds = {}
    for target in policy.targets:
        assert target.output is not None
        kinds[target.id] = [one.kind for one in target.output.check], target.output.times
    assert kinds == {"a": (["words"], 9), "b": (["sense"], 3), "c": ([], 3)}


def test_paths_of_options_are_relative_to_the_policy(tmp_path: Path) -> None:
    folder = tmp_path / "deep"
    folder.mkdir()
    found = output_of(folder, "{check: [sense, {kind: words, extra: more.txt}]}")
    assert found.check[1].options == {"extra": folder / "more.txt"}


def test_what_is_there_at_once_is_not_slow(tmp_path: Path) -> None:
    found = output_of(tmp_path, "{check: [sense, words], times: 2}").at_once()
    assert ([one.kind for one in found.check], found.times) == (["words"], 2)
    assert output_of(tmp_path, "{check: sense}").at_once().check == ()


def test_the_checks_of_this_package_are_known() -> None:
    assert {"exact", "verbatim", "semantic"} <= set(CHECKS.kinds())


# Output, in `defaults` or a target: the field that is named, and what the message must say.
WRONG = {
    "on": ("output", "give 'off', or a mapping with a 'check'"),
    "[words]": ("output", "give 'off', or a mapping with a 'check'"),
    "3": ("output", "give 'off', or a mapping with a 'check'"),
    "{}": ("output.check", "missing"),
    "{times: 2}": ("output.check", "missing"),
    "{chek: words}": ("output.chek", "did you mean 'check'"),
    "{check: []}": ("output.check", "at least one check"),
    "{check: off}": ("output.check.kind", "unknown check 'off'"),
    "{check: 7}": ("output.check", "mapping with a 'kind'"),
    "{check: [words, exat]}": ("output.check[1].kind", "did you mean 'exact'"),
    "{check: {knd: words}}": ("output.check.kind", "missing"),
    "{check: {kind: 7}}": ("output.check.kind", "must be a text"),
    "{check: {kind: words, lenth: 3}}": ("output.check.lenth", "did you mean 'length'"),
    "{check: [{kind: words, length: 0}]}": ("output.check[0].length", "greater than or equal to 1"),
    "{check: [words, sense, {kind: words, length: 3}]}": ("output.check[2]", "keep one"),
    "{check: words, on_hits: filter}": ("output.on_hits", "did you mean 'on_hit'"),
    "{check: words, on_hit: rolback}": ("output.on_hit", "'rollback', 'switch', 'answer'"),
    "{check: words, on_hit: off}": ("output.on_hit", "'rollback', 'switch', 'answer'"),
    "{check: words, times: 0}": ("output.times", "greater than or equal to 1"),
    "{check: words, times: 101}": ("output.times", "less than or equal to 100"),
    "{check: words, times: often}": ("output.times", "integer"),
    "{check: words, then: rollback}": ("output.then", "'answer' or 'filter'"),
    '{check: words, answer: ""}': ("output.answer", "at least 1 character"),
    '{check: words, answer: "\\ud800"}': ("output.answer", "no text"),
    "{check: words, context: deny}": ("output.context", "'guard' or 'allow'"),
    "{check: words, check: sense}": ("output.check", "given twice"),
}


@pytest.mark.parametrize("text", WRONG, ids=str)
def test_what_is_wrong_is_one_line_with_file_line_and_field(
    tmp_path: Path, refused: Refused, text: str
) -> None:
    field, mend = WRONG[text]
    path = tmp_path / "policy.yaml"
    path.write_text(f"{BASE}    output: {text}\n", encoding="utf-8")
    message = refused(path)
    assert f"{path}:6: targets[0].{field}: " in message
    assert mend in message and "more)" not in message
    path.write_text(
        BASE.replace("targets:", f"defaults:\n  output: {text}\ntargets:"), encoding="utf-8"
    )
    message = refused(path)
    assert f"{path}:4: defaults.{field}: " in message
    assert mend in message


def test_the_line_is_that_of_the_check(tmp_path: Path) -> None:
    text = f"{BASE}    output:\n      check:\n        - words\n        - kind: sens\n"
    with pytest.raises(PolicyError, match=r"policy.yaml:9: .*check\[1\].kind: unknown check"):
        read(tmp_path, text)
