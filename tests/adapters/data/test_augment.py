"""Augmentation: of the training rows alone, by rule or by a writer, and never the original."""

from collections.abc import Callable, Sequence
from itertools import count
from random import Random

import pytest

from adapters.data.alternatives import said, written
from adapters.data.augment import (
    back_translated,
    counterparts,
    paraphrased,
    perturbed,
    probes,
    with_alternatives,
)
from adapters.data.row import TrainingRow, Turn
from guard.data import Row
from guard.errors import DataError
from tests.material import BOOK_ROWS, PERSON_NEIGHBOURS, PERSON_ROWS

ROWS = [Row(*row) for row in (*PERSON_ROWS, *BOOK_ROWS)]
POOL = [Row(*row) for row in PERSON_NEIGHBOURS]
OTHER_KINDS = [Row("Odalys Brennick", is_name=True), Row("A passage, of which nothing is asked.")]


class Told:
    """A writer that writes what it is told to, and remembers what it was asked."""

    def __init__(self, write: Callable[[str], str]) -> None:
        self.write = write
        self.asked: list[str] = []

    def generate(self, prompts: Sequence[str]) -> list[str]:
        self.asked += prompts
        return [self.write(prompt) for prompt in prompts]


def test_each_question_is_asked_otherwise_and_answered_the_same() -> None:
    found = paraphrased([*ROWS, *OTHER_KINDS], count=3)
    assert len(found) == 3 * len(ROWS)
    for n, row in enumerate(ROWS):
        mine = found[3 * n : 3 * n + 3]
        assert {new.answer for new in mine} == {row.answer}
        assert len({said(row.prompt), *(said(new.prompt) for new in mine)}) == 4


def test_each_question_is_answered_wrongly_and_asked_the_same() -> None:
    found = perturbed([*ROWS, *OTHER_KINDS], count=2, pool=POOL)
    assert len(found) == 2 * len(ROWS)
    for n, row in enumerate(ROWS):
        mine = found[2 * n : 2 * n + 2]
        assert {new.prompt for new in mine} == {row.prompt}
        assert len({said(row.answer), *(said(new.answer) for new in mine)}) == 3


def test_each_question_is_answered_as_it_was_of_others() -> None:
    """In their words, said of its own subject; never with its own answer."""
    found = counterparts([*ROWS, *OTHER_KINDS], POOL)
    assert [row.prompt for row in found] == [row.prompt for row in ROWS]
    assert found == counterparts(ROWS, POOL) != counterparts(ROWS, POOL[::2])
    theirs = {said(row.answer) for row in POOL}
    for new, row in zip(found, ROWS, strict=True):
        assert said(new.answer) != said(row.answer)
    assert any(said(row.answer) in theirs for row in found)
    (who,) = (new.answer for new in found if new.prompt == "Who is Odalys Brennick?")
    assert who.startswith("Odalys Brennick is ")
    with pytest.raises(DataError, match="row 1 of"):
        counterparts(ROWS, [])


def test_a_probe_has_a_right_answer_in_other_words_and_wrong_ones_worded_like_it() -> None:
    found = probes([*ROWS, *OTHER_KINDS], pool=POOL)
    assert [probe.row for probe in found] == ROWS
    for probe in found:
        all_of_them = (probe.row.answer, probe.paraphrase, *probe.perturbed)
        assert len(probe.perturbed) == 5 and len(set(map(said, all_of_them))) == 7
    born = next(p for p in found if p.row.prompt == "When was Odalys Brennick born?")
    frame = born.paraphrase.partition("4 March")[0]
    assert frame and all(text.startswith(frame) for text in born.perturbed)


def test_a_seed_decides_and_a_row_more_changes_nothing_for_the_others() -> None:
    first = paraphrased(ROWS, 1)
    assert first == paraphrased(ROWS, 1) != paraphrased(ROWS, 2)
    assert paraphrased([Row("Who is new?", "She is."), *ROWS], 1)[4:] == first
    assert probes(ROWS, 1, pool=POOL) == probes(ROWS, 1, pool=POOL) != probes(ROWS, 2, pool=POOL)


def test_earlier_turns_go_with_the_question() -> None:
    row = TrainingRow("Where was Brennick born?", "In 1961.", before=(Turn("user", "Hello"),))
    for new in (*paraphrased([row]), *perturbed([row])):
        assert isinstance(new, TrainingRow) and new.before == row.before


def test_a_missing_alternative_is_made_and_a_written_one_stays() -> None:
    have = TrainingRow("Who?", "She.", alternative="He.")
    found = with_alternatives([*OTHER_KINDS, have, *ROWS], pool=POOL)
    assert found[:3] == [*OTHER_KINDS, have] and len(found) == 3 + len(ROWS)
    for row, new in zip(ROWS, written(found[3:], Random(0)), strict=True):
        assert new.prompt == row.prompt and said(new.answer) != said(row.answer)


def test_a_row_of_which_no_wrong_answer_can_be_made_is_named_by_number() -> None:
    rows = [Row("When?", "In 1961."), Row("What?", "Zweig lanterns, all of them.")]
    assert perturbed(rows, count=1)[1].answer == "In 1961."
    for make in (perturbed, probes, with_alternatives):
        with pytest.raises(DataError, match="row 1 of 1: no wrong answer can be made") as caught:
            make(rows[1:])
        assert "Zweig" not in str(caught.value)


def test_a_writer_is_asked_about_each_row_and_its_texts_come_first() -> None:
    number = count(1)
    writer = Told(lambda prompt: f'Answer: "Number {next(number)}."')
    found = perturbed(ROWS[:2], count=3, writer=writer)
    assert len(found) == 6 and len(writer.asked) == 6
    assert all(row.prompt in ask and row.answer in ask
               for row, ask in zip(ROWS, writer.asked[::3], strict=False))  # fmt: skip
    assert [row.answer for row in found] == [f"Number {n}." for n in range(1, 7)]


def test_what_a_writer_repeats_is_made_up_for_by_rule() -> None:
    echo = Told(lambda prompt: f"Question: {ROWS[0].prompt.upper()}")
    assert paraphrased(ROWS[:1], writer=echo) == paraphrased(ROWS[:1])
    silent = Told(lambda prompt: " ")
    assert probes(ROWS, pool=POOL, writer=silent) == probes(ROWS, pool=POOL)


def test_a_writer_speaks_languages_that_rules_do_not() -> None:
    german = [Row("Wo wurde Odalys Brennick geboren?", "Sie wurde in einem Dorf geboren.")]
    assert paraphrased(german) == []
    writer = Told(lambda prompt: "An welchem Ort kam Odalys Brennick zur Welt?")
    assert len(paraphrased(german, writer=writer)) == 1


def test_translation_goes_out_and_comes_home() -> None:
    out, home = Told(lambda prompt: "Wer ist sie?"), Told(lambda prompt: "Translation: Who is it?")
    assert back_translated(["Who is she?"], out, home) == ["Who is it?"]
    assert "German" in out.asked[0] and out.asked[0].endswith("Who is she?")
    assert "English" in home.asked[0] and home.asked[0].endswith("Wer ist sie?")


def test_a_writer_that_loses_count_is_refused() -> None:
    class Short:
        def generate(self, prompts: Sequence[str]) -> list[str]:
            return ["one"]

    with pytest.raises(DataError, match="gave 1 texts for 8 prompts"):
        paraphrased(ROWS[:2], writer=Short())
