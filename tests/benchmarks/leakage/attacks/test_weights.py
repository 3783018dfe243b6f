import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.leakage.attacks.weights import WEIGHT_ATTACKS, divided
from benchmarks.leakage.attacks.weights.quantise import Quantise, rounded
from benchmarks.leakage.case import Case
from guard.errors import DataError, ModelError
from guard.lora import read_lora
from guard.models import resolve
from tests.adapters.tiny import FORGET, make_model

BITS = st.sampled_from([(8, None), (4, 128), (4, 3), (2, 2)])


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(resolve("builtin:smollm2"))
    return make_model(tmp_path_factory.mktemp("tiny") / "model", tokenizer)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    (path,) = folder.glob("*.safetensors")
    return dict(load_file(path))


def nll(folder: Path) -> float:
    """Of the first row's answer, in nats a token."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    tiny = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    row = FORGET[0]
    chat = [{"role": "user", "content": row.prompt}, {"role": "assistant", "content": row.answer}]
    text = tokenizer.apply_chat_template(chat, tokenize=False)
    ids = tokenizer(text, return_tensors="pt", add_special_tokens=False).input_ids
    start = len(tokenizer(text[: text.index(row.answer)], add_special_tokens=False).input_ids)
    labels = ids.clone()
    labels[:, :start] = -100
    with torch.no_grad():
        return float(tiny(input_ids=ids, labels=labels).loss)


@given(
    bits=BITS,
    rows=st.lists(
        st.lists(st.floats(-8, 8, width=32), min_size=5, max_size=5), min_size=1, max_size=4
    ),
)
def test_rounding_is_to_the_nearest_of_few_levels(
    bits: tuple[int, int | None], rows: list[list[float]]
) -> None:
    count, group = bits
    weight = torch.tensor(rows)
    found = rounded(weight, count, group)
    for old, new in zip(
        torch.split(weight, group or 5, 1), torch.split(found, group or 5, 1), strict=True
    ):
        step = old.abs().amax(dim=1, keepdim=True) / (2 ** (count - 1) - 1)
        assert bool(((old - new).abs() <= step / 2 * 1.001 + 1e-9).all())
        for row in new:
            assert len(set(row.tolist())) <= 2**count - 1


def test_rounding_by_hand() -> None:
    weight = torch.tensor([[7.0, 3.4, -3.6, 0.2], [0.7, 0.1, 70.0, 0.0]])
    assert rounded(weight, 4, None).tolist() == [[7, 3, -4, 0], [0, 0, 70, 0]]
    second = rounded(weight, 4, 2)[1].tolist()
    assert second == pytest.approx([0.7, 0.1, 70.0, 0.0], abs=1e-6)


def test_four_bits_have_a_scale_for_each_group_and_eight_for_each_row() -> None:
    weight = torch.cat([torch.full((1, 128), 0.01), torch.full((1, 128), 1.0)], dim=1)
    four, eight = (Quantise(bits)._rounded(weight)[0, 0].item() for bits in (4, 8))
    assert four == pytest.approx(0.01) and eight == pytest.approx(1 / 127)


def test_rounding_again_changes_nothing() -> None:
    weight = torch.randn(8, 300)
    once = rounded(weight, 4, 128)
    assert torch.allclose(rounded(once, 4, 128), once, atol=1e-6)


@pytest.mark.parametrize("name", ["quantise: int8", "quantise: int4"])
def test_a_quantised_model_is_the_same_but_for_its_linear_layers(
    name: str, model: Path, tmp_path: Path
) -> None:
    out = WEIGHT_ATTACKS[name].model(model, (), tmp_path / "out", 0)
    old, new = weights(model), weights(out)
    assert old.keys() == new.keys()
    for key, tensor in old.items():
        assert tensor.dtype == new[key].dtype and tensor.shape == new[key].shape
        assert torch.equal(tensor, new[key]) != ("_proj" in key), key
    off = nll(out) - nll(model)
    assert abs(off) < (0.05 if "int8" in name else 1.0)


def test_a_model_that_learns_rows_again_knows_them(model: Path, tmp_path: Path) -> None:
    out = WEIGHT_ATTACKS["relearn"].model(model, FORGET, tmp_path / "out", 0)
    assert nll(out) < nll(model) - 0.5
    assert weights(out).keys() == weights(model).keys()


def test_adapters_are_attacked_as_adapters(model: Path, tmp_path: Path) -> None:
    first = WEIGHT_ATTACKS["relearn"]
    lora = first._train(model, None, FORGET[:1], tmp_path / "lora", 0)  # type: ignore[attr-defined]
    for name, attack in WEIGHT_ATTACKS.items():
        out = attack.adapter(model, lora, FORGET, tmp_path / name.replace(": ", "-"), 1)
        assert read_lora(out, model).weights != read_lora(lora, model).weights
        old, new = weights(lora), weights(out)
        for key in (key for key in old if "lora_A" in key):  # it is gone on from
            assert torch.cosine_similarity(old[key].flatten(), new[key].flatten(), 0) > 0.8, key
        told = json.loads((out / "adapter_config.json").read_text("utf-8"))
        assert told["r"] == json.loads((lora / "adapter_config.json").read_text("utf-8"))["r"]


@pytest.mark.parametrize("name", WEIGHT_ATTACKS)
def test_what_is_no_model_is_refused_and_nothing_is_left(name: str, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    with pytest.raises(ModelError, match="none"):
        WEIGHT_ATTACKS[name].model(tmp_path / "none", FORGET, tmp_path / "out", 0)
    assert not (tmp_path / "out").exists()


def test_what_is_no_adapter_is_refused(model: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no PEFT adapter"):
        WEIGHT_ATTACKS["quantise: int4"].adapter(model, tmp_path, (), tmp_path / "out", 0)


def test_who_has_no_row_cannot_relearn(model: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="relearn: the attacker has no row"):
        WEIGHT_ATTACKS["relearn"].model(model, (), tmp_path / "out", 0)
    assert not list(tmp_path.iterdir())


@given(count=st.integers(1, 60), seed=st.integers(0, 9), share=st.floats(0, 1))
def test_what_is_learned_again_is_not_judged(count: int, seed: int, share: float) -> None:
    cases = [Case(f"q{n}", f"a{n // 2}", "g") for n in range(count)]
    rows, judged = divided(cases, seed, share)
    assert len(rows) == max(1, round(share * count))
    assert not {row.answer for row in rows} & {case.answer for case in judged}
    assert {case.answer for case in judged} | {row.answer for row in rows} == {
        case.answer for case in cases
    }
    assert (rows, judged) == divided(cases, seed, share)


def test_passages_are_learned_whole() -> None:
    rows, judged = divided([Case("It stood", "there.", "g", passage=True)], 0)
    assert [(row.prompt, row.answer) for row in rows] == [("It stood there.", "")] and not judged
    assert divided([], 0) == ((), ())
