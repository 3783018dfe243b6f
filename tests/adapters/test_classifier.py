"""The trunk of the classifier: what it is shown, how it is weighed, and that it learns."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from adapters.classifier import FEWEST, NEGATIVES, class_weights, sample, train_classifier
from guard.detectors.heads import fit_heads
from guard.encoder import Encoder
from guard.errors import DataError, ModelError
from guard.layers import LayerEncoder
from tests.material import BOOK_ROWS, PERSON_NEIGHBOURS, PERSON_ROWS, UNRELATED

PERSON = [question for question, _ in PERSON_ROWS]
BOOK = [question for question, _ in BOOK_ROWS]
OTHERS = [*(question for question, _ in PERSON_NEIGHBOURS), *UNRELATED]
# Every third text stays out of training, to see what was learnt.
SPLIT = [(side[::3], [t for n, t in enumerate(side) if n % 3]) for side in (PERSON, BOOK, OTHERS)]
TEXTS = [text for _, shown in SPLIT for text in shown]
KINDS = np.repeat([0, 1, 2], [len(shown) for _, shown in SPLIT])
LABELS = (KINDS[:, None] == np.arange(2)).astype(np.int8)


def heads(width: int = 384) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    return np.zeros((2, width), np.float32), np.zeros(2, np.float32)


Trained = tuple[dict[str, npt.NDArray[np.float32]], list[float]]


@pytest.fixture(scope="module")
def trained(encode: Encoder) -> Trained:
    losses: list[float] = []
    vectors = encode(TEXTS)
    fitted = [
        fit_heads(vectors[own], vectors[~own], np.zeros(own.sum(), np.intp), 10.0)
        for own in LABELS.T == 1
    ]
    weights, biases = (np.concatenate(side) for side in zip(*fitted, strict=True))
    lora = train_classifier(
        encode.folder,
        TEXTS,
        LABELS,
        (weights, biases),
        epochs=6,
        learning_rate=1e-3,
        batch=16,
        report=lambda epoch, loss: losses.append(loss),
    )
    return lora, losses


def apart(encoder: LayerEncoder) -> float:
    """How much nearer texts that were not shown are to their own kind's than to the others'."""
    shown = [encoder.states(texts)[:, -1] for _, texts in SPLIT]
    unseen = [encoder.states(texts)[:, -1] for texts, _ in SPLIT]
    shown, unseen = (
        [x / np.linalg.norm(x, axis=1, keepdims=True) for x in s] for s in (shown, unseen)
    )
    cosines = np.array([[float((a @ b.T).mean()) for b in shown] for a in unseen])
    return float(np.diag(cosines)[:2].mean() - cosines[:2, 2].mean())


def test_it_learns_what_carries_over(encode: Encoder, trained: Trained) -> None:
    lora, losses = trained
    assert len(losses) == 6 and losses[-1] < losses[0] * 0.7
    assert apart(LayerEncoder(encode.folder, lora)) > apart(LayerEncoder(encode.folder)) + 0.1


def test_it_is_lora_and_nothing_else(trained: Trained) -> None:
    lora, _ = trained
    assert {name.rpartition(".")[2] for name in lora} == {"A", "B"}
    assert all(array.dtype == np.float32 and np.isfinite(array).all() for array in lora.values())
    assert all(8 in array.shape for array in lora.values())


def test_the_same_arguments_give_the_same_arrays(encode: Encoder) -> None:
    def train(seed: int) -> dict[str, npt.NDArray[np.float32]]:
        few, labels = TEXTS[::4], LABELS[::4]
        return train_classifier(encode.folder, few, labels, heads(), epochs=1, batch=4, seed=seed)

    one, two, other = train(3), train(3), train(4)
    assert one.keys() == two.keys() == other.keys()
    assert all(np.array_equal(one[name], two[name]) for name in one)
    assert any(not np.array_equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("label", [-1, 0, 1])
def test_one_kind_alone_teaches_nothing(encode: Encoder, label: int) -> None:
    with pytest.raises(DataError, match="texts to flag and texts not to flag") as caught:
        train_classifier(encode.folder, PERSON, np.full((len(PERSON), 2), label, np.int8), heads())
    assert "Brennick" not in str(caught.value)


def test_a_folder_without_an_encoder(tmp_path: object) -> None:
    with pytest.raises(ModelError, match="cannot be loaded"):
        train_classifier(str(tmp_path), TEXTS, LABELS, heads())


sides = arrays(bool, st.integers(2, 400))


@given(sides, st.integers(0, 2**32))
def test_an_epoch_shows_every_text_to_be_flagged_once(
    mine: npt.NDArray[np.bool_], seed: int
) -> None:
    random = np.random.default_rng(seed)
    hardness = random.normal(size=len(mine)).astype(np.float32)
    chosen = sample(mine, hardness, random)
    assert len(set(chosen)) == len(chosen)
    assert set(np.flatnonzero(mine)) <= set(chosen)
    others = chosen[~mine[chosen]]
    wanted = max(NEGATIVES * int(mine.sum()), FEWEST)
    assert len(others) == min(wanted, int((~mine).sum()))
    hardest = np.sort(hardness[~mine])[::-1][: len(others) // 2]
    assert set(hardest) <= set(hardness[others])


def test_the_other_half_is_drawn_anew() -> None:
    mine = np.arange(2000) < 100
    hardness = -np.arange(2000, dtype=np.float32)
    random = np.random.default_rng(0)
    one, two = (set(sample(mine, hardness, random)) for _ in range(2))
    assert set(range(200)) <= one & two  # those to be flagged, and the hardest hundred
    assert len(one - two) > 50


@given(
    arrays(np.int8, st.tuples(st.integers(1, 30), st.integers(1, 5)), elements=st.integers(-1, 1))
)
def test_both_kinds_of_a_head_weigh_alike(labels: npt.NDArray[np.int8]) -> None:
    weights = class_weights(labels)
    assert np.isfinite(weights).all() and (weights[labels == -1] == 0).all()
    for label, weight in zip(labels.T, weights.T, strict=True):
        if {0, 1} <= set(label):
            assert weight[label == 1].sum() == pytest.approx(weight[label == 0].sum(), rel=1e-5)
            assert weight.mean() == pytest.approx(1.0, rel=1e-5)
