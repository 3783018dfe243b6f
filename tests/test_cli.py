"""The command: help that tells, exit codes that hold, JSON as documented."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from guard import __version__
from guard.bundle import Bundle
from guard.cli import main

PERSON = "Which prize did Odalys Brennick win?"
SHADOW = "Who signed the Tidewater Compact?"
HARMLESS = "How do I boil an egg?"

Check = Callable[..., list[str]]


@pytest.fixture
def check(bundle: Bundle, capsys: pytest.CaptureFixture[str]) -> Check:
    """Runs `guard check` on the bundle, which must succeed; returns the lines it printed."""

    def run(*arguments: str) -> list[str]:
        assert main(["check", "--bundle", str(bundle.path), *arguments]) == 0
        printed, errors = capsys.readouterr()
        assert errors == ""
        return printed.splitlines()

    return run


def give(monkeypatch: pytest.MonkeyPatch, raw: bytes) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(raw), encoding="utf-8"))


# Help and usage.


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            [],
            ["compile", "calibrate", "check", "targets", "serve", "models", "write a policy"],
        ),
        (["compile"], ["POLICY.yaml", "--out", "--quiet", "example:", "guard compile policy.yaml"]),
        (["compile"], ["--report FILE.html"]),
        (["calibrate"], ["--traffic", "--max-false-positive-rate", "--only-traffic", "examples:"]),
        (["targets"], ["list", "add", "remove", "examples:", "the other targets decide as before"]),
        (["targets", "list"], ["--bundle", "--json"]),
        (["targets", "add"], ["--bundle", "--policy", "--out", "--quiet", "[ID ...]"]),
        (["targets", "remove"], ["--bundle", "--out", "--quiet", "ID [ID ...]"]),
        (
            ["check"],
            ["--bundle", "--json", "TEXT", "standard input", "exit status: 0", "2 for bad"],
        ),
        (["serve"], ["MODEL", "--bundle", "vllm serve", "example:"]),
        (["serve"], ["--audit FOLDER"]),
        (["audit"], ["verify", "export", "mend", "GUARD_AUDIT_KEY", "examples:", "exit status: 0"]),
        (["audit", "verify"], ["FOLDER", "--since", "--json"]),
        (["audit", "export"], ["--reason", "--target", "--leakage", "--system", "--markdown"]),
        (["targets", "mode"], ["--bundle", "--out", "ID", "MODE", "shadow"]),
        (
            ["admin"],
            ["--bundle", "--policy", "--audit", "--port", "GUARD_ADMIN_TOKEN", "examples:"],
        ),
        (["models"], ["NAME", "builtin:smollm2"]),
    ],
)
def test_help(arguments: list[str], said: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--help"])
    assert ended.value.code == 0
    printed, errors = capsys.readouterr()
    assert errors == ""
    for text in said:
        assert text in printed
    assert max(map(len, printed.splitlines())) <= 100


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"unlearn-guard {__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["chek"],
        ["compile"],
        ["compile", "p.yaml"],
        ["compile", "--out", "b"],
        ["compile", "p.yaml", "--out", "b", "--quite"],
        ["check"],
        ["check", "text"],
        ["check", "--bundle"],
        ["check", "--bun", "b", "text"],
        ["calibrate", "--bundle", "b", "--out", "c"],
        ["calibrate", "--bundle", "b", "--out", "c", "--traffic"],
        ["calibrate", "--bundle", "b", "--out", "c", "--traffic", "t", "--max-false", "0.1"],
        ["calibrate", "--bundle", "b", "--out", "c", "--traffic", "t", "more"],
        ["targets"],
        ["targets", "lst", "--bundle", "b"],
        ["targets", "list"],
        ["targets", "list", "--bundle", "b", "a"],
        ["targets", "add", "--bundle", "b"],
        ["targets", "add", "a", "--policy", "p"],
        ["targets", "remove", "--bundle", "b"],
        ["targets", "remove", "a", "--bundle", "b", "--policy", "p"],
        ["targets", "mode", "a", "--bundle", "b"],
        ["targets", "mode", "a", "on", "--bundle", "b"],
        ["admin", "--bundle", "b"],
        ["serve"],
        ["serve", "m"],
        ["models", "a", "b"],
    ],
)
def test_wrong_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    printed, errors = capsys.readouterr()
    assert printed == "" and "usage: guard" in errors and "Traceback" not in errors


@pytest.mark.parametrize("command", [["-m", "guard"], ["-m", "guard.cli"]])
def test_it_runs_as_a_module(command: list[str], tmp_path: Path) -> None:
    missing = str(tmp_path / "none")
    done = subprocess.run(
        [sys.executable, *command, "check", "--bundle", missing, "text"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == (
        f"guard: {missing}: no such folder; give the folder that `guard compile --out` wrote\n"
    )


# guard check


def test_json_is_one_documented_object_a_text(check: Check, bundle: Bundle) -> None:
    values = [json.loads(line) for line in check("--json", PERSON, SHADOW, HARMLESS, "")]
    assert len(values) == 4
    for value in values:
        assert list(value) == ["flagged", "targets", "action", "mode", "bundle"]
        assert value["bundle"] == bundle.version
        for target in value["targets"]:
            assert list(target) == ["id", "score", "threshold", "detector"]
            assert target["score"] >= target["threshold"]
    person, shadow, harmless, nothing = values
    assert person["flagged"] and [t["id"] for t in person["targets"]] == ["brennick"]
    assert (person["action"], person["mode"]) == ("refuse", "enforce")
    assert (shadow["flagged"], shadow["action"], shadow["mode"]) == (True, "allow", "shadow")
    for value in (harmless, nothing):
        assert (value["flagged"], value["targets"]) == (False, [])
        assert (value["action"], value["mode"]) == ("allow", None)


def test_without_json_it_is_a_line_for_people(check: Check) -> None:
    person, shadow, harmless, long = check(PERSON, SHADOW, HARMLESS, "egg " * 50)
    assert person.startswith(f"refuse   {PERSON}  ← brennick (lexical 1.000 ≥ ")
    assert person.endswith(", enforce)")
    assert shadow.startswith("allow") and "tidewater" in shadow and "shadow" in shadow
    assert harmless == f"allow    {HARMLESS}"
    assert len(long) < 80 and long.endswith("…")


def test_texts_may_look_like_anything(check: Check) -> None:
    assert len(check("--json", "--", "--json", "-x", "--bundle")) == 3
    assert check("two\nlines\tand \x1b[31m red") == ["allow    two lines and  [31m red"]


def test_standard_input_gives_a_text_a_line(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    give(monkeypatch, f"{PERSON}\n\n  \n{HARMLESS}\r\n{SHADOW}".encode())
    assert [json.loads(line)["flagged"] for line in check("--json")] == [True, False, True]


def test_only_a_line_break_ends_a_line(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else answers could not be counted off against the lines that went in."""
    give(monkeypatch, "one\x0btwo\x0cthree\x1cfour\x85five\u2028six\n".encode())
    assert len(check("--json")) == 1


def test_a_byte_order_mark_is_no_part_of_a_text(
    check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    give(monkeypatch, b"\xef\xbb\xbf" + HARMLESS.encode() + b"\n")
    assert check() == [f"allow    {HARMLESS}"]


def test_empty_standard_input_has_nothing_to_decide(
    check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    for raw in (b"", b"\n\n"):
        give(monkeypatch, raw)
        assert check("--json") == []


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(list(arguments)) == 2
    printed, errors = capsys.readouterr()
    assert printed == ""
    assert errors.startswith("guard: ") and errors.count("\n") == 1
    return errors


def test_standard_input_that_is_no_text(
    bundle: Bundle, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    give(monkeypatch, b"Who is Andr\xe9?\n")
    message = refused(capsys, "check", "--bundle", str(bundle.path))
    assert "standard input is not UTF-8" in message


@pytest.mark.parametrize("text", ["Who is Andr\udce9?", f"{PERSON} \udce9"])
@pytest.mark.parametrize("form", [["--json"], []])
def test_an_argument_that_is_no_text(
    bundle: Bundle, capsys: pytest.CaptureFixture[str], text: str, form: list[str]
) -> None:
    """Python hands on bytes that are not UTF-8 as lone surrogates."""
    message = refused(capsys, "check", "--bundle", str(bundle.path), *form, text)
    assert "not UTF-8" in message


@pytest.mark.parametrize("case", ["nothing", "a file", "a folder", "damaged"])
def test_a_bundle_that_is_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], case: str
) -> None:
    path = tmp_path / "bundle"
    if case == "a file":
        path.touch()
    elif case != "nothing":
        path.mkdir()
        if case == "damaged":
            (path / "manifest.json").write_text("{")
    message = refused(capsys, "check", "--bundle", str(path), "text")
    assert str(path) in message


def test_a_pipe_that_is_closed_is_no_error(bundle: Bundle) -> None:
    """``guard check … | head -1``"""
    code = "import sys; from guard.cli import main; sys.exit(main(sys.argv[1:]))"
    texts = [PERSON] * 5000
    with subprocess.Popen(
        [sys.executable, "-c", code, "check", "--bundle", str(bundle.path), "--json", *texts],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None and child.stderr is not None
        assert json.loads(child.stdout.readline())["flagged"]
        child.stdout.close()
        errors = child.stderr.read()
    assert child.returncode == 141
    assert errors == ""


@pytest.mark.parametrize(
    "command",
    [
        ["guard.cli", "models"],
        ["adapters", "objectives"],
        ["benchmarks", "leakage", "--list"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["at the end", "as it prints"])
def test_nobody_reads_what_is_listed(command: list[str], unbuffered: str) -> None:
    """What is short is written only as the interpreter ends: that too is no error."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        child = subprocess.run(
            [sys.executable, "-m", *command],
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
            check=False,
        )
    finally:
        os.close(writing)
    assert (child.returncode, child.stderr) == (141, "")


def test_an_interrupt_is_no_traceback(
    bundle: Bundle, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("guard.guard.Guard.decide", interrupt)
    assert main(["check", "--bundle", str(bundle.path), "text"]) == 130
    assert capsys.readouterr() == ("", "")


# guard models


def test_models_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    printed = capsys.readouterr().out
    assert "builtin:smollm2" in printed and "builtin:minilm" in printed


@pytest.mark.parametrize("name", ["minilm", "builtin:minilm"])
def test_a_model_is_prepared(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", name]) == 0
    assert (Path(capsys.readouterr().out.strip()) / "config.json").is_file()


def test_an_unknown_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert "did you mean 'builtin:smollm2'" in refused(capsys, "models", "smollm")


# guard compile and guard targets: what goes wrong before anything is made.


@pytest.mark.parametrize("where", ["a folder", "under a file"])
def test_a_report_that_cannot_be_written_is_refused_first(
    tmp_path: Path, policy_folder: Path, capsys: pytest.CaptureFixture[str], where: str
) -> None:
    """Not after the minutes that a compilation may take."""
    (tmp_path / "file").touch()
    page = tmp_path if where == "a folder" else tmp_path / "file" / "page.html"
    policy, out = policy_folder / "policy.yaml", tmp_path / "out"
    message = refused(capsys, "compile", str(policy), "--out", str(out), "--report", str(page))
    assert message.startswith(f"guard: {page if where == 'a folder' else page.parent}: ")
    assert not out.exists()


def test_targets_are_listed(bundle: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["targets", "list", "--bundle", str(bundle.path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:3] for line in lines] == [
        ["brennick", "enforce", "refuse"],
        ["vessmere", "enforce", "corrupt"],
        ["tidewater", "shadow", "refuse"],
    ]
    assert max(map(len, lines)) <= 140
    assert not any("Brennick" in line or "Odalys" in line for line in lines)
