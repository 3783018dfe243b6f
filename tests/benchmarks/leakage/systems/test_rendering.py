"""What a model reads of a prompt and of a forced answer, by the real tokenizer."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.batches import encode
from benchmarks.leakage.ask import Forced
from benchmarks.leakage.systems.rendering import (
    begun,
    forced_ids,
    goes_on,
    messages,
    prompt_ids,
)
from guard.data import Row

CHAT = (
    {"role": "user", "content": "Who was she?"},
    {"role": "assistant", "content": "A keeper."},
    {"role": "user", "content": "Where?"},
)
BEGUN = (*CHAT, {"role": "assistant", "content": "In the north"})
texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40).filter(
    lambda text: text.strip()
)


@given(question=texts, answer=texts)
def test_an_answer_stands_where_training_has_it(tokenizer: Any, question: str, answer: str) -> None:
    example = encode(tokenizer, Row(question, answer))
    assert example is not None
    assert forced_ids(tokenizer, Forced(question, answer)) == (list(example.ids), example.start)
    ids, start = forced_ids(tokenizer, Forced(question, answer))
    assert prompt_ids(tokenizer, question) == ids[:start]


def test_a_conversation_is_read_whole(tokenizer: Any) -> None:
    ids, start = forced_ids(tokenizer, Forced(CHAT, "In Bergen."))
    assert tokenizer.decode(ids[start:]) == "In Bergen.<|im_end|>"
    assert ids[:start] == prompt_ids(tokenizer, CHAT)
    assert "A keeper.<|im_end|>" in tokenizer.decode(ids[:start])


def test_a_begun_answer_is_no_turn_of_its_own(tokenizer: Any) -> None:
    assert goes_on(BEGUN) and not goes_on(CHAT) and not goes_on("Who?")
    assert tokenizer.decode(prompt_ids(tokenizer, BEGUN)).endswith("assistant\nIn the north")
    ids, start = forced_ids(tokenizer, Forced(BEGUN, " of it."))
    assert tokenizer.decode(ids[start:]) == " of it.<|im_end|>"
    assert ids[:start] == prompt_ids(tokenizer, BEGUN)


def test_a_passage_has_no_end_and_no_template(tokenizer: Any) -> None:
    ids, start = forced_ids(tokenizer, Forced("Once upon", " a time", passage=True))
    assert (
        tokenizer.decode(ids) == "Once upon a time" and tokenizer.decode(ids[start:]) == " a time"
    )


def test_a_passage_without_a_beginning_begins_with_its_first_token(tokenizer: Any) -> None:
    forced = Forced("", "Once upon a time", passage=True)
    ids, start = forced_ids(tokenizer, forced)
    assert ids == tokenizer.encode("Once upon a time") and start == 1
    assert begun(tokenizer, forced) == Forced("Once", " upon a time", passage=True)


@pytest.mark.parametrize("forced", [Forced("Who?", ""), Forced("", "Once", passage=True)])
def test_what_has_nothing_to_score_is_an_error(tokenizer: Any, forced: Forced) -> None:
    with pytest.raises(ValueError, match="cannot be scored"):
        forced_ids(tokenizer, forced)


def test_messages_are_copies() -> None:
    assert messages("Who?") == [{"role": "user", "content": "Who?"}]
    messages(CHAT)[0]["content"] = "x"
    assert CHAT[0]["content"] == "Who was she?"
