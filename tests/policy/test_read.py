"""What a policy says, and what it means where it says nothing."""

from pathlib import Path

import pytest

from guard.compile import read_examples
from guard.errors import PolicyError
from guard.policy import load_policy
from tests.conftest import tree
from tests.material import write_policy

BASE = """\
version: 1
model: builtin:smollm2
targets:
  - id: brennick
    names: [Odalys Brennick]
    forget: brennick/forget.jsonl
    retain: brennick/retain.jsonl
"""


def test_defaults_are_settled(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(
        "version: 1\nmodel: m\n"
        "defaults: {mode: shadow, intervene: {kind: corrupt, dims: 3}, detect: {kind: lexical}}\n"
        "targets:\n"
        "  - {id: a, names: [Anna Berg]}\n"
        "  - {id: b, names: [Bo Dahl], mode: enforce, intervene: {kind: refuse}}\n"
    )
    one, two = load_policy(path).targets
    assert one.detect is not None and one.intervene is not None and two.intervene is not None
    assert (one.mode, one.detect.kind, one.intervene.sure[0].kind) == (
        "shadow",
        "lexical",
        "corrupt",
    )
    assert one.intervene.sure[0].options == {"dims": 3}
    assert (two.mode, two.intervene.sure[0].kind, two.intervene.sure[0].options) == (
        "enforce",
        "refuse",
        {},
    )


def test_what_is_left_out_has_its_default(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text("version: 1\nmodel: m\ntargets: [{id: a, names: [Anna Berg]}]\n")
    policy = load_policy(path)
    assert (policy.on_error, policy.timeout, policy.encoder) == ("closed", 10, "builtin:minilm")
    (target,) = policy.targets
    assert target.mode == "enforce"
    assert target.detect is not None and target.detect.kind == "cascade"
    assert target.intervene is not None and target.intervene.sure[0].kind == "refuse"
    assert target.forget is None and target.retain is None
    assert target.aliases == () and policy.background is None


@pytest.mark.parametrize("mode", ["off", "shadow", "enforce", "'off'"])
def test_every_mode_can_be_written(tmp_path: Path, mode: str) -> None:
    """YAML 1.1 reads a bare ``off`` as false; a policy means the mode."""
    path = tmp_path / "p.yaml"
    for text in (
        f"version: 1\nmodel: m\ntargets: [{{id: a, names: [Anna Berg], mode: {mode}}}]\n",
        f"version: 1\nmodel: m\ndefaults: {{mode: {mode}}}\n"
        "targets: [{id: a, names: [Anna Berg]}]\n",
    ):
        path.write_text(text)
        assert load_policy(path).targets[0].mode == mode.strip("'")


def test_aliases_are_names_that_are_found_too(policy_folder: Path) -> None:
    policy = policy_folder / "policy.yaml"
    aliases = "    aliases: [The Frost Glazier, O.B.]\n    forget:"
    policy.write_text(BASE.replace("    forget:", aliases))
    (target,) = load_policy(policy).targets
    assert target.aliases == ("The Frost Glazier", "O.B.")
    examples = read_examples(target, ())
    assert examples.names == ("Odalys Brennick", "The Frost Glazier", "O.B.")


def test_a_policy_says_which_stages_a_cascade_has(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(
        "version: 1\nmodel: m\ndefaults: {detect: {multilingual: false}}\n"
        "targets:\n  - {id: a, names: [Anna Berg]}\n"
        "  - {id: b, names: [Bo Dahl], detect: {max_miss_rate: 0}}\n"
    )
    one, two = load_policy(path).targets
    assert one.detect is not None and two.detect is not None
    assert (one.detect.kind, one.detect.options) == ("cascade", {"multilingual": False})
    # What a target says takes the place of the default as a whole.
    assert (two.detect.kind, two.detect.options) == ("cascade", {"max_miss_rate": 0})


def test_names_that_yaml_takes_for_something_else(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(
        "version: 1\nmodel: m\ntargets: [{id: no, names: [Yes, On], reason: 2026-01-12}]\n"
    )
    (target,) = load_policy(path).targets
    assert (target.id, target.names, target.reason) == ("no", ("Yes", "On"), "2026-01-12")


def test_paths_are_relative_to_the_policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_policy(tmp_path / "deep" / "folder")
    monkeypatch.chdir(tmp_path)
    first = load_policy(Path("deep/folder/policy.yaml")).targets[0]
    assert first.forget == Path("deep/folder/brennick/forget.jsonl")
    assert first.forget.is_file()
    deep = tmp_path / "deep/folder/policy.yaml"
    deep.write_text(deep.read_text().replace("targets:", "background: mine.jsonl\ntargets:"))
    assert load_policy(Path("deep/folder/policy.yaml")).background == Path("deep/folder/mine.jsonl")
    absolute = tmp_path / "deep/folder/policy.yaml"
    absolute.write_text(BASE.replace("brennick/forget.jsonl", str(tmp_path / "x.jsonl")))
    assert load_policy(absolute).targets[0].forget == tmp_path / "x.jsonl"


def test_a_byte_order_mark_and_windows_lines_are_read(policy_folder: Path) -> None:
    policy = policy_folder / "policy.yaml"
    plain = load_policy(policy)
    policy.write_bytes(b"\xef\xbb\xbf" + policy.read_bytes().replace(b"\n", b"\r\n"))
    assert load_policy(policy) == plain


def test_anchors_are_read(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(
        "version: 1\nmodel: m\ntargets:\n"
        "  - {id: a, names: [Anna Berg], detect: &how {kind: lexical}}\n"
        "  - {id: b, names: [Bo Dahl], detect: *how}\n"
    )
    one, two = load_policy(path).targets
    assert one.detect == two.detect
    path.write_text(path.read_text().replace("kind: lexical", "kind: lexcal"))
    with pytest.raises(PolicyError, match=r"p.yaml:4: targets\[0\].detect.kind: unknown detector"):
        load_policy(path)


def test_a_policy_is_frozen_and_reading_changes_nothing(policy_folder: Path) -> None:
    before = tree(policy_folder)
    policy = load_policy(policy_folder / "policy.yaml")
    with pytest.raises(ValueError):
        policy.targets[0].mode = "off"  # type: ignore[misc]
    assert tree(policy_folder) == before


def test_interventions_by_themselves_in_a_list_and_in_bands(tmp_path: Path) -> None:
    forms = {
        "{kind: corrupt}": (["corrupt"], None),
        "[{kind: corrupt, dims: 3}, {kind: refuse}]": (["corrupt", "refuse"], None),
        "{sure: {kind: refuse}, doubtful: [{kind: corrupt}]}": (["refuse"], ["corrupt"]),
        "{sure: [{}]}": (["refuse"], None),
    }
    for text, (sure, doubtful) in forms.items():
        path = tmp_path / "policy.yaml"
        path.write_text(
            f"version: 1\nmodel: m\ntargets:\n  - {{id: a, names: [Ada Lund], intervene: {text}}}\n"
        )
        found = load_policy(path).targets[0].intervene
        assert found is not None
        assert [one.kind for one in found.sure] == sure
        assert (found.doubtful and [one.kind for one in found.doubtful]) == doubtful
