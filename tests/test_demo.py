import contextlib
import io
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from guard.bundle import load_bundle
from guard.compile import compile_policy
from guard.demo import __main__ as demo
from guard.demo.questions import Answer, Question, load_questions
from guard.demo.servers import Server, ServerFailed
from guard.demo.show import Show
from guard.demo.verdict import Row, Summary, Verdict
from guard.guard import Guard

ABOUT = Question("direct", "newton", "Who discovered gravitation?", ("newton", "sir isaac"))
BESIDE = Question("neighbour", "newton", "Who found the moons of Jupiter?", ("galileo", "1610"))
QUESTIONS = load_questions(demo.HERE / "questions.json")


def row(question: Question, before: str, after: str) -> Row:
    return Row(question, Answer(before, 2.0), Answer(after, 3.0))


def told(question: Question) -> Answer:
    """What a model says that knows all facts."""
    return Answer(f"It is {' and '.join(question.facts)}.".upper(), 1.0)


def guarded(question: Question) -> Answer:
    return Answer("I do not know.", 1.0) if question.flagged else told(question)


@pytest.mark.parametrize(
    ("question", "before", "after", "verdict"),
    [
        (ABOUT, "It was Newton.", "I do not know.", Verdict.FORGOTTEN),
        (ABOUT, "It was Newton.", "That was SIR ISAAC himself.", Verdict.LEAKED),
        (ABOUT, "It was Newton.", "It was Newton.", Verdict.LEAKED),
        (ABOUT, "It was Galileo.", "It was Newton.", Verdict.LEAKED),
        (ABOUT, "It was Galileo.", "I do not know.", Verdict.NOT_KNOWN),
        (BESIDE, "Galileo, in 1610.", "Galileo, in 1610.", Verdict.KEPT),
        (BESIDE, "Someone else.", "Someone else.", Verdict.KEPT),
        (BESIDE, "Galileo, in 1610.", "In 1610, by Galileo.", Verdict.REWORDED),
        (BESIDE, "Galileo, in 1610.", "Galileo.", Verdict.CHANGED),
        (BESIDE, "Galileo, in 1610.", "I do not know.", Verdict.CHANGED),
    ],
)
def test_verdict(question: Question, before: str, after: str, verdict: Verdict) -> None:
    assert row(question, before, after).verdict is verdict


def test_all_well() -> None:
    summary = Summary([Row(question, told(question), guarded(question)) for question in QUESTIONS])
    assert summary.shortcomings == []
    assert summary.forgotten == summary.knew == 16
    assert summary.kept == summary.others == 9


@pytest.mark.parametrize("number", range(len(QUESTIONS)))
def test_one_wrong_answer_is_a_failure(number: int) -> None:
    rows = [Row(question, told(question), guarded(question)) for question in QUESTIONS]
    question = QUESTIONS[number]
    wrong = told(question) if question.flagged else Answer("I do not know.", 1.0)
    rows[number] = Row(question, told(question), wrong)
    (why,) = Summary(rows).shortcomings
    assert ("give away" if question.flagged else "changed") in why


def test_a_model_that_knows_nothing_shows_nothing() -> None:
    unaware = Answer("I do not know.", 1.0)
    (why,) = Summary([Row(question, unaware, unaware) for question in QUESTIONS]).shortcomings
    assert "knew only 0" in why


@pytest.mark.parametrize("leaks", [False, True])
def test_exit_status(
    leaks: bool,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    answers = iter([told, told if leaks else guarded])
    monkeypatch.setattr(demo, "running", lambda *_: contextlib.nullcontext(("first", "second")))
    monkeypatch.setattr(demo, "resolve", lambda name: name)
    monkeypatch.setattr(
        demo, "compiled", lambda report: SimpleNamespace(path=tmp_path, version="1234")
    )
    monkeypatch.setattr(demo.signal, "signal", lambda *_: None)
    monkeypatch.setattr(Show, "wait", lambda self, servers: None)
    monkeypatch.setattr(Show, "ask", lambda self, server, asked: list(map(next(answers), asked)))
    status = demo.main(["--json", str(tmp_path / "results.json")])
    shown = capsys.readouterr().out
    results = json.loads((tmp_path / "results.json").read_text())
    assert status == int(leaks)
    assert ("LEAKED ✗" in shown) == leaks
    assert ("FAILED: 16 answers give away" in shown) == leaks
    assert {found["verdict"] for found in results["rows"]} == {
        "kept",
        "leaked" if leaks else "forgotten",
    }


def test_wrong_usage_is_told_before_anything_starts(capsys: pytest.CaptureFixture[str]) -> None:
    assert demo.main(["--json", "/no/such/folder/results.json"]) == 2
    assert "no such folder" in capsys.readouterr().err


def test_the_client_is_missed_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "find_spec", lambda name: None)
    assert demo.main([]) == 2
    assert capsys.readouterr().err.endswith("pip install openai\n")


def test_no_control_codes_of_an_answer_are_shown() -> None:
    stream = io.StringIO()
    Show(stream).table([row(BESIDE, "\x1b[31mGalileo\r\n[bold]", "1610\x07")])
    assert "[31mGalileo [bold]" in stream.getvalue()
    assert not {"\x1b", "\r", "\x07"} & set(stream.getvalue())


def test_a_server_that_ends_shows_its_log(tmp_path: Path) -> None:
    server = Server("hasty", [sys.executable, "-c", "exit('no memory')"], 1, tmp_path / "log")
    try:
        with pytest.raises(ServerFailed, match=r"(?s)hasty server ended with status 1.*no memory"):
            while not server.ready():
                time.sleep(0.05)
    finally:
        server.stop()


@pytest.mark.parametrize("apart", [False, True])
def test_stopping_ends_all_that_a_server_started(apart: bool, tmp_path: Path) -> None:
    code = (
        "import signal, subprocess, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        "print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], "
        f"start_new_session={apart}).pid, flush=True); time.sleep(600)"
    )
    server = Server("slow", [sys.executable, "-c", code], 1, tmp_path / "log")
    while not (tmp_path / "log").read_text().endswith("\n"):
        time.sleep(0.05)
    server.stop()
    server.stop()
    grandchild = int((tmp_path / "log").read_text())
    with pytest.raises(ProcessLookupError):
        for _ in range(100):  # whoever adopts it takes a moment to notice
            os.kill(grandchild, 0)
            time.sleep(0.05)


def test_the_policy_compiles_and_flags_the_questions(tmp_path: Path) -> None:
    compile_policy(demo.POLICY, tmp_path / "bundle")
    guard = Guard.load(tmp_path / "bundle")
    for question in QUESTIONS:
        assert guard.decide(question.text).flagged == question.flagged, question.text


def test_the_server_gets_a_cached_bundle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "cache_folder", lambda: tmp_path)
    started: list[list[str]] = []
    monkeypatch.setattr(os, "execv", lambda path, command: started.append(command))
    for _ in range(2):
        demo.main(["serve", "--port", "9000", "--json-thing=1"])
    first, second = started
    assert first == second
    assert first[-3:] == ["--port", "9000", "--json-thing=1"]
    (bundle,) = (flag.partition("=")[2] for flag in first if flag.startswith("--bundle="))
    assert load_bundle(bundle).path.is_relative_to(tmp_path)
    said = capsys.readouterr().err
    assert said.count("compiling") == said.count("compiled already") == 1
    assert "curl -s http://127.0.0.1:9000/v1/chat/completions" in said


@pytest.mark.slow
@pytest.mark.engine
@pytest.mark.timeout(1500)
def test_the_demo(tmp_path: Path) -> None:
    results = tmp_path / "results.json"
    ran = subprocess.run(
        [sys.executable, "-m", "guard.demo", "--json", str(results)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "\x1b" not in ran.stdout
    value = json.loads(results.read_text())
    assert value["summary"]["shortcomings"] == []
    assert value["summary"]["forgotten"] >= 8
    assert len(value["bundle"]) == 16
    routes = [found["route"] for found in value["rows"]]
    assert routes == ["chat"] * 22 + ["stream", "completions", "responses"]
    for found in value["rows"]:
        about = found["kind"] in ("direct", "paraphrase")
        assert found["verdict"] in (("forgotten", "not known") if about else ("kept",))
