"""What a plain and a guarded server are asked, in turns, and what is noticed of the answers."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks import turns
from benchmarks.load import Load
from benchmarks.prompts import Prompts
from benchmarks.turns import FULL, SYSTEMS, Case, Size, Turn, blocks, take_turns
from guard.view import View
from tests.benchmarks.turns import Marking, load_of


def test_prompts_are_new_and_decided_as_planned() -> None:
    guard: Any = Marking()
    prompts = Prompts(guard, 0)
    blocks = [prompts.block(30, 3) for _ in range(20)]  # more than there are texts
    assert Prompts(guard, 0).block(30, 3) == blocks[0]
    assert Prompts(guard, 1).block(30, 3) != blocks[0]
    windows = {w.text for block in blocks for p in block for w in View.of_text(p).windows}
    views = [View.of_text(prompt).windows for block in blocks for prompt in block]
    assert len(windows) == sum(len({w.text for w in view}) for view in views)
    for block in blocks:
        actions = [guard.decide(prompt).action for prompt in block]
        assert (actions.count("corrupt"), actions.count("allow")) == (3, 27)
        assert all("corrupt" in actions[start : start + 10] for start in (0, 10, 20))
    assert "corrupt" not in map(lambda p: guard.decide(p).action, prompts.block(10, 0))


def test_every_case_has_as_many_flagged_prompts_as_it_says() -> None:
    guard: Any = Marking()
    for case, prompts in blocks(Prompts(guard, 0), FULL):
        flagged = sum(guard.decide(prompt).action == "corrupt" for prompt in prompts)
        assert 100 * flagged == case.percent * len(prompts)
        assert len(prompts) >= case.concurrency
        assert all(len(prompt.split()) >= 4 for prompt in prompts)


def take(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str, percent: int, short: int, log: str
) -> list[Turn]:
    """Takes one pair of turns; the guarded server logs something, and gives short answers."""
    servers = []
    for name in SYSTEMS:
        path = tmp_path / f"{name}.log"
        path.write_text("")
        servers.append(SimpleNamespace(name=name, url=name, log=path, ready=lambda: True))

    class Running:
        def __enter__(self) -> Any:
            return servers

        def __exit__(self, *_: object) -> None:
            pass

    class Asking:
        def load(self, url: str, name: str, folder: str, prompts: list[str], *_: int) -> Load:
            if url == "plain":
                return load_of(1, 0.1)
            changed = 1 if len(prompts) == 10 else percent * len(prompts) // 100
            with (tmp_path / "guarded.log").open("a") as file:
                file.write(log * changed)
            return Load(load_of(1, 0.1).figures, len(prompts), min(short, changed))

    monkeypatch.setattr(turns, "running", lambda *_: Running())
    intervention = SimpleNamespace(kind=kind)
    target = SimpleNamespace(interventions=[intervention])
    bundle: Any = SimpleNamespace(path=tmp_path, manifest=SimpleNamespace(targets=[target]))
    client: Any = Asking()
    asked = [(Case(8, percent), ["prompt"] * 20)]
    size = Size("quick", 1, {8: 20}, 4, None)
    return take_turns(bundle, client, ["first"] * 10, asked, size, lambda _: None)


LOG = "INFO guard: request 1: {} (targets shakespeare)\n"


@pytest.mark.parametrize(
    ("kind", "percent", "short", "log", "misjudged"),
    [
        ("corrupt", 10, 0, LOG.format("corrupt"), 0),
        ("refuse", 10, 2, LOG.format("refuse"), 0),  # a refusal is as long as it is
        ("corrupt", 10, 2, LOG.format("corrupt"), 1),  # a model's own answer is not
        ("corrupt", 10, 0, LOG.format("shadow"), 1),
        ("corrupt", 10, 0, "", 1),
    ],
)
def test_turns_notice_what_was_treated_otherwise(
    kind: str, percent: int, short: int, log: str, misjudged: int,
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
) -> None:  # fmt: skip
    """When it shows in the warm-up, whose one flagged prompt in ten is that of all."""
    plain, guarded = take(monkeypatch, tmp_path, kind, percent, short, log)
    assert plain.misjudged == 0 and guarded.misjudged == misjudged
    assert (guarded.case.concurrency, guarded.system) == (8, "guarded")
    assert guarded.done.answered == (10 if misjudged else 20)


@pytest.mark.parametrize(("kind", "timed"), [("refuse", False), ("corrupt", True)])
def test_refusals_alone_have_no_time_between_tokens(
    kind: str, timed: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _, guarded = take(monkeypatch, tmp_path, kind, 100, 0, LOG.format(kind))
    assert guarded.misjudged == 0 and ("itl" in guarded.done.figures) == timed
