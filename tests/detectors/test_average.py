"""Averages of word pieces: quick, of any text, and of this encoder or none."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.detectors.average import Average
from guard.encoder import Encoder
from guard.errors import ModelError
from tests.material import PERSON_ROWS, UNRELATED

ANY_TEXT = st.text(st.characters() | st.characters(categories=["Cs"]))


@pytest.fixture(scope="module")
def average(encode: Encoder) -> Average:
    return Average(encode.folder)


@given(texts=st.lists(ANY_TEXT, max_size=5))
def test_any_text_has_a_unit_vector_or_none(average: Average, texts: list[str]) -> None:
    vectors = average(texts)
    assert vectors.shape == (len(texts), 384) and vectors.dtype == np.float32
    lengths = np.linalg.norm(vectors, axis=1)
    assert all(length == 0 or length == pytest.approx(1, abs=1e-4) for length in lengths)


def test_texts_do_not_change_each_other(average: Average) -> None:
    """Bit by bit: what stands beside a text must not move its score."""
    texts = [question for question, _ in PERSON_ROWS]
    together = average(texts)
    for text, vector in zip(texts, together, strict=True):
        assert (average([text])[0] == vector).all()


def test_like_words_lie_near(average: Average) -> None:
    asked, alike, other = average(
        [
            "Which prize did the glass artist win?",
            "What award did the artist of glass receive?",
            "How do I boil an egg?",
        ]
    )
    assert asked @ alike > asked @ other + 0.2


def test_the_order_of_words_does_not_matter(average: Average) -> None:
    one, two = average(["the artist won a medal", "a medal won the artist"])
    assert one == pytest.approx(two, abs=1e-5)


def test_a_text_without_pieces_is_nothing(average: Average) -> None:
    assert not average(["", " ", "\n"]).any()
    assert average([]).shape == (0, 384)


def test_weights_count(encode: Encoder, average: Average) -> None:
    counts = average.counts([*UNRELATED, "egg egg egg"])
    assert counts.max() == len(UNRELATED) or counts.max() <= len(UNRELATED) + 1
    nothing = Average(encode.folder, np.zeros(len(counts), np.float32))
    assert not nothing(UNRELATED).any()
    alike = Average(encode.folder, np.ones(len(counts), np.float32))
    assert alike(UNRELATED) == pytest.approx(average(UNRELATED), abs=1e-6)
    rare = Average(encode.folder, (average.counts(["egg"]) > 0).astype(np.float32))
    assert rare(["boil an egg"]) == pytest.approx(average(["egg"]), abs=1e-5)


def test_a_piece_is_counted_once_a_text(average: Average) -> None:
    once = average.counts(["egg", "egg", "boil"])
    assert (average.counts(["egg egg egg", "egg", "boil boil"]) == once).all()
    assert sorted(once[once > 0]) == [1, 2]
    assert not average.counts([]).any() and len(average.counts([])) == len(once)


def test_weights_of_another_encoder_are_refused(encode: Encoder) -> None:
    with pytest.raises(ModelError, match="not the encoder that the bundle was compiled with"):
        Average(encode.folder, np.ones(7, np.float32))


def test_a_folder_without_a_fast_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"has no tokenizer\.json"):
        Average(str(tmp_path))


def test_a_folder_without_embeddings_is_refused(encode: Encoder, tmp_path: Path) -> None:
    shutil.copy(Path(encode.folder) / "tokenizer.json", tmp_path)
    with pytest.raises(ModelError, match="has no input embeddings"):
        Average(str(tmp_path))
