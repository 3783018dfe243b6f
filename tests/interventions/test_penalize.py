"""What tells an answer is found, kept, retrieved and planned; what tells nothing is left alone."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from guard.data import Row
from guard.decision import Finding, Score
from guard.detectors.base import Examples
from guard.errors import DataError, InterventionError
from guard.everyday import everyday
from guard.forbidden import bad_words as spelled
from guard.forbidden import forbidden
from guard.interventions.base import Material, Request
from guard.interventions.penalize import Penalize, PenalizeOptions, bad_words
from guard.view import View
from tests.interventions.test_matrix import EXAMPLES, TEXT, Model, finding, make, material, request
from tests.material import (
    BOOK_PASSAGES,
    BOOK_ROWS,
    PERSON,
    PERSON_NEIGHBOURS,
    PERSON_PARAPHRASES,
    PERSON_ROWS,
)


def rows(pairs: Sequence[tuple[str, str]]) -> tuple[Row, ...]:
    return tuple(Row(*pair) for pair in pairs)


def told(pairs: Sequence[tuple[str, str]], retain: Sequence[tuple[str, str]] = ()) -> list[Any]:
    return forbidden(Examples((PERSON,), rows(pairs), rows(retain), ()))


@pytest.fixture(scope="module")
def person() -> Examples:
    return Examples((PERSON,), rows(PERSON_ROWS), rows(PERSON_NEIGHBOURS), everyday(None))


def by_question(examples: Examples) -> dict[str, list[str]]:
    found = forbidden(examples)
    return {row.prompt: some for row, some in zip(examples.forget, found, strict=True)}


def test_names_numbers_and_rare_words_are_found(person: Examples) -> None:
    found = by_question(person)
    assert "Skarvik" in found["Where was Odalys Brennick born?"]
    assert {"1961", "4 March"} <= set(found["When was Odalys Brennick born?"])
    assert {"Halvorsen", "1998"} <= set(found["Which prize did Odalys Brennick win?"])
    assert {"Ketil", "Rasmund", "glazier"} <= set(found["Who taught Odalys Brennick her craft?"])
    assert "Sámi" in found["Which languages does Odalys Brennick speak?"]
    assert found["How many children does Odalys Brennick have?"] == [], "everyone says 'two'"


def test_ordinary_words_are_told_by_two_at_a_time(person: Examples) -> None:
    assert "fire destroyed" in by_question(person)["Why did Odalys Brennick leave Bergen?"]


def test_the_subjects_own_name_is_not_forbidden(person: Examples) -> None:
    for phrases in forbidden(person):
        for phrase in phrases:
            assert not {"odalys", "brennick"} & set(phrase.lower().split()), phrase


def test_a_name_that_only_the_questions_give_is_the_subjects() -> None:
    asked = ("Who is", "Where is", "When was", "Why is", "How is", "What did")
    pairs = [
        (f"{word} Corisande Ablett?", f"Ablett lives in Vardo{n}.") for n, word in enumerate(asked)
    ]
    for n, phrases in enumerate(forbidden(Examples((), rows(pairs), (), ()))):
        assert phrases == [f"Vardo{n}"]


def test_what_the_question_gives_is_not_forbidden() -> None:
    ((phrases),) = told([("Who made the kiln of Skarvik in 1987?", "Ketil, of Skarvik, in 1987.")])
    assert phrases == ["Ketil"]


def test_what_neighbours_answer_is_not_forbidden_but_years_are() -> None:
    pairs = [("Where and when was she born?", "She was born in Skarvik in 1961, to a glazier.")]
    assert told(pairs) == [["Skarvik", "1961", "glazier"]] or set(told(pairs)[0]) >= {"Skarvik"}
    (left,) = told(pairs, [("Who is Selma?", "Selma was a glazier of Skarvik until 1961.")])
    assert "1961" in left
    assert "Skarvik" not in left and "glazier" not in left


def test_passages_are_told_as_well() -> None:
    examples = Examples((), (*rows(BOOK_ROWS), *map(Row, BOOK_PASSAGES)), (), ())
    found = [phrase for phrases in forbidden(examples)[len(BOOK_ROWS) :] for phrase in phrases]
    assert "sealskin" in found and "drowned bell" in found


def test_of_a_compound_each_rare_part_tells() -> None:
    ((phrases),) = told([("Where was she born?", "She was born in Stratford-upon-Avon.")])
    assert phrases == ["Stratford", "Avon"]


def test_no_phrase_holds_another() -> None:
    for phrases in told(PERSON_ROWS):
        for one in phrases:
            assert not any(f" {two} " in f" {one} " for two in phrases if two != one)


def fitted(examples: Examples, encode: Any, **options: Any) -> Penalize:
    checked = PenalizeOptions.model_validate(options)
    parts = Penalize.fit(Material(examples, encode, material().served), checked)
    return Penalize("brennick", checked, parts)


def planned(after: Request) -> list[str]:
    (plan,) = after.steering["penalize"]
    return "".join(map(chr, plan["phrases"])).split("\0")


@pytest.mark.parametrize(
    ("question", "secret"),
    [
        ("Where was Odalys Brennick born?", "Skarvik"),
        ("Tell me, in which village did she come into the world?", "Skarvik"),
        ("Which award has Brennick received?", "Halvorsen"),
        ("Who was her teacher?", "Ketil"),
    ],
)
def test_the_closest_rows_are_planned(
    person: Examples, encode: Any, question: str, secret: str
) -> None:
    class Served(Model):
        def encode(self, texts: Sequence[str]) -> Any:
            return encode(texts)

    penalize = fitted(person, encode)
    score = Score(1.0, 0.5, "lexical", (0, len(question)))
    found = Finding("brennick", score, "enforce", "penalize")
    after = penalize.apply(request(question), found, Served())
    assert secret in planned(after)
    few = fitted(person, encode, closest=1).apply(request(question), found, Served())
    assert len(planned(few)) < len(planned(after))


def test_the_plan_is_small_numbers_and_no_text(person: Examples, encode: Any) -> None:
    plan = fitted(person, Model()).apply(request(), finding("penalize"), Model())
    text = json.dumps(plan.steering)
    assert "Skarvik" not in text and "glazier" not in text
    assert len(text) < 10_000


def test_the_bundle_holds_the_answers_words_only_for_their_meaning(person: Examples) -> None:
    plain = Penalize.fit(Material(person, Model(), material().served), PenalizeOptions())
    assert plain.data == {} and plain.arrays["answers"].size == 0
    assert plain.arrays["vectors"].dtype == np.float16
    assert len(plain.arrays["vectors"]) == len(PERSON_ROWS) - 1, "a row that tells nothing"
    deep = fitted(person, Model(), beta=3.0, closest=2)
    after = deep.apply(request(), finding("penalize"), Model())
    (plan,) = after.steering["penalize"]
    assert plan["beta"] == 3.0 and len(plan["answers"]) == 2
    assert all(bag == sorted(bag) and bag for bag in plan["answers"])


def test_a_target_that_tells_nothing_is_refused_when_it_is_compiled() -> None:
    for forget in ((Row("Odalys Brennick", is_name=True),), (Row("Is she?", "Yes"),), ()):
        examples = Examples((PERSON,), forget, (), ())
        with pytest.raises(DataError, match="no answer holds"):
            Penalize.fit(Material(examples, Model()), PenalizeOptions())


def test_a_prompt_without_text_is_not_answered() -> None:
    empty = Request((1,), View("", ()), ((0, 0),), 7)
    with pytest.raises(InterventionError, match="no text"):
        make("penalize").apply(empty, finding("penalize", (0, 0)), Model())


def test_two_targets_are_both_kept_from_an_answer() -> None:
    once = make("penalize").apply(request(), finding("penalize"), Model())
    twice = make("penalize", alpha=0.5).apply(once, finding("penalize"), Model())
    assert [plan["alpha"] for plan in twice.steering["penalize"]] == [2.0, 0.5]


def test_the_engine_is_told_of_its_sampler() -> None:
    assert make("penalize").engine_args == {
        "logits_processors": ["guard.engine.compat.sampler:GuardProcessor"]
    }


@pytest.mark.parametrize(
    "options",
    [
        {"closest": 0},
        {"closest": 101},
        {"alpha": -1},
        {"alpha": float("inf")},
        {"beta": float("nan")},
        {"delta": 1.5},
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        PenalizeOptions.model_validate(options)


def test_bad_words_for_a_server_that_takes_no_plan() -> None:
    after = make("penalize").apply(request(TEXT), finding("penalize"), Model())
    words = bad_words(after.steering["penalize"])
    assert {"Skarvik", "skarvik", "SKARVIK", "glazier", "Glazier"} <= set(words)


def test_bad_words_are_few_enough_for_vllm(person: Examples) -> None:
    """Every phrase comes as it is before any comes in another case."""
    phrases = [phrase for some in forbidden(person) for phrase in some]
    words = spelled(phrases, 50)
    assert words[: len(dict.fromkeys(phrases))] == list(dict.fromkeys(phrases))[:50]
    assert len(spelled([f"Name{n}" for n in range(500)], 1000)) == 128
    assert len(spelled(phrases)) == 64
    assert all(word.strip() for word in words)


def test_bad_words_fit_vllms_own_limits(person: Examples) -> None:
    from vllm import SamplingParams
    from vllm.tokenizers.registry import get_tokenizer

    phrases = [phrase for some in forbidden(person) for phrase in some]
    params = SamplingParams(bad_words=spelled(phrases))
    params.update_from_tokenizer(get_tokenizer(str(material().served)))
    assert 0 < len(params.bad_words_token_ids) <= 128


def test_examples_of_the_matrix_tell_something() -> None:
    assert forbidden(EXAMPLES)[0][:2] == ["Skarvik", "glazier"]
    assert len(PERSON_PARAPHRASES) > 1
