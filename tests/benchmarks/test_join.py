"""Joining the parts of a long benchmark."""

from pathlib import Path

import pytest

from adapters.objectives import OBJECTIVES
from benchmarks.__main__ import main
from benchmarks.join import SOME, join
from benchmarks.leakage import command as leakage
from benchmarks.leakage.attacks import ATTACKS
from benchmarks.leakage.systems import ENDPOINT, SYSTEMS
from benchmarks.objectives import CONTRAST, PARTS, RETRAIN, RETRAINED, TARGET, extent
from benchmarks.result import Machine, Result, Row, read, write
from benchmarks.table import setting
from guard.errors import GuardError


def part(commit: str, cpu: str = "A CPU", suite: str = "full: part", **values: float) -> Result:
    """A result with a figure of each system."""
    return Result(
        benchmark="objectives",
        suite=suite,
        rows=tuple(
            Row(system=s, split="tofu-mini", metric="forget", value=v) for s, v in values.items()
        ),
        commit=commit,
        machine=Machine(cpu=cpu, cores=2, memory_gib=23.5),
        versions={"torch": "2.0"},
        seed=0,
        seconds=10,
    )


@pytest.fixture
def parts(tmp_path: Path) -> list[Path]:
    made = [
        part("aaa", target=0.99, ga=0.0),
        part("bbb", "Another", target=0.985, npo=0.3, kl=0.2),
    ]
    paths = [tmp_path / f"{n}.json" for n in range(2)]
    for result, path in zip(made, paths, strict=True):
        write(result, path)
    return paths


def test_what_a_reader_should_know_of_a_part_is_kept(parts: list[Path]) -> None:
    for path, notes in zip(parts, (("all", "first"), ("all", "second")), strict=True):
        write(read(path).model_copy(update={"notes": notes}), path)
    assert join(parts, lambda result: "full").notes == ("all", "first", "second")


def test_each_figure_says_which_run_it_is_of(parts: list[Path]) -> None:
    found = join(parts, lambda result: "full" if len(result.rows) == 4 else "less")
    assert {row.system: row.value for row in found.rows} == {
        "target": 0.99, "ga": 0.0, "npo": 0.3, "kl": 0.2,
    }  # fmt: skip
    assert [(p.systems, p.commit, p.machine.cpu) for p in found.parts] == [
        (("target", "ga"), "aaa", "A CPU"),
        (("npo", "kl"), "bbb", "Another"),
    ]
    assert (found.suite, found.seconds) == ("full", 20)
    said = setting(found)
    assert "target, ga: 2 cores of A CPU" in said and "npo, kl: 2 cores of Another" in said
    assert "commit aaa" in said and "commit bbb" in said


def test_parts_of_one_setting_are_said_once(tmp_path: Path) -> None:
    for number, name in enumerate(("ga", "npo")):
        result = part("aaa", target=0.99, **{name: 0.5})
        alone = result.machine.model_copy(update={"cores": 1})
        write(result.model_copy(update={"machine": alone}), tmp_path / f"{number}.json")
    said = setting(join([tmp_path / "0.json", tmp_path / "1.json"], extent))
    assert said == "target, ga, npo: 1 core of A CPU, 23.5 GiB, torch 2.0, commit aaa."


def test_where_something_is_missing_it_stays_a_part(parts: list[Path]) -> None:
    assert join(parts, lambda result: result.suite).suite == "full: part"


def test_what_was_joined_is_joined_again(parts: list[Path], tmp_path: Path) -> None:
    write(join(parts, extent), tmp_path / "both.json")
    write(part("ccc", target=0.99, rmu=0.5), tmp_path / "more.json")
    found = join([tmp_path / "both.json", tmp_path / "more.json"], extent)
    assert [p.systems for p in found.parts] == [("target", "ga"), ("npo", "kl"), ("rmu",)]
    write(found, tmp_path / "all.json")
    assert read(tmp_path / "all.json") == found


def asked(commit: str, *attacks: str, **values: float) -> Result:
    """A result of which every system was attacked so as well."""
    made = part(commit, **values)
    more = [row.model_copy(update={"attack": a}) for a in attacks for row in made.rows]
    return made.model_copy(update={"rows": (*made.rows, *more)})


def test_attacks_on_what_is_there_are_added(tmp_path: Path) -> None:
    made = [
        asked("aaa", "paraphrase", target=0.9, ga=0.1),
        asked("bbb", "base64", target=0.9, ga=0.1, npo=0.2),
        asked("ccc", "paraphrase", "turns", "rot13", target=0.9),
    ]
    paths = [tmp_path / f"{n}.json" for n in range(3)]
    for result, path in zip(made, paths, strict=True):
        write(result, path)
    every = [
        (("target", "ga"), None, "aaa"),
        (("npo",), None, "bbb"),
        (("target", "ga"), ("base64",), "bbb"),
        ((), None, "ccc"),
        (("target",), ("turns", "rot13"), "ccc"),
    ]
    found = join(paths, extent)
    assert [(p.systems, p.attacks, p.commit) for p in found.parts] == every
    assert {row.attack for row in found.rows if row.system == "target"} == {
        None, "paraphrase", "base64", "turns", "rot13",
    }  # fmt: skip
    said = setting(found)
    assert "npo, target under 1 attack, ga under 1 attack: 2 cores of A CPU" in said
    assert "target under 2 attacks: 2 cores" in said
    write(join(paths[:2], extent), both := tmp_path / "both.json")
    assert [(p.systems, p.attacks, p.commit) for p in join([both, paths[2]], extent).parts] == every
    assert [p for p in join([both, both], extent).parts if p.attacks] == [found.parts[2]]  # once
    first = join([paths[2], both], extent)  # what was joined may come later, too
    assert [(p.systems, p.attacks, p.commit) for p in first.parts] == [
        (("target",), None, "ccc"), (("ga",), None, "aaa"),
        (("npo",), None, "bbb"), (("ga",), ("base64",), "bbb"), (("target",), ("base64",), "bbb"),
    ]  # fmt: skip
    assert {(r.system, r.attack) for r in first.rows} == {(r.system, r.attack) for r in found.rows}


def test_what_has_all_systems_is_joined_with_more_attacks(tmp_path: Path) -> None:
    """The whole of a scope says nothing of missing systems any more; a part of that scope does."""
    whole = asked("aaa", "paraphrase", target=0.9, ga=0.1)
    drawn = asked("bbb", "paraphrase, 16 draws", target=0.9)
    scope = "attacks on at most 8 cases of a split"
    write(whole.model_copy(update={"suite": f"part: {scope}"}), tmp_path / "0.json")
    for told in (f"{SOME}; {scope}", scope):
        write(drawn.model_copy(update={"suite": f"part: {told}"}), tmp_path / "1.json")
        found = join([tmp_path / "0.json", tmp_path / "1.json"], extent)
        assert "paraphrase, 16 draws" in {row.attack for row in found.rows}
    for told in (SOME, f"{SOME}; attacks on at most 16 cases of a split"):
        write(drawn.model_copy(update={"suite": f"part: {told}"}), tmp_path / "1.json")
        with pytest.raises(GuardError, match=r"1\.json: suite: is 'part: some systems"):
            join([tmp_path / "0.json", tmp_path / "1.json"], extent)


def test_systems_whose_names_hold_a_comma_are_told_apart(tmp_path: Path) -> None:
    result = part("aaa", target=0.99, **{"adapter, int8": 0.5})
    write(result, tmp_path / "0.json")
    assert setting(join([tmp_path / "0.json"], extent)).startswith("target; adapter, int8: 2 cores")


def test_what_was_asked_as_it_is_is_no_attack_more(tmp_path: Path) -> None:
    whole = asked("aaa", "paraphrase", target=0.9)
    write(whole.model_copy(update={"rows": whole.rows[1:]}), tmp_path / "0.json")
    write(whole, tmp_path / "1.json")
    with pytest.raises(GuardError, match="differs from earlier parts"):
        join([tmp_path / "0.json", tmp_path / "1.json"], extent)


def test_an_attack_that_was_measured_is_not_measured_otherwise(tmp_path: Path) -> None:
    """Neither another value of it nor another figure is taken from a later part."""
    held = asked("aaa", "paraphrase", target=0.9)
    for change in ({"value": 0.5}, {"metric": "another"}):
        rows = (*held.rows[:-1], held.rows[-1].model_copy(update=change))
        write(held, tmp_path / "0.json")
        write(held.model_copy(update={"rows": rows}), tmp_path / "1.json")
        with pytest.raises(GuardError, match=r"1\.json: target: .*: differs from earlier parts"):
            join([tmp_path / "0.json", tmp_path / "1.json"], extent)


@pytest.mark.parametrize(("value", "fits"), [(808.0, True), (790.0, False)])
def test_large_figures_are_alike_by_their_size(value: float, fits: bool, tmp_path: Path) -> None:
    write(part("aaa", target=815.0), tmp_path / "0.json")
    write(part("bbb", target=value), tmp_path / "1.json")
    paths = [tmp_path / "0.json", tmp_path / "1.json"]
    if fits:
        assert join(paths, extent).rows[0].value == 815
    else:
        with pytest.raises(GuardError, match="differs from earlier parts"):
            join(paths, extent)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (part("ccc", target=0.9, rmu=0.5), "target: forget: differs from earlier parts"),
        (part("ccc", suite="quick", target=0.99), "suite: is a quick run; give parts of a full"),
        (part("ccc", suite="full: another part"), "suite: is 'full: another part'; .*0.json is"),
        (part("ccc", target=0.99).model_copy(update={"seed": 1}), "seed: is not that of"),
        (
            part("ccc", target=0.99).model_copy(update={"benchmark": "leakage"}),
            "benchmark: is not that of",
        ),
    ],
)
def test_what_does_not_belong_together_is_not_joined(
    other: Result, message: str, parts: list[Path], tmp_path: Path
) -> None:
    write(other, tmp_path / "other.json")
    with pytest.raises(GuardError, match=f"other.json: {message}"):
        join([*parts, tmp_path / "other.json"], extent)


def test_the_command(parts: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "joined.json"
    assert main(["join", *map(str, parts), "--out", str(out)]) == 0
    assert read(out).suite == "full: part"
    assert "| npo | 0.300 |" in capsys.readouterr().out
    assert main(["join", str(tmp_path / "none.json"), "--out", str(out)]) == 2
    assert "none.json: no such result" in capsys.readouterr().err


def test_all_objectives_are_the_whole() -> None:
    every = {TARGET, RETRAINED, CONTRAST, RETRAIN, *OBJECTIVES.kinds()} - {*PARTS}
    assert extent(part("a", **dict.fromkeys(every, 0.5))) == "full"
    for name in ("npo", RETRAIN, RETRAINED):
        assert extent(part("a", **dict.fromkeys(every - {name}, 0.5))) == "full: part"


def test_all_systems_under_all_attacks_are_the_whole() -> None:
    some = f"part: {SOME}"
    every = tuple(
        Row(system=system, attack=attack, split="s: forget", metric="rouge_l", value=0.1)
        for system in SYSTEMS
        for attack in (None, *ATTACKS)
        if system != ENDPOINT
    )
    made = part("a", suite=some).model_copy(update={"rows": every})
    assert leakage.extent(made) == "full"
    for less in (every[:-1], tuple(row for row in every if row.system != "retrained")):
        assert leakage.extent(made.model_copy(update={"rows": less})) == some
    few = f"{some}; attacks on at most 8 cases of a split"
    made = made.model_copy(update={"suite": few})
    assert leakage.extent(made) == "part: attacks on at most 8 cases of a split"
    assert leakage.extent(made.model_copy(update={"rows": every[:-1]})) == few
