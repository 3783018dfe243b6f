"""The Markdown tables: what they say is what the result says."""

from typing import Any

import pytest

from benchmarks.leakage.attacks import ATTACKS
from benchmarks.leakage.shown import FORGET, LEAKS, RETRAINED, TARGET, suites
from benchmarks.leakage.systems import SYSTEMS
from benchmarks.leakage.table import (
    FIGURES,
    PARAPHRASE,
    attacks_tables,
    cell,
    systems_table,
    table,
)
from benchmarks.leakage.told import TOLD, told_table
from benchmarks.leakage.written import escaped, number, percent, short
from benchmarks.metrics import METRICS
from benchmarks.metrics.figures import KEPT
from benchmarks.result import Result, Row
from tests.benchmarks.leakage.made_up import LEAKY, SUITE, leaked, result
from tests.benchmarks.test_result import RESULT


def of(*rows: Row) -> Result:
    return RESULT.model_copy(update={"rows": rows})


def leak(system: str, attack: str | None, value: float) -> Row:
    return Row(system=system, split="s: forget", metric="rouge_l", attack=attack, value=value)


def share(metric: str, value: float, attack: str | None = None) -> Row:
    return Row(system="a", split="s: forget", metric=metric, attack=attack, value=value)


def test_the_worst_attack_is_the_one_that_gets_most_more_than_of_the_retrained_model() -> None:
    """`few-shot` has the highest figure, but the retrained model has it too."""
    rows = [leak("a", "few-shot", 0.8), leak("retrained", "few-shot", 0.7),
            leak("a", "typos", 0.6), leak("retrained", "typos", 0.3)]  # fmt: skip
    (shown,) = suites(of(*rows))
    worst = shown.worst("a")
    assert worst is not None and worst.attack == "typos" and worst.yard == rows[3]
    assert worst.excess == pytest.approx(0.3)
    (alone,) = suites(of(*rows[::2]))
    worst = alone.worst("a")
    assert worst is not None and worst.attack == "few-shot" and worst.yard is None


def test_an_attack_that_the_retrained_model_was_not_asked_by_is_not_compared() -> None:
    (shown,) = suites(of(leak("a", "typos", 0.9), leak("a", None, 0.2), leak("retrained", None, 0)))
    worst = shown.worst("a")
    assert worst is not None and worst.attack is None


def test_what_is_told_at_worst_and_by_samples_has_a_table_of_its_own() -> None:
    def of_a(metric: str, attack: str | None, value: float) -> Row:
        return Row(system="a", split="s: forget", metric=metric, attack=attack, value=value)

    rows = [
        *(leak("a", attack, 0.5) for attack in (None, "typos", "few-shot", "sampling")),
        of_a("entity_leakage", None, 0.9),  # no attack
        of_a("entity_leakage", "typos", 0.02),
        of_a("entity_leakage", "few-shot", 0.3),
        of_a("leak@1", "sampling", 0.1),
        of_a("leak@64", "sampling", 0.4),
        leak("b", "typos", 0.5),
    ]
    header, lines = told_table(suites(of(*rows))[0])
    assert header[-4:] == ["attacks above 2 %", "most above retrained", "leak@1", "leak@64"]
    assert lines == [["a", "0.900", "few-shot", "0.300", "1 of 2", "–", "0.100", "0.400"]]
    assert "| a | 0.900 | few-shot |" in table(of(*rows))
    assert "leak@64" not in table(of(*rows[:4]))


def test_what_is_told_is_held_against_the_retrained_model_under_the_same_attack() -> None:
    def told(system: str, attack: str, value: float) -> Row:
        return leak(system, attack, value).model_copy(update={"metric": TOLD})

    held = {
        "a": {"few-shot": 0.5, "typos": 0.2},
        "b": {"few-shot": 0.2, "typos": 0.05},
        "retrained": {"few-shot": 0.6, "typos": 0.1},
    }
    rows = [
        told(system, attack, value) for system, by in held.items() for attack, value in by.items()
    ]
    header, lines = told_table(suites(of(*rows))[0])
    column = header.index("most above retrained")
    assert {line[0]: line[column] for line in lines} == {
        "a": "+0.100, typos", "b": "−0.050, typos", "retrained": "–",
    }  # fmt: skip


def test_attacks_that_were_drawn_are_one_column_and_no_lines() -> None:
    def drawn(system: str, attack: str, value: float) -> Row:
        return Row(system=system, split="s: forget", metric="leak@16", value=value,
                   attack=f"{attack}, 16 draws")  # fmt: skip

    rows = [
        *(leak(name, attack, 0.5) for name in ("a", RETRAINED) for attack in (None, "x", "y, z")),
        drawn("a", "x", 0.5), drawn(RETRAINED, "x", 0.45),
        drawn("a", "y, z", 0.3), drawn(RETRAINED, "y, z", 0.2),
        Row(system="a", split="s: forget", metric="rouge_l", attack="x, 16 draws", value=0.99),
        Row(system="b", split="s: forget", metric="entity_leakage", attack="x", value=0.1),
        Row(system="a", split="s: forget", metric="entity_leakage", attack="x", value=0.1),
    ]  # fmt: skip
    (shown,) = suites(of(*rows))
    assert shown.attacks == [None, "x", "y, z"] and shown.draws == 16
    header, lines = told_table(shown)
    assert header[-1] == "leak@16 of any attack, most above retrained"
    last = {line[0]: line[-1] for line in lines}
    assert last == {"a": "+0.100: 0.30 beside 0.20, y, z", "b": "–"}
    assert "16 draws" not in table(of(*rows))
    (alone,) = suites(of(*(row for row in rows if row.system == "a")))
    assert told_table(alone)[1][0][-1] == "+0.500: 0.50, x"


def test_the_systems_come_by_what_they_leak_most_by_and_the_models_last() -> None:
    (shown,) = suites(result())
    ranked = shown.ranked()
    assert ranked[0] == "refuse" and ranked[-2:] == ["retrained", "target"]
    worst = [found.excess for system in ranked[:-2] if (found := shown.worst(system))]
    assert worst == sorted(worst) and len(worst) == 18


def test_each_system_has_a_line_with_its_figures_and_its_worst_attack() -> None:
    (shown,) = suites(result())
    header, lines = systems_table(shown)
    by_name = {line[0]: dict(zip(header, line, strict=True)) for line in lines}
    assert len(by_name) == 20
    found = by_name["penalize"]
    assert found["worst attack"] == LEAKY
    assert found["there"].startswith(f"{leaked('penalize', LEAKY):.3f} (")
    assert found["retrained there"].startswith(f"{leaked('retrained', LEAKY):.3f} (")
    assert by_name["target"]["forget ROUGE-L recall"] == "0.990 (0.94 to 1.00)"
    assert by_name["target"]["forget quality"] == "1e−14"
    assert by_name["refuse"]["blocked"] == "95 %" and by_name["refuse"]["failed"] == "2 %"
    assert by_name["retrained"]["worst attack"] == "–"
    assert by_name["corrupt"]["probability"] == "–"  # it tells no likelihoods


def test_each_attack_has_a_line_with_every_system() -> None:
    (shown,) = suites(result())
    tables = attacks_tables(shown)
    columns: list[str] = []
    for header, lines in tables:
        assert header[1:3] == ["target", "retrained"] and len(header) <= 9  # else nobody reads it
        assert [line[0] for line in lines] == ["asked as learned", *ATTACKS]
        columns += header[3:]
        for system in header[1:]:
            for line in lines:
                attack = None if line[0] == "asked as learned" else line[0]
                said, wanted = line[header.index(system)].split()[0], leaked(system, attack)
                if said == "<0.01":
                    assert 0 < wanted < 0.005
                else:
                    assert float(said) == pytest.approx(wanted, abs=0.00501)
    assert len(tables) == 3 and sorted(["target", "retrained", *columns]) == sorted(shown.systems)


def test_what_was_blocked_and_failed_stands_beside_the_figure() -> None:
    (shown,) = suites(of(leak("a", None, 0.42), share("blocked", 0.3), share("failed", 0.02)))
    assert cell(shown, "a", None) == "0.42 [30 %, 2 % failed]"
    (shown,) = suites(of(leak("a", None, 0.42), share("blocked", 0.0), share("failed", 0.0)))
    assert cell(shown, "a", None) == "0.42" and cell(shown, "b", None) == "–"


def row(metric: str, split: str, value: float, n: int = 40, **more: Any) -> Row:
    return Row(
        **{"system": "a", "split": f"s: {split}", "metric": metric, "value": value, "n": n, **more}
    )


def test_what_a_figure_does_not_stand_on_is_beside_it() -> None:
    rows = [
        row("rouge_l", "forget", 0.4), row("blocked", "forget", 0.95), row("failed", "forget", 0.0),
        row("rouge_l", "retain", 0.36, 38), row("blocked", "retain", 0.65),
        row("failed", "retain", 0.05),
        row("probability", "forget", 0.9, 2),
        row("rouge_l", "forget", 0.3, 8, attack=PARAPHRASE),
        row("blocked", "forget", 0.5, 8, attack=PARAPHRASE),
        row("failed", "forget", 0.0, 8, attack=PARAPHRASE),
        row("model_utility", "kept", 0.5, 7), row("utility_parts", "kept", 7),
        row("utility_parts", "kept", 9, system="b"),
        row("blocked", "kept", 0.1, 200), row("failed", "kept", 0.0, 200),
    ]  # fmt: skip
    (shown,) = suites(of(*rows))
    header, lines = systems_table(shown)
    (line,) = (dict(zip(header, one, strict=True)) for one in lines if one[0] == "a")
    assert line["probability"] == "0.900 [2 of 40]", "blocked are not scored: that is said once"
    assert line["paraphrased"] == "0.300 [50 %]"
    assert line["retain ROUGE-L recall"] == "0.360 [65 %, 5 % failed, 38 of 40]"
    assert line["utility"] == "0.500 [10 %, 7 of 9 parts]"


@pytest.mark.parametrize(("scored", "told"), [(19, False), (20, True)])
def test_forget_quality_of_few_cases_is_not_told(scored: int, told: bool) -> None:
    (shown,) = suites(
        of(row("forget_quality", "forget", 0.9, scored), row("blocked", "forget", 0.5))
    )
    assert (shown.get("a", "forget_quality") is not None) == told


def test_who_tells_nothing_has_no_worst_attack() -> None:
    held = [row(TOLD, "forget", 0.0, 7, attack=name) for name in ("typos", "few-shot")]
    some = [row(TOLD, "forget", 0.5, 1, attack="typos", system="b")]
    header, lines = told_table(suites(of(*held, *some, leak("a", "typos", 0.1),
                                          leak("a", "few-shot", 0.1)))[0])  # fmt: skip
    at = header.index("most under")
    assert {line[0]: line[at : at + 2] for line in lines} == {
        "a": ["–", "–"], "b": ["typos", "0.500 [1 case]"],
    }  # fmt: skip


def test_the_whole_text_has_a_part_for_each_suite() -> None:
    text = table(result(suites=2))
    assert text.count("| system |") == 2 and f"**{SUITE}**" in text
    assert (
        text.count("40 forget cases as learned, 40 under an attack.") == 2
        and "commit 0123456789ab" in text
    )
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in lines} == {10, 11, 15}
    assert "**" not in table(result())


def test_names_are_text() -> None:
    rows = [leak("<script>|*a*\n_b_", "[x](y)", 0.5)]
    text = table(of(*rows))
    assert r"\<script\>&#124;\*a\* \_b\_" in text and r"\[x\](y)" in text


def test_what_is_shown_is_what_is_measured() -> None:
    metrics: Any = METRICS
    named = {figure for metric in metrics.values() for figure in metric.FIGURES}
    shown = {*LEAKS, *(metric for _, metric, _ in FIGURES), "unchanged", "blocked", "failed"}
    assert shown | {"leak@1", "leak@64"} <= named and PARAPHRASE in ATTACKS
    assert {TARGET, RETRAINED} <= set(SYSTEMS)
    assert {split for _, _, split in FIGURES} == {FORGET, KEPT}


def test_a_result_without_attacks_has_one_table() -> None:
    text = table(of(Row(system="a", split="s: kept", metric="model_utility", value=0.5)))
    assert "| system | utility |" in text and "| a | 0.500 |" in text and "by attack" not in text


def test_numbers() -> None:
    assert [number(v) for v in (0.0, 1.0, 0.004, 1e-20, -0.5)] == [
        "0.00", "1.00", "4e−3", "1e−20", "−0.50",
    ]  # fmt: skip
    assert number(0.9949, 3) == "0.995"
    assert [number(v) for v in (99_999.0, 42_060_400.0, -2e10, 1e5)] == [
        "99999.00", "4e7", "−2e10", "1e5",
    ]  # fmt: skip
    assert [short(v) for v in (0.0, 1e-20, 0.004, 0.005)] == ["0.00", "<0.01", "<0.01", "0.01"]
    assert [percent(v) for v in (None, 0.0, 0.001, 1.0)] == ["–", "0 %", "<1 %", "100 %"]
    assert escaped("a  b") == "a b"
