"""Invented contracts hang together, and the same seed gives the same ones."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.leakage import protocol
from benchmarks.leakage.case import Source
from benchmarks.leakage.suites.connected import load
from benchmarks.leakage.suites.connected_rows import main, rows
from benchmarks.leakage.suites.contracts import COMPANIES, FORGOTTEN, Companies, make
from guard.errors import DataError

SEEDS = st.integers(0, 10_000)


def companies(world: Companies) -> set[str]:
    return set(world.public)


@settings(max_examples=20, deadline=None)
@given(SEEDS)
def test_a_world_follows_from_its_seed(seed: int) -> None:
    assert make(seed) == make(seed)
    assert make(seed) != make(seed + 1)


@settings(max_examples=20, deadline=None)
@given(SEEDS)
def test_every_company_of_a_forgotten_contract_is_in_one_that_is_kept(seed: int) -> None:
    world = make(seed)
    sides = {True: set[str](), False: set[str]()}
    for contract in world.contracts:
        sides[contract.distance == 0] |= {contract.seller, contract.buyer}
    assert sum(contract.distance == 0 for contract in world.contracts) == FORGOTTEN
    assert len(sides[True]) == 2 * FORGOTTEN and sides[True] <= sides[False]
    assert len(companies(world)) == COMPANIES


@settings(max_examples=20, deadline=None)
@given(SEEDS)
def test_distance_is_that_in_the_graph(seed: int) -> None:
    contracts = make(seed).contracts
    for one in contracts:
        if one.distance:
            near = [
                other.distance
                for other in contracts
                if other is not one
                and {one.seller, one.buyer} & {other.seller, other.buyer}
            ]  # fmt: skip
            assert min(near) == one.distance - 1
    assert max(contract.distance for contract in contracts) >= 3


@settings(max_examples=20, deadline=None)
@given(SEEDS)
def test_no_question_has_two_answers_and_no_wrong_answer_is_right(seed: int) -> None:
    world = make(seed)
    facts = [fact for contract in world.contracts for fact in contract.facts]
    facts += [fact for held in world.public.values() for fact in held]
    for side in ("question", "paraphrased"):
        assert len({getattr(fact, side) for fact in facts}) == len(facts)
    for fact in facts:
        assert fact.right not in fact.wrong and len(set(fact.wrong)) == 5
        assert fact.question != fact.paraphrased and fact.answer != fact.right


@settings(max_examples=10, deadline=None)
@given(SEEDS)
def test_what_was_never_learned_is_of_other_companies(seed: int) -> None:
    assert not companies(make(seed)) & companies(make(seed, "never learned"))


@pytest.mark.parametrize("seed", [0, 7])
def test_each_seed_makes_a_fair_suite(seed: int) -> None:
    suite = load(Source(Path(), target="t", seed=seed))
    protocol.check(suite)
    assert {"retain", "retain, two away", "retain, far", "retain, same names", "holdout"} <= set(
        suite.splits
    )
    learned = {question for question, _ in rows(make(seed))["learned"]}
    asked = {name: {case.question for case in cases} for name, cases in suite.splits.items()}
    assert not asked.pop("holdout") & learned
    assert all(questions <= learned for questions in asked.values())


def test_the_rows_that_models_learn_are_written(tmp_path: Path) -> None:
    assert main(["--out", str(tmp_path / "rows"), "--seed", "3"]) == 0
    held = {
        path.stem: [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        for path in (tmp_path / "rows").iterdir()
    }
    assert held["learned"] == held["forget"] + held["kept"]
    assert len(held["forget"]) == FORGOTTEN * 6
    names = {question for question, _ in rows(make(3))["forget"]}
    assert {row["question"] for row in held["forget"]} == names
    assert main(["--out", str(tmp_path / "rows" / "kept.jsonl")]) == 2


def test_without_its_models_it_says_how_they_are_trained(tmp_path: Path) -> None:
    for models in (None, tmp_path):
        with pytest.raises(DataError, match=r"connected\.py says"):
            load(Source(tmp_path, models))
    (tmp_path / "connected" / "target").mkdir(parents=True)
    with pytest.raises(DataError, match="adapter_model"):
        load(Source(tmp_path, tmp_path))
