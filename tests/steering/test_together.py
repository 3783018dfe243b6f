"""Several texts are read at once as each would be by itself, whoever comes, goes or turns back."""

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from guard.steering import together
from guard.steering.assistant import Assistant, Reader
from guard.steering.together import Place, read_together
from tests.steering.assistants import byte_level, from_scratch, loaded, write

SIZE, READERS = len(byte_level()), 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("assistant") / "model")


@pytest.fixture(scope="module")
def model(folder: Path) -> Assistant:
    return loaded(folder)


def close(one: torch.Tensor, other: torch.Tensor) -> bool:
    return bool(torch.allclose(one, other, atol=1e-4))


def begun(model: Assistant, *lengths: int) -> tuple[list[Reader], list[list[int]]]:
    """Readers that have read texts of some lengths."""
    texts = [[(7 * length + n) % SIZE for n in range(length)] for length in lengths]
    readers = [Reader(model) for _ in lengths]
    for reader, text in zip(readers, texts, strict=True):
        reader(text)
    return readers, texts


# A step is taken by some of the readers; each goes on by some tokens, mostly one, or turns back.
move = st.tuples(
    st.sampled_from([0, 0, 0, 0, 0, 1, 5]),
    st.lists(st.integers(0, SIZE - 1), min_size=1, max_size=1)
    | st.lists(st.integers(0, SIZE - 1), min_size=1, max_size=6),
)
step = st.dictionaries(st.integers(0, READERS - 1), move, min_size=1)


@given(program=st.lists(step, min_size=1, max_size=8))
def test_any_program_agrees_with_texts_read_alone(model: Assistant, program: Any) -> None:
    readers, texts = begun(model, 1, 9, 4, 4)
    for moves in program:
        for number, (back, more) in moves.items():
            text = texts[number]
            texts[number] = text[: max(len(text) - back, 0)] + more
        read_together([(readers[n], texts[n]) for n in moves])
        for number in moves:
            wanted = Reader(model)(texts[number])
            assert close(readers[number](texts[number]), wanted)


def test_it_says_what_transformers_says(folder: Path, model: Assistant) -> None:
    readers, texts = begun(model, 3, 17, 8)
    for token in range(20, 30):
        for text in texts:
            text.append(token)
        read_together(zip(readers, texts, strict=True))
        before = model.read
        for reader, text in zip(readers, texts, strict=True):
            assert close(reader(text), from_scratch(folder, text))
        assert model.read == before, "each knows its answer"


def test_a_step_of_several_costs_one_pass(model: Assistant) -> None:
    readers, texts = begun(model, 3, 17, 8)
    for token in range(10):
        for text in texts:
            text.append(token)
        before = model.passes, model.read
        read_together(zip(readers, texts, strict=True))
        for reader, text in zip(readers, texts, strict=True):
            reader(text)
        assert (model.passes - before[0], model.read - before[1]) == (1, 3)


def test_the_state_of_those_who_stay_together_is_not_copied(model: Assistant) -> None:
    """However the engine has put them in order."""
    readers, texts = begun(model, 3, 17, 8)

    def on() -> Any:
        for text in texts:
            text.append(5)
        read_together(zip(readers, texts, strict=True))
        (batch,) = {id(reader.state.batch): reader.state.batch for reader in readers}.values()
        return batch

    first = on()
    readers.reverse()
    texts.reverse()
    assert on() is first
    del readers[0], texts[0]
    second = on()
    assert second is not first
    assert len(second) == 2 and 0 in second.padding, "no more padding than they need"


def batches(readers: list[Reader]) -> dict[int, set[int]]:
    """Which readers are together, by the tokens that each of them takes."""
    found: dict[int, set[int]] = {}
    for number, reader in enumerate(readers):
        if isinstance(reader.state, Place):
            found.setdefault(reader.state.batch.cache.get_seq_length(), set()).add(number)
    return found


def test_a_long_text_does_not_make_others_as_long(model: Assistant) -> None:
    """One long prompt would take the memory of as many as there are."""
    readers, texts = begun(model, 3, 254, 255, 256, 400, 510)
    for _ in range(2):
        for text in texts:
            text.append(1)
        read_together(zip(readers, texts, strict=True))
        for reader, text in zip(readers, texts, strict=True):
            assert close(reader(text), Reader(model)(text))
    assert batches(readers) == {256: {0, 1}, 512: {2, 3, 4, 5}}


def test_a_batch_is_of_a_limited_size(model: Assistant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(together, "_MOST", 2 * 256)
    readers, texts = begun(model, 3, 9, 4, 8, 5, 300, 301)
    first: list[int | None] = []
    for _ in range(3):
        for text in texts:
            text.append(1)
        before = model.passes
        read_together(zip(readers, texts, strict=True))
        assert model.passes - before == 2, "two batches of two; those alone read by themselves"
        for reader, text in zip(readers, texts, strict=True):
            assert close(reader(text), Reader(model)(text))
        held = [id(r.state.batch) if isinstance(r.state, Place) else None for r in readers]
        assert held[:5] == (first := first or held[:5]), "who was together stays so"


def test_one_who_left_does_not_see_what_the_others_read_since(model: Assistant) -> None:
    readers, texts = begun(model, 3, 17, 8)
    for wanted in ((0, 1, 2), (0, 1), (0, 1), (0, 1, 2)):
        for number in wanted:
            texts[number].append(9)
        read_together([(readers[n], texts[n]) for n in wanted])
        for number in wanted:
            assert close(readers[number](texts[number]), Reader(model)(texts[number]))


def test_a_text_asked_for_twice_is_read_once(model: Assistant) -> None:
    readers, texts = begun(model, 3, 8)
    for text in texts:
        text.append(1)
    both = [*zip(readers, texts, strict=True)]
    before = model.read
    read_together(both + both)
    assert model.read - before == 2


def test_assistants_are_not_mixed_up(tmp_path: Path, model: Assistant) -> None:
    other = loaded(write(tmp_path, seed=4))
    readers, texts = begun(model, 3, 8)
    others, same = begun(other, 3, 8)
    for text in texts + same:
        text.append(1)
    read_together(zip(readers + others, texts + same, strict=True))
    for reader, text in zip(readers + others, texts + same, strict=True):
        assert isinstance(reader.state, Place)
        assert close(reader(text), Reader(reader.assistant)(text))


@pytest.mark.parametrize("token", [SIZE, -1])
def test_one_who_cannot_go_on_is_left_out(model: Assistant, token: int) -> None:
    readers, texts = begun(model, 3, 8, 5)
    for text in texts:
        text.append(1)
    texts[1][-1] = token
    read_together(zip(readers, texts, strict=True))
    assert not isinstance(readers[1].state, Place)
    assert close(readers[2](texts[2]), Reader(model)(texts[2]))


def test_a_reading_that_failed_is_made_again(
    model: Assistant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However far it came: nothing of it is taken for read."""
    readers, texts = begun(model, 3, 8)
    forward = model._model.forward

    def fails(*args: Any, **kwargs: Any) -> Any:
        forward(*args, **kwargs)
        raise MemoryError

    for _ in range(2):  # of states that are brought together, and of those that are
        for text in texts:
            text.append(2)
        read_together(zip(readers, texts, strict=True))
        with monkeypatch.context() as patch:
            patch.setattr(model._model, "forward", fails)
            with pytest.raises(MemoryError):
                read_together([(r, [*t, 3]) for r, t in zip(readers, texts, strict=True)])
        for reader, text in zip(readers, texts, strict=True):
            assert close(reader(text), Reader(model)(text))


def built(tmp_path: Path, kind: str) -> Assistant:
    """Models that know positions in other ways."""
    from transformers import GPT2Config, GPT2LMHeadModel, MistralConfig, MistralForCausalLM

    torch.manual_seed(3)
    made: Any
    if kind == "learned":
        made = GPT2LMHeadModel(
            GPT2Config(vocab_size=SIZE, n_embd=32, n_layer=2, n_head=2, initializer_range=0.4)
        )
    else:
        made = MistralForCausalLM(
            MistralConfig(
                vocab_size=SIZE, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
                num_attention_heads=4, num_key_value_heads=2, sliding_window=4,
                initializer_range=0.4,
            )
        )  # fmt: skip
    made.save_pretrained(tmp_path)
    byte_level().save_pretrained(tmp_path)
    return loaded(tmp_path)


@pytest.mark.parametrize("kind", ["learned", "sliding"])
def test_positions_are_each_texts_own(tmp_path: Path, kind: str) -> None:
    model = built(tmp_path, kind)
    readers, texts = begun(model, 2, 13, 6)
    for token in range(40, 46):
        for text in texts:
            text.append(token)
        read_together(zip(readers, texts, strict=True))
        for reader, text in zip(readers, texts, strict=True):
            assert isinstance(reader.state, Place)
            with torch.no_grad():
                wanted = model._model(torch.tensor([text])).logits[0, -1]
            assert close(reader(text), wanted)


ROPE = {"rope_theta": 10_000.0}


@pytest.mark.parametrize(
    ("rope", "together"),
    [
        ({"rope_type": "default"}, True),
        ({"rope_type": "linear", "factor": 2.0}, True),
        ({"rope_type": "dynamic", "factor": 2.0}, False),
        (
            {
                "rope_type": "longrope", "short_factor": [1.0] * 4, "long_factor": [2.0] * 4,
                "original_max_position_embeddings": 8, "factor": 2.0,
            },
            False,
        ),
    ],
    ids=lambda value: value["rope_type"] if isinstance(value, dict) else "",
)  # fmt: skip
def test_a_long_text_does_not_turn_the_positions_of_a_short_one(
    tmp_path: Path, rope: dict[str, Any], together: bool
) -> None:
    """Where the longest text decides how they are turned, each is read by itself."""
    model = loaded(write(tmp_path, limit=16, rope_parameters={**ROPE, **rope}))
    assert model.together == together
    readers, texts = begun(model, 3, 14)
    for _ in range(2):
        for text in texts:
            text.append(1)
        read_together(zip(readers, texts, strict=True))
        for reader, text in zip(readers, texts, strict=True):
            assert isinstance(reader.state, Place) == together
            steps = Reader(model)
            for length in range(len(text) - text.count(1), len(text) + 1):
                wanted = steps(text[:length])
            assert close(reader(text), wanted)


def test_a_model_that_is_not_told_positions_reads_by_itself(tmp_path: Path) -> None:
    """It would count the padding."""
    from transformers import BloomConfig, BloomForCausalLM

    torch.manual_seed(3)
    BloomForCausalLM(
        BloomConfig(vocab_size=SIZE, hidden_size=32, n_layer=1, n_head=2)
    ).save_pretrained(tmp_path)
    byte_level().save_pretrained(tmp_path)
    assert not loaded(tmp_path).together
