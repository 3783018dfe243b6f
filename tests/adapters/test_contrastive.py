"""O3's encoder training: the loss by hand, the same twice, and better at what it is trained for."""

import copy
import math

import numpy as np
import pytest
import torch

from adapters.contrastive import contrastive_entropy, train_contrastive
from guard.errors import DataError
from guard.layers import LayerEncoder
from guard.models import resolve
from tests.material import PERSON_ROWS

TEXTS = [question for question, _ in PERSON_ROWS][:12]


@pytest.fixture(scope="module")
def folder() -> str:
    return resolve("builtin:minilm")


def test_the_entropy_is_that_of_the_hand_calculation() -> None:
    # One text, two layers, two keys. Layer 0: products ln 3 and 0, so shares 3/4 and 1/4.
    # Layer 1: products 0 and 0, so one half each.
    states = torch.tensor([[[math.log(3.0), 0.0], [0.0, 0.0]]])
    keys = torch.tensor([[[1.0, 5.0], [1.0, 1.0]], [[0.0, 7.0], [2.0, 2.0]]])
    first = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert contrastive_entropy(states, keys).item() == pytest.approx(first + math.log(2), abs=1e-6)
    # The mean over texts: a second one that is sure of its key in both layers adds nothing.
    sure = torch.tensor([[[0.0, 99.0], [0.0, 99.0]]])
    both = contrastive_entropy(torch.cat([states, sure]), keys).item()
    assert both == pytest.approx((first + math.log(2)) / 2, abs=1e-6)


def test_the_entropy_is_finite_and_has_a_gradient_where_one_key_takes_all() -> None:
    states = torch.tensor([[[300.0, 0.0]]], requires_grad=True)
    entropy = contrastive_entropy(states, torch.tensor([[[1.0, 0.0]], [[-1.0, 0.0]]]))
    torch.autograd.backward(entropy)
    assert entropy.item() == 0.0
    assert states.grad is not None and torch.isfinite(states.grad).all()


def test_training_is_the_same_twice_and_leaves_the_generator_alone(folder: str) -> None:
    torch.manual_seed(5)
    state = torch.random.get_rng_state()
    one = train_contrastive(folder, TEXTS, epochs=1, seed=3)
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(6)
    two = train_contrastive(folder, TEXTS, epochs=1, seed=3)
    other = train_contrastive(folder, TEXTS, epochs=1, seed=4)
    assert one.keys() == two.keys() == other.keys()
    assert all(np.array_equal(one[name], two[name]) for name in one)
    assert not all(np.array_equal(one[name], other[name]) for name in one)


def test_the_arrays_are_low_rank_changes_of_the_encoder(folder: str) -> None:
    losses: list[float] = []
    arrays = train_contrastive(
        folder,
        TEXTS,
        epochs=6,
        rank=2,
        contrast=0.01,
        batch=4,
        report=lambda epoch, loss: losses.append(loss),
    )
    assert len(losses) == 6
    assert np.mean(losses[3:]) < np.mean(losses[:3])
    layers = {name.rpartition(".")[0] for name in arrays}
    assert len(arrays) == 2 * len(layers) == 2 * 6 * 6  # six linear layers in each of six blocks
    for layer in layers:
        assert arrays[f"{layer}.A"].shape[0] == arrays[f"{layer}.B"].shape[1] == 2
        assert arrays[f"{layer}.A"].dtype == arrays[f"{layer}.B"].dtype == np.float32
    before = LayerEncoder(folder).states(TEXTS)
    after = LayerEncoder(folder, arrays).states(TEXTS)
    assert np.allclose(before[:, 0], after[:, 0], atol=1e-5)  # embeddings are no linear layer
    assert all(np.abs(after[:, n] - before[:, n]).max() > 1e-3 for n in range(1, 7))


def test_contrast_draws_masked_texts_to_fewer_keys(folder: str) -> None:
    # Everything else alike, so what differs comes from the loss's weight.
    keys = torch.from_numpy(LayerEncoder(folder).states(TEXTS))

    def undecided(contrast: float) -> float:
        lora = train_contrastive(folder, TEXTS, epochs=4, contrast=contrast, batch=4)
        states = torch.from_numpy(LayerEncoder(folder, lora).states(TEXTS))
        return contrastive_entropy(states, keys).item()

    assert undecided(1.0) < undecided(0.0)


def test_texts_are_left_as_they_are_and_must_be_some(folder: str) -> None:
    texts = copy.copy(TEXTS)
    train_contrastive(folder, texts, epochs=1)
    assert texts == TEXTS
    with pytest.raises(DataError, match="holds no text"):
        train_contrastive(folder, [])
