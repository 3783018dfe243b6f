"""A policy is read strictly: whatever is wrong is one line with file, line, field and mend."""

from pathlib import Path

import pytest

from tests.conftest import Refused

BASE = """\
version: 1
model: builtin:smollm2
targets:
  - id: brennick
    names: [Odalys Brennick]
    forget: brennick/forget.jsonl
    retain: brennick/retain.jsonl
"""

# Name: what is replaced in BASE, by what, the line that is named, and what the message must say.
WRONG: dict[str, tuple[str, str, int, tuple[str, ...]]] = {
    "unknown field": ("model:", "modle:", 2, ("modle", "did you mean 'model'")),
    "unknown target field": ("names:", "name:", 5, ("targets[0].name", "did you mean 'names'")),
    "field that is like none": ("names:", "xyzzy:", 5, ("xyzzy", "known:", "forget")),
    "misspelt detector": (
        "    names",
        "    detect: {kind: lexcal}\n    names",
        5,
        ("targets[0].detect.kind", "did you mean 'lexical'"),
    ),
    "detector that only dismisses": (
        "    names",
        "    detect: {kind: static}\n    names",
        5,
        ("targets[0].detect.kind", "'static' only dismisses; use 'cascade'"),
    ),
    "detector that only dismisses in the defaults": (
        "targets:",
        "defaults: {detect: {kind: static}}\ntargets:",
        3,
        ("defaults.detect.kind", "'static' only dismisses; use 'cascade'"),
    ),
    "miss rate of one": (
        "    names",
        "    detect: {max_miss_rate: 1}\n    names",
        5,
        ("targets[0].detect.max_miss_rate", "less than 1"),
    ),
    "pass rate above one": (
        "    names",
        "    detect: {pass_rate: 1.5}\n    names",
        5,
        ("targets[0].detect.pass_rate", "less than or equal to 1"),
    ),
    "multilingual neither on nor off": (
        "    names",
        "    detect: {multilingual: maybe}\n    names",
        5,
        ("targets[0].detect.multilingual", "boolean"),
    ),
    "option of the cascade at one of its stages": (
        "    names",
        "    detect: {kind: similarity, pass_rate: 0.1}\n    names",
        5,
        ("targets[0].detect.pass_rate", "unknown field"),
    ),
    "misspelt intervention": (
        "    names",
        "    intervene: {kind: refues}\n    names",
        5,
        ("targets[0].intervene.kind", "did you mean 'refuse'"),
    ),
    "misspelt detector in the defaults": (
        "targets:",
        "defaults:\n  detect:\n    kind: cascad\ntargets:",
        5,
        ("defaults.detect.kind", "did you mean 'cascade'"),
    ),
    "unknown option of a kind": (
        "    names",
        "    intervene:\n      kind: refuse\n      mesage: no\n    names",
        7,
        ("targets[0].intervene.mesage", "did you mean 'message'"),
    ),
    "option of another kind": (
        "    names",
        "    intervene: {kind: corrupt, message: no}\n    names",
        5,
        ("targets[0].intervene.message", "method"),
    ),
    "option of a wrong type": (
        "    names",
        "    detect: {kind: lexical, max_false_positive_rate: often}\n    names",
        5,
        ("targets[0].detect.max_false_positive_rate", "number"),
    ),
    "rate of one": (
        "    names",
        "    detect: {max_false_positive_rate: 1}\n    names",
        5,
        ("max_false_positive_rate", "less than 1"),
    ),
    "empty message": (
        "    names",
        '    intervene: {kind: refuse, message: ""}\n    names',
        5,
        ("targets[0].intervene.message", "at least 1 character"),
    ),
    "unknown method": (
        "    names",
        "    intervene: {kind: corrupt, method: zero}\n    names",
        5,
        ("targets[0].intervene.method", "zero_out_top_k"),
    ),
    "noise without sigma": (
        "    names",
        "    intervene: {kind: corrupt, method: rand_noise_top_k}\n    names",
        5,
        ("targets[0].intervene.sigma", "needs 'sigma'"),
    ),
    "sigma without noise": (
        "    names",
        "    intervene: {kind: corrupt, sigma: 2}\n    names",
        5,
        ("targets[0].intervene.sigma", "takes no 'sigma'"),
    ),
    "no dimensions": (
        "    names",
        "    intervene: {kind: corrupt, dims: 0}\n    names",
        5,
        ("targets[0].intervene.dims", "greater than or equal to 1"),
    ),
    "kind that is no text": (
        "    names",
        "    detect: {kind: 7}\n    names",
        5,
        ("targets[0].detect.kind", "must be a text"),
    ),
    "intervention as a text": (
        "    names",
        "    intervene: refuse\n    names",
        5,
        ("targets[0].intervene", "mapping with a 'kind'"),
    ),
    "no intervention": (
        "    names",
        "    intervene: []\n    names",
        5,
        ("targets[0].intervene", "at least one intervention"),
    ),
    "two adapters for one request": (
        "    names",
        "    intervene:\n      - {kind: adapter, path: a}\n"
        "      - {kind: adapter, path: b}\n    names",
        7,
        ("targets[0].intervene[1]", "a request has one adapter"),
    ),
    "misspelt in a list": (
        "    names",
        "    intervene:\n      - kind: corrupt\n      - kind: refues\n    names",
        7,
        ("targets[0].intervene[1].kind", "did you mean 'refuse'"),
    ),
    "option of a wrong type in a band": (
        "    names",
        "    intervene:\n      sure: {kind: refuse}\n      doubtful:\n"
        "        - {kind: corrupt, dims: 0}\n    names",
        8,
        ("targets[0].intervene.doubtful[0].dims", "greater than or equal to 1"),
    ),
    "doubt without what is sure": (
        "    names",
        "    intervene: {doubtful: {kind: corrupt}}\n    names",
        5,
        ("targets[0].intervene.sure", "missing"),
    ),
    "a band beside an intervention": (
        "    names",
        "    intervene: {sure: {kind: refuse}, kind: corrupt}\n    names",
        5,
        ("targets[0].intervene.kind", "beside 'sure' and 'doubtful'"),
    ),
    "names as a text": ("[Odalys Brennick]", "Odalys Brennick", 5, ("targets[0].names",)),
    "name that is a number": ("[Odalys Brennick]", "[1984]", 5, ("names[0]", "string")),
    "name without letters": ("[Odalys Brennick]", "['?!']", 5, ("names", "letters or digits")),
    "aliases as a text": (
        "    forget:",
        "    aliases: O. B.\n    forget:",
        6,
        ("targets[0].aliases",),
    ),
    "alias without letters": (
        "    forget:",
        "    aliases: ['—']\n    forget:",
        6,
        ("targets[0].aliases", "letters or digits"),
    ),
    "aliases alone": (
        "    names: [Odalys Brennick]\n    forget: brennick/forget.jsonl\n",
        "    aliases: [Odalys Brennick]\n",
        4,
        ("targets[0]", "'names'", "'forget'"),
    ),
    "background a list": (
        "targets:",
        "background: [a.jsonl]\ntargets:",
        3,
        ("background", "path"),
    ),
    "background missing": (
        "targets:",
        "background: nowhere.jsonl\ntargets:",
        0,
        ("nowhere.jsonl", "no such file"),
    ),
    "background of a target": (
        "    names",
        "    background: b.jsonl\n    names",
        5,
        ("targets[0].background", "unknown field"),
    ),
    "name with a NUL": (
        "[Odalys Brennick]",
        '["Odalys\\0Brennick"]',
        5,
        ("names[0]", "no text"),
    ),
    "name with a lone surrogate": (
        "[Odalys Brennick]",
        '["Odalys \\ud800"]',
        5,
        ("names[0]", "no text"),
    ),
    "reason with a lone surrogate": (
        "    names",
        '    reason: "\\udfff"\n    names',
        5,
        ("targets[0].reason", "no text"),
    ),
    "message with a lone surrogate": (
        "    names",
        '    intervene: {kind: refuse, message: "\\udc00"}\n    names',
        5,
        ("targets[0].intervene", "no text"),
    ),
    "path with a NUL": (
        "brennick/forget.jsonl",
        '"a\\0b"',
        6,
        ("targets[0].forget", "no text"),
    ),
    "model with a NUL": ("builtin:smollm2", '"a\\0b"', 2, ("model", "no text")),
    "empty model": ("builtin:smollm2", '""', 2, ("model:", "at least 1 character")),
    "id missing": ("  - id: brennick\n    names", "  - names", 4, ("targets[0].id", "missing")),
    "id of other characters": ("id: brennick", "id: a/b", 4, ("targets[0].id", "letters, digits")),
    "id too long": ("id: brennick", f"id: {'x' * 65}", 4, ("targets[0].id", "up to 64")),
    "id that ends a line": ("id: brennick", 'id: "a\\n"', 4, ("targets[0].id", "letters, digits")),
    "id that is a number": ("id: brennick", "id: 17", 4, ("targets[0].id", "string")),
    "targets missing": (BASE[BASE.index("targets") :], "", 1, ("targets", "missing")),
    "targets empty": (BASE[BASE.index("targets") :], "targets: []\n", 3, ("targets", "at least 1")),
    "targets null": (BASE[BASE.index("targets") :], "targets:\n", 3, ("targets",)),
    "targets a mapping": (
        BASE[BASE.index("targets") :],
        "targets: {id: brennick}\n",
        3,
        ("targets",),
    ),
    "target a text": (BASE[BASE.index("  - id") :], "  - brennick\n", 4, ("targets[0]", "mapping")),
    "neither names nor forget": (
        "    names: [Odalys Brennick]\n    forget: brennick/forget.jsonl\n",
        "",
        4,
        ("targets[0]", "'names'", "'forget'"),
    ),
    "version missing": ("version: 1\n", "", 1, ("version", "missing")),
    "version 2": ("version: 1", "version: 2", 1, ("version", "1")),
    "version a text": ("version: 1", "version: '1'", 1, ("version",)),
    "model missing": ("model: builtin:smollm2\n", "", 1, ("model", "missing")),
    "model a number": ("builtin:smollm2", "7", 2, ("model", "string")),
    "negative timeout": ("targets:", "timeout: -1\ntargets:", 3, ("timeout", "greater than 0")),
    "endless timeout": ("targets:", "timeout: .inf\ntargets:", 3, ("timeout", "600")),
    "timeout not a number": ("targets:", "timeout: .nan\ntargets:", 3, ("timeout",)),
    "timeout a text": ("targets:", "timeout: soon\ntargets:", 3, ("timeout", "number")),
    "bad on_error": (
        "targets:",
        "on_error: allow\ntargets:",
        3,
        ("on_error", "'closed'", "'open'"),
    ),
    "bad mode": ("    names", "    mode: on\n    names", 5, ("targets[0].mode", "'shadow'")),
    "defaults a text": ("targets:", "defaults: refuse\ntargets:", 3, ("defaults", "mapping")),
    "unknown default": (
        "targets:",
        "defaults: {intervention: {kind: refuse}}\ntargets:",
        3,
        ("defaults.intervention", "did you mean 'intervene'"),
    ),
    "field given twice": ("targets:", "model: other\ntargets:", 3, ("model", "given twice")),
    "target field given twice": (
        "    names",
        "    id: other\n    names",
        5,
        ("targets[0].id", "given twice"),
    ),
    "bad YAML": ("[Odalys Brennick]", "[Odalys Brennick", 6, ("not valid YAML",)),
    "tab": ("    names", "\tnames", 5, ("not valid YAML", "'\\t'")),
    "undefined alias": ("builtin:smollm2", "*other", 2, ("not valid YAML", "alias")),
    "two documents": ("targets:", "---\ntargets:", 3, ("not valid YAML", "document")),
    "object tag": ("builtin:smollm2", "!!python/name:os.system", 2, ("not valid YAML",)),
    "key that is a list": ("targets:", "? [a, b]\n: 1\ntargets:", 3, ("not valid YAML",)),
    "key that is a number": ("targets:", "7: 1\ntargets:", 3, ("7", "unknown field")),
    "forget missing": (
        "brennick/forget.jsonl",
        "nowhere.jsonl",
        0,
        ("nowhere.jsonl", "no such file"),
    ),
    "retain missing": ("brennick/retain.jsonl", "gone.jsonl", 0, ("gone.jsonl", "no such file")),
    "forget a folder": ("brennick/forget.jsonl", "brennick", 0, ("is a folder",)),
    "forget with too long a name": (
        "brennick/forget.jsonl",
        "x" * 300,
        0,
        ("cannot be read",),
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_one_line(policy_folder: Path, refused: Refused, case: str) -> None:
    old, new, line, fragments = WRONG[case]
    assert BASE.count(old) == 1
    policy = policy_folder / "policy.yaml"
    policy.write_text(BASE.replace(old, new), encoding="utf-8")
    message = refused(policy)
    if line:
        assert message.startswith(f"guard: {policy}:{line}: "), message
    for fragment in fragments:
        assert fragment in message
    assert "Traceback" not in message and "pydantic" not in message


WRONG_FILES = {
    "empty": (b"", ":1: a policy is a mapping"),
    "only a comment": (b"# nothing\n", ":1: a policy is a mapping"),
    "a list": (b"- version: 1\n", ":1: a policy is a mapping"),
    "a text": (b"hello\n", ":1: a policy is a mapping"),
    "not UTF-8": (b"version: 1\nmodel: caf\xe9\n", "not UTF-8"),
    "UTF-16": ("version: 1\n".encode("utf-16"), "not UTF-8"),
    "NUL": (b"version: 1\0\n", "not valid YAML"),
    "binary": (bytes(range(1, 128)), "not valid YAML"),
    "nested sequences": (b"version: " + b"[" * 50_000 + b"]" * 50_000, "nested too deeply"),
    "nested mappings": (
        b"".join(b" " * n + b"a:\n" for n in range(30)),
        "nested too deeply",
    ),
    "recursive": (b"version: &a [*a, *a]\n", ":1: version"),
    "bad date": (b"version: 1\nmodel: m\nreason: 2026-13-45\n", ":3: reason: unknown field"),
    "huge number": (b"version: " + b"9" * 5000, "not valid YAML"),
}


@pytest.mark.parametrize("case", WRONG_FILES)
def test_a_file_that_is_no_policy_is_one_line(tmp_path: Path, refused: Refused, case: str) -> None:
    raw, message = WRONG_FILES[case]
    policy = tmp_path / "policy.yaml"
    policy.write_bytes(raw)
    assert message in refused(policy)


@pytest.mark.timeout(20)  # ten thousand million leaves, were they visited
@pytest.mark.parametrize("where", ["version", "names", "detect", "key"])
def test_a_yaml_bomb_is_refused_at_once(tmp_path: Path, refused: Refused, where: str) -> None:
    bomb = "x0: &x0 [a, a, a, a, a, a, a, a, a, a]\n" + "".join(
        f"x{n}: &x{n} [{', '.join([f'*x{n - 1}'] * 10)}]\n" for n in range(1, 11)
    )
    use = {
        "version": "version: *x10\n",
        "names": "version: 1\nmodel: m\ntargets: [{id: a, names: *x10}]\n",
        "detect": "version: 1\nmodel: m\ntargets: [{id: a, names: [b], detect: {kind: *x10}}]\n",
        "key": "? *x10\n: 1\n",
    }
    policy = tmp_path / "policy.yaml"
    policy.write_text(bomb + use[where])
    assert str(policy) in refused(policy)


def test_a_file_that_is_not_there(tmp_path: Path, refused: Refused) -> None:
    assert "no such file" in refused(tmp_path / "none.yaml")
    assert "cannot be read: Is a directory" in refused(tmp_path)
    assert "cannot be read" in refused(tmp_path / ("x" * 300))


def test_duplicate_ids(policy_folder: Path, refused: Refused) -> None:
    policy = policy_folder / "policy.yaml"
    policy.write_text(BASE + "  - {id: brennick, names: [B]}\n")
    message = refused(policy)
    assert f"{policy}:8: targets[1].id: 'brennick' is used twice" in message
    assert message.count("targets[1].id") == 1


def test_several_errors_are_counted(policy_folder: Path, refused: Refused) -> None:
    policy = policy_folder / "policy.yaml"
    policy.write_text(BASE.replace("version: 1", "version: 3") + "timeout: -1\n")
    assert "(and 1 more)" in refused(policy)
