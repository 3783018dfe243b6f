"""A forbidden phrase cannot be said, however it is cut into tokens; anything else can."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.matching import PhraseMatcher
from guard.normalize import fold
from guard.steering.pieces import Vocabulary, fold_piece
from guard.steering.trie import State, Trie

# Every byte is a token, as in byte-level vocabularies; then whole words and parts of them.
PARTS = [
    " Skarvik", "Skarvik", "Skar", " Skar", " S", "vik", "ik", "kar", " vik", "Skarviken",
    " Skarvik,", "(Skarvik)", "ik.", " fishing", " village", "village", "fish", "ing", " 4", " Mar",
    " March", "ch", "19", "61", "1961", "1961.", " Ann", "Annual", " ", "  ", "\n", ", ", ". ",
    "ø", " Tromsø", "Troms", "Ø", " the", "SKAR", "VIK", "漁", "村", "小漁村", "",
]  # fmt: skip
PIECES = [bytes([n]) for n in range(256)] + [part.encode() for part in PARTS]
VOCABULARY = Vocabulary(PIECES)
PHRASES = ["Skarvik", "fishing village", "4 March", "1961", "Ann", "Tromsø", "漁村"]
TRIE = Trie(PHRASES, VOCABULARY)
MATCHER = PhraseMatcher({fold(phrase).text: None for phrase in PHRASES})
SPECIAL = len(PIECES) - 1  # the empty piece: a token that is cut out of a text


def token(part: str) -> int:
    return 256 + PARTS.index(part)


def after(trie: Trie, tokens: list[int]) -> State:
    state = State()
    for one in tokens:
        state = trie.follow(state, one)
    return state


def banned(trie: Trie, tokens: list[int]) -> set[int]:
    return set(trie.edits(after(trie, tokens)).banned.tolist())


@pytest.fixture(scope="module")
def trie() -> Trie:
    return TRIE


@st.composite
def cut(draw: Any, text: str) -> list[int]:
    """A text cut into tokens in any way there is."""
    raw, tokens = text.encode(), []
    while raw:
        fitting = [n for n, piece in enumerate(PIECES) if piece and raw.startswith(piece)]
        tokens.append(draw(st.sampled_from(fitting)))
        raw = raw[len(PIECES[tokens[-1]]) :]
    return tokens


BEFORE = ["", "She was born in ", "in (", "on\n", "the old ", "Skar ", "fishing fishing ", "é—"]


def spelt(phrase: str) -> list[str]:
    return [phrase, phrase.lower(), phrase.upper(), phrase.title(), phrase.replace(" ", "  -\n")]


@given(st.data())
def test_no_way_of_cutting_a_phrase_escapes(data: st.DataObject) -> None:
    """Walked token by token, one is forbidden at the latest where the phrase is complete."""
    phrase = data.draw(st.sampled_from([one for phrase in PHRASES for one in spelt(phrase)]))
    text = data.draw(st.sampled_from(BEFORE)) + phrase
    tokens = data.draw(cut(text))
    with_specials = [one for token in tokens for one in (token, SPECIAL)]
    for sequence in (tokens, with_specials):
        steps = range(len(sequence))
        assert any(sequence[n] in banned(TRIE, sequence[:n]) for n in steps), (text, sequence)


@given(st.data())
def test_what_is_forbidden_completes_a_phrase_and_nothing_else_is(data: st.DataObject) -> None:
    """Against a look at the whole text so far, token by token."""
    texts = st.lists(st.sampled_from([*PARTS, *"Skarvi4 9M\n"]), max_size=6)
    tokens = data.draw(cut("".join(data.draw(texts))))
    raw = b"".join(PIECES[one] for one in tokens)
    found = banned(TRIE, tokens)
    for candidate, piece in enumerate(PIECES):
        whole = raw + piece
        if not complete(whole) or not complete(raw) or not piece:
            continue  # a character that is not complete yet is no text to look at
        assert (candidate in found) == (says(whole) > says(raw)), (raw, piece)


def complete(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def says(raw: bytes) -> int:
    """How often a text says a phrase, the plain way."""
    return len(list(MATCHER.find(raw.decode())))


@given(st.text(alphabet="aé Ø漁ß,.-\n\u0301\u200b1ǅ", max_size=12), st.data())
def test_pieces_fold_to_what_their_text_folds_to(text: str, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=4)))
    parts = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    joined = "".join(fold_piece(part) for part in parts)
    assert " ".join(joined.split()) == fold(text).text


def test_a_word_that_only_begins_like_a_phrase_may_be_said(trie: Trie) -> None:
    assert token("Skarviken") not in banned(trie, [])
    assert token("Annual") not in banned(trie, [])
    assert {token(" Skarvik"), token(" Skarvik,"), token("(Skarvik)"), token(" Ann")} <= banned(
        trie, []
    )


def test_a_phrase_does_not_begin_in_the_midst_of_a_word(trie: Trie) -> None:
    inside = banned(trie, [ord("x")])
    assert token("Skarvik") not in inside
    assert token(" Skarvik") in inside


def test_backtracking_keeps_every_beginning(trie: Trie) -> None:
    """ "fishing fishing": the second may go on, though the first has failed."""
    tokens = [token(" fishing"), token(" fishing")]
    assert token(" village") in banned(trie, tokens)
    assert token("village") not in banned(trie, tokens)  # "fishingvillage" is another word
    assert token("village") in banned(trie, [*tokens, token(" ")])


def test_a_character_in_two_tokens(trie: Trie) -> None:
    first, second = "ø".encode()
    assert second in banned(trie, [token("Troms"), first])
    assert second not in banned(trie, [token("Skar"), first])
    upper = "Ø".encode()
    assert upper[1] in banned(trie, [token("Troms"), upper[0]])


def test_soft_penalties_grow_with_what_is_said(trie: Trie) -> None:
    def share(tokens: list[int], candidate: int) -> float:
        edits = trie.edits(after(trie, tokens))
        return dict(zip(edits.begun.tolist(), edits.shares.tolist(), strict=True)).get(candidate, 0)

    assert share([], token(" S")) == 0.0, "one letter may begin any word"
    assert share([], token(" Skar")) == pytest.approx(4 / 7)
    assert share([token(" Skar")], ord("v")) == pytest.approx(5 / 7)
    assert share([token(" fishing")], token(" ")) == pytest.approx(8 / 15)
    assert share([token(" Skar")], token(" the")) == 0.0


def test_a_banned_token_is_not_penalised_as_well(trie: Trie) -> None:
    edits = trie.edits(after(trie, [token(" Skar")]))
    assert not set(edits.banned.tolist()) & set(edits.begun.tolist())
    assert edits.shares.dtype == np.float32 and edits.banned.dtype == np.int64


def test_the_real_vocabulary_is_read_whole(tokenizer: Any, served: Any) -> None:
    from guard.steering.base import Engine
    from guard.steering.pieces import vocabulary

    engine = Engine(str(served), len(tokenizer), (2,), "cpu", tokenizer)
    found = vocabulary(engine)
    assert len(found.texts) == len(tokenizer)
    text = "Odalys Brennick was born in Skarvik, 漁村 (Tromsø) – 4 March 1961 🙂!"
    ids = tokenizer.encode(text, add_special_tokens=False)
    trie, state = Trie(["Skarvik"], found), State()
    for one in ids:
        state = trie.follow(state, one)
    assert "".join(found.texts[one] for one in ids if one not in found.broken).count(" ") > 8
    assert found.texts[tokenizer.eos_token_id] == ""
    for cased in (" Skarvik", "skarvik", " SKARVIK"):
        *start, last = tokenizer.encode(cased, add_special_tokens=False)
        state = State()
        for one in start:
            state = trie.follow(state, one)
        assert last in trie.edits(state).banned
