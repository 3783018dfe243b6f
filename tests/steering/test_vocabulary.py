"""Another model's tokens for the same text: by bytes, whatever the spelling."""

from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from guard.errors import ModelError
from guard.models import resolve
from guard.steering.vocabulary import NONE, Crossing, Lexicon, cross
from tests.steering.assistants import TEXTS, byte_level, sentencepiece


@cache
def real(name: str) -> Any:
    return AutoTokenizer.from_pretrained(resolve(f"builtin:{name}"))


@cache
def crossing(served: str, assistant: str) -> Crossing:
    one, other = tokenizer(served), tokenizer(assistant)
    found = cross(one, other, len(one), (one.eos_token_id,))
    assert found is not None
    return found


@cache
def tokenizer(name: str) -> Any:
    made = {"bytes": byte_level, "fewer": lambda: byte_level(330), "pieces": sentencepiece}
    return made[name]() if name in made else real(name)


PAIRS = [
    ("smollm2", "minilm"),
    ("smollm2", "e5"),
    ("smollm2", "bytes"),
    ("smollm2", "pieces"),
    ("bytes", "smollm2"),
    ("pieces", "smollm2"),
    ("bytes", "fewer"),
]


def test_one_tokenizer_needs_no_map() -> None:
    assert cross(byte_level(), byte_level(), 384, ()) is None
    assert cross(real("smollm2"), real("smollm2"), 49152, (2,)) is None


def test_an_assistant_with_more_tokens_behind_the_same_ones_needs_none() -> None:
    more = byte_level()
    more.add_tokens(["<extra>"])
    assert cross(byte_level(), more, 384, ()) is None
    assert cross(more, byte_level(), 385, ()) is not None


@pytest.mark.parametrize(("served", "assistant"), PAIRS)
def test_every_token_stands_for_the_beginning_of_the_same_text(served: str, assistant: str) -> None:
    """As far as the assistant's tokenizer does not write texts otherwise (case, accents)."""
    one, other = Lexicon(tokenizer(served)), Lexicon(tokenizer(assistant))
    index = crossing(served, assistant).index
    compared = 0
    for token, piece in enumerate(one.pieces):
        if piece is None or index[token] == NONE or not piece.isascii():
            continue
        found = other.pieces[index[token]]
        assert found is not None
        said, text = found.decode("utf-8", "replace"), piece.decode()
        if assistant == "minilm":  # it begins all but the inside of a word with a space
            said, text = said.strip(), text.strip().lower()
        if assistant == "e5":  # tabs, line ends and repeated spaces are all one space to it
            text = " ".join(text.replace("\t", " ").replace("\n", " ").split(" "))
            if not text.strip():
                continue
        assert text.startswith(said), (text, said)
        compared += 1
    assert compared > 0.9 * sum(piece is not None and piece.isascii() for piece in one.pieces)


@pytest.mark.parametrize(("served", "assistant"), PAIRS)
def test_a_text_that_is_one_token_of_both_is_that_token(served: str, assistant: str) -> None:
    one, other = Lexicon(tokenizer(served)), Lexicon(tokenizer(assistant))
    index = crossing(served, assistant).index
    same = {piece: token for token, piece in enumerate(other.pieces) if piece}
    shared = 0
    for token, piece in enumerate(one.pieces):
        if piece and piece in same and piece.isalpha() and piece.islower() and piece.isascii():
            found = index[token]
            assert found != NONE and other.pieces[found] == piece
            shared += 1
    assert shared > 20


@pytest.mark.parametrize(
    ("token", "expected"),
    [
        ("ĠParis", "paris"),  # a word begins
        ("ing", "##ing"),  # a word goes on
        ("ĠGermany", "germany"),
        ("?", "?"),
        ("Ċ", None),  # a line's end is nothing to WordPiece
        ("<|im_end|>", None),  # MiniLM has no end of text
    ],
)
def test_wordpiece_by_example(token: str, expected: str | None) -> None:
    served, assistant = real("smollm2"), real("minilm")
    found = crossing("smollm2", "minilm").index[served.get_vocab()[token]]
    assert found == (NONE if expected is None else assistant.get_vocab()[expected])


@pytest.mark.parametrize(
    ("token", "expected"),
    [("ĠParis", "▁Paris"), ("ing", "ing"), ("<|im_end|>", "</s>"), ("<|im_start|>", None)],
)
def test_sentencepiece_by_example(token: str, expected: str | None) -> None:
    served, assistant = real("smollm2"), real("e5")
    found = crossing("smollm2", "e5").index[served.get_vocab()[token]]
    assert found == (NONE if expected is None else assistant.get_vocab()[expected])


def test_what_has_no_letter_stands_for_its_first_byte() -> None:
    served, assistant = real("smollm2"), tokenizer("pieces")
    found = crossing("smollm2", "pieces").index
    newline, ids = served.get_vocab()["Ċ"], assistant.get_vocab()
    assert found[newline] == ids["<0x0A>"]
    assert found[served.encode("é")[0]] == ids["<0xC3>"]


def test_a_longer_token_stands_for_the_first_that_the_assistant_writes() -> None:
    """Not for the longest that fits: an assistant never sees its words cut like that."""
    served, assistant = real("smollm2"), tokenizer("bytes")
    index = crossing("smollm2", "bytes").index
    for name in ("Ġwonderful", "Ġtraditional", "Ġclocks", "born", "Skar"):
        token = served.get_vocab().get(name)
        if token is not None:
            text = name.replace("Ġ", " ")
            assert index[token] == assistant.encode(text)[0]


def test_special_tokens_are_told_by_name() -> None:
    served, assistant = real("smollm2"), tokenizer("bytes")
    index = crossing("smollm2", "bytes").index
    for name in ("<|im_start|>", "<|endoftext|>", "<|im_end|>"):
        assert index[served.get_vocab()[name]] == assistant.get_vocab()[name]
    assert index[served.get_vocab()["<filename>"]] == NONE


def test_what_lies_behind_the_vocabulary_has_no_counterpart() -> None:
    served = byte_level()
    found = cross(served, sentencepiece(), len(served) + 7, ())
    assert found is not None and found.index[len(served) :] == [NONE] * 7


@given(st.text(max_size=40))
def test_a_context_is_the_text_as_the_assistant_writes_it(text: str) -> None:
    tokens = tokenizer("bytes").encode(text, add_special_tokens=False, split_special_tokens=True)
    for name in ("fewer", "pieces"):
        other = tokenizer(name)
        wanted = other.encode(text, add_special_tokens=False, split_special_tokens=True)
        opening = [other.bos_token_id] if name == "pieces" else []
        assert crossing("bytes", name).context(tokens) == opening + wanted


@given(st.lists(st.integers(0, 49151), max_size=20))
def test_any_tokens_are_a_context(tokens: list[int]) -> None:
    """Broken characters too; and always the same, whatever was read before."""
    for name in ("bytes", "pieces"):
        found = crossing("smollm2", name).context(tokens)
        assert all(0 <= token < len(tokenizer(name)) for token in found)
        fresh = Crossing(Lexicon(real("smollm2")), Lexicon(tokenizer(name)), 0, ())
        assert fresh.context(tokens) == found


def test_an_incomplete_character_waits() -> None:
    served = tokenizer("bytes")
    tokens = served.encode("so ñ", add_special_tokens=False)
    cut = next(n for n in range(1, len(tokens)) if "\ufffd" in served.decode(tokens[:n]))
    other = crossing("bytes", "pieces")
    assert other.context(tokens[:cut]) == other.context(tokens[: cut - 1])


def test_special_tokens_part_a_context_and_stay_where_both_know_them() -> None:
    served, assistant = real("smollm2"), tokenizer("bytes")
    chat = served.encode(f"<|im_start|>user\n{TEXTS[1]}<|im_end|>\n<filename>")
    wanted = assistant.encode(f"<|im_start|>user\n{TEXTS[1]}<|im_end|>\n")
    assert crossing("smollm2", "bytes").context(chat) == wanted


def test_a_text_that_looks_like_a_special_token_is_none() -> None:
    """Else whoever asks could put an end of text into what the assistant reads."""
    served, assistant = real("smollm2"), tokenizer("pieces")
    typed = served.encode("one</s>two<s>", add_special_tokens=False, split_special_tokens=True)
    found = crossing("smollm2", "pieces").context(typed)
    assert assistant.eos_token_id not in found
    assert found.count(assistant.bos_token_id) == 1


def test_a_token_that_looks_like_a_special_one_does_not_stand_for_it() -> None:
    pieces = Lexicon(sentencepiece())
    assert pieces.first(b"</s>") not in (1, 2)


def words(names: list[str], decoder: Any) -> PreTrainedTokenizerFast:
    vocabulary = {"[UNK]": 0, **{name: n for n, name in enumerate(names, 1)}}
    made = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    if decoder is not None:
        made.decoder = decoder
    return PreTrainedTokenizerFast(tokenizer_object=made, unk_token="[UNK]")


def test_an_unknown_spelling_is_refused() -> None:
    with pytest.raises(ModelError, match="neither byte-level BPE nor SentencePiece"):
        cross(byte_level(), words(["a", "##b"], None), 384, ())


def test_another_alphabet_is_refused() -> None:
    greek = words(["α", "##β"], decoders.WordPiece())
    with pytest.raises(ModelError, match=r"can write only \d+% .* same languages"):
        cross(byte_level(), greek, 384, ())


def test_a_slow_tokenizer_is_refused() -> None:
    class Slow:
        def get_vocab(self) -> dict[str, int]:
            return {}

    with pytest.raises(ModelError, match="not a fast one"):
        cross(byte_level(), Slow(), 384, ())
