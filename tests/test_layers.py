"""The layers of the encoder: pooled as sentence-transformers pools, changed only by LoRA."""

import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guard.encoder import Encoder
from guard.errors import ModelError
from guard.layers import LayerEncoder, load_transformer
from guard.models import resolve

TEXTS = [
    "Who was Ada?",
    "A much longer sentence about the history of engines and of looms.",
    "",
    "?",
]
LAYER = "encoder.layer.5.output.dense"


@pytest.fixture(scope="module")
def folder() -> str:
    return resolve("builtin:minilm")


@pytest.fixture(scope="module")
def frozen(folder: str) -> LayerEncoder:
    return LayerEncoder(folder)


def test_the_last_layer_is_the_sentence_embedding(frozen: LayerEncoder, encode: Encoder) -> None:
    last = frozen.states(TEXTS)[:, -1]
    unit = last / np.linalg.norm(last, axis=1, keepdims=True)
    assert np.allclose(unit, encode(TEXTS), atol=1e-5)


def test_there_is_a_state_for_the_embeddings_and_each_layer(frozen: LayerEncoder) -> None:
    states = frozen.states(TEXTS)
    assert states.shape == (4, 7, 384) and states.dtype == np.float32
    assert all(not np.allclose(states[0, n], states[0, n + 1], atol=0.01) for n in range(6))
    assert frozen.states([]).shape == (0, 7, 384)


def test_neither_order_nor_company_matters(frozen: LayerEncoder) -> None:
    many = [f"{text} {'and so on ' * (n % 7)}" for n, text in enumerate(TEXTS * 20)]
    states = frozen.states(many)
    assert np.allclose(frozen.states(many[::-1])[::-1], states, atol=1e-5)
    assert np.allclose(frozen.states(many[17:18])[0], states[17], atol=1e-5)


def test_what_is_beyond_256_tokens_is_cut_off(frozen: LayerEncoder) -> None:
    words = ["one", "two", "three", "four", "five", "six", "seven", "eight"] * 40
    short, long, cut = frozen.states([" ".join(words[:n]) for n in (254, 320, 253)])
    assert np.allclose(short, long, atol=1e-5)
    assert not np.allclose(cut, long, atol=1e-5)


@settings(max_examples=30)
@given(st.lists(st.text(), max_size=4), st.text(st.characters(categories=["Cs", "So", "Lo"])))
def test_any_text_has_finite_states(frozen: LayerEncoder, texts: list[str], odd: str) -> None:
    states = frozen.states([*texts, odd])
    assert len(states) == len(texts) + 1
    assert np.isfinite(states).all()


def test_lora_changes_the_weight_that_it_names(folder: str, frozen: LayerEncoder) -> None:
    rng = np.random.default_rng(0)
    down = rng.normal(size=(2, 1536)).astype(np.float32)
    up = rng.normal(scale=0.1, size=(384, 2)).astype(np.float32)
    lora = {f"{LAYER}.A": down, f"{LAYER}.B": up}
    changed = LayerEncoder(folder, lora)
    before, after = frozen.states(TEXTS), changed.states(TEXTS)
    assert np.allclose(before[:, :6], after[:, :6], atol=1e-5)  # layer 5 makes the last state
    assert not np.allclose(before[:, 6], after[:, 6], atol=0.1)
    models = [load_transformer(folder)[1], load_transformer(folder, lora)[1]]
    old, new = (dict(model.named_parameters())[f"{LAYER}.weight"] for model in models)
    assert np.allclose((new - old).detach().numpy(), up @ down, atol=1e-5)


@pytest.mark.parametrize(
    "names",
    [
        {f"{LAYER}.A": (2, 7), f"{LAYER}.B": (384, 2)},
        {f"{LAYER}.A": (2, 1536), f"{LAYER}.B": (384, 3)},
        {f"{LAYER}.A": (2, 1536)},
        {"no.such.layer.A": (2, 4), "no.such.layer.B": (4, 2)},
        {"A": (2, 4), "B": (4, 2)},
    ],
)
def test_lora_that_does_not_fit_is_refused(folder: str, names: dict[str, tuple[int, int]]) -> None:
    lora = {name: np.zeros(shape, np.float32) for name, shape in names.items()}
    with pytest.raises(
        ModelError, match=r"the LoRA arrays of .* do not fit it; run `guard compile`"
    ):
        LayerEncoder(folder, lora).states(["a"])


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    encoder = LayerEncoder(str(tmp_path))
    with pytest.raises(ModelError, match="cannot be loaded"):
        encoder.states(["a"])


def test_threads_encode_alike(folder: str, frozen: LayerEncoder) -> None:
    expected = frozen.states(TEXTS)
    fresh = LayerEncoder(folder)
    found: list[bool] = []

    def work() -> None:
        found.extend(np.allclose(fresh.states(TEXTS), expected, atol=1e-5) for _ in range(5))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == [True] * 20
