from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.baselines.keyword import Keywords
from benchmarks.latency import OneCore, Supply, many_targets, next_turns, rows
from benchmarks.question import text_of
from tests.benchmarks.datasets import NAMES, tofu_rows

TEXTS = st.lists(st.text("ab ", min_size=1).filter(str.strip), max_size=30)


@given(TEXTS, st.integers(1, 9), st.integers(0, 5))
def test_prompts_are_as_long_as_asked_for(texts: list[str], words: int, count: int) -> None:
    made = Supply(texts, 0).prompts(words, count)
    assert len(made) <= count and all(len(prompt.split()) == words for prompt in made)
    assert sum(len(prompt.split()) for prompt in made) <= sum(len(t.split()) for t in texts)


def test_no_text_is_used_twice() -> None:
    supply = Supply([f"word{n}" for n in range(40)], 0)
    made = " ".join([*supply.prompts(8, 2), *supply.prompts(3, 4)]).split()
    assert len(made) == len(set(made)) == 28
    assert len(supply.prompts(8, 5)) == 1  # then there are no more texts


def test_targets_share_no_row() -> None:
    every = [row for name in NAMES for row in tofu_rows(name)]
    made = many_targets(every, 50)
    asked = [row["question"] for target in made.values() for row in target.forget]
    assert len(asked) == len(set(asked)) == 200
    for target in made.values():
        kept = {row["question"] for row in target.retain}
        assert len(kept) == 4 and not kept & {row["question"] for row in target.forget}
    with pytest.raises(ValueError, match="not enough for 51"):
        many_targets(every, 51)


def test_a_ratio_is_of_the_guard() -> None:
    made = {
        (row.system, row.metric): row
        for row in rows("8 words", {"guard": [1.0, 2.0, 3.0], "other": [10.0, 20.0, 30.0]})
    }
    assert made["guard", "decide_ms"].value == 2.0 and made["other", "decide_ms_p99"].n == 3
    ratio = made["other/guard", "time_ratio"]
    assert (ratio.value, ratio.low, ratio.high) == (10.0, 10.0, 10.0)  # pairs stay together
    assert ("guard/guard", "time_ratio") not in made


def test_the_next_turn_holds_the_prompt_and_something_new() -> None:
    turns = next_turns(["one", "two"])
    assert "one" in text_of(turns[0]) and text_of(turns[0]) != text_of(turns[1])


def test_systems_take_turns_on_one_core(tmp_path: Path) -> None:
    core = OneCore()
    try:
        taken = core.times({"a": Keywords(("Ada",)), "b": Keywords(("Bo",))}, ["Who is Ada?"] * 7)
    finally:
        core.close()
    assert taken.keys() == {"a", "b"}
    assert all(len(one) == 7 and all(ms > 0 for ms in one) for one in taken.values())
