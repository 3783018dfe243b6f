"""Tokens to outcome, with the real tokenizer: what is hidden from the model, and what is not."""

import itertools
import shutil
import string
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.bundle import Bundle
from guard.embeddings import EmbeddingRows
from guard.engine.mediator import Mediator, Outcome
from guard.engine.progress import Progress
from guard.errors import EngineError, ModelError
from guard.guard import Guard
from guard.interventions.base import Answer
from guard.view import View
from tests.material import UNRELATED

PERSON = "Which prize did Odalys Brennick win?"
BOOK = "How does The Lantern of Vessmere end?"
SHADOW = "Who signed the Tidewater Compact?"
HARMLESS = "How do I boil an egg?"


@pytest.fixture(scope="module")
def mediator(guard: Guard, tokenizer: Any, served: Path) -> Mediator:
    return Mediator(guard, tokenizer, served)


def chat(tokenizer: Any, *turns: str, system: str | None = None) -> list[int]:
    """Token ids of a chat whose turns alternate between user and assistant."""
    roles = itertools.cycle(["user", "assistant"])
    messages = [{"role": role, "content": turn} for role, turn in zip(roles, turns, strict=False)]
    if system is not None:
        messages.insert(0, {"role": "system", "content": system})
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    ids: list[int] = tokenizer.encode(text, add_special_tokens=False)
    return ids


def kept(mediator: Mediator, ids: list[int], outcome: Outcome) -> str:
    """What of a prompt the model can still read, with one ░ for each token it cannot."""
    assert outcome.edited is not None
    return "".join(
        "░" if position in outcome.edited.embeddings else mediator.tokenizer.decode([token])
        for position, token in enumerate(ids)
    )


# Outcomes.


def test_what_is_not_flagged_is_left_as_it_is(mediator: Mediator, tokenizer: Any) -> None:
    for text in [*UNRELATED, HARMLESS]:
        outcome = mediator.judge(chat(tokenizer, text))
        assert not outcome.decision.flagged
        assert (outcome.edited, outcome.answer) == (None, None)


def test_shadow_changes_nothing(mediator: Mediator, tokenizer: Any) -> None:
    outcome = mediator.judge(chat(tokenizer, SHADOW))
    assert outcome.decision.flagged and outcome.decision.action == "allow"
    assert (outcome.edited, outcome.answer) == (None, None)


def test_refuse_answers(mediator: Mediator, tokenizer: Any) -> None:
    outcome = mediator.judge(chat(tokenizer, PERSON))
    assert outcome.answer == Answer("I know nothing about that person.")
    assert outcome.edited is None


def test_the_strictest_of_several_answers(mediator: Mediator, tokenizer: Any) -> None:
    for text in (f"{BOOK} {PERSON}", f"{PERSON} {SHADOW} {BOOK}"):
        outcome = mediator.judge(chat(tokenizer, text))
        assert outcome.answer is not None and outcome.edited is None


def test_bare_prompts_are_judged_too(mediator: Mediator, tokenizer: Any) -> None:
    assert mediator.judge(tokenizer.encode(PERSON)).answer
    assert mediator.judge(tokenizer.encode(BOOK)).edited
    assert not mediator.judge(tokenizer.encode(HARMLESS)).decision.flagged
    assert not mediator.judge([]).decision.flagged


@pytest.mark.parametrize(
    "turns", [(PERSON, "Ok.", "Thanks"), ("Hi", PERSON, "And?"), ("Hi", "Hello", PERSON)]
)
def test_every_turn_is_judged(mediator: Mediator, tokenizer: Any, turns: tuple[str, ...]) -> None:
    assert mediator.judge(chat(tokenizer, *turns)).answer
    assert mediator.judge(chat(tokenizer, "Go on.", system=" ".join(turns))).answer


def test_what_steers_is_judged_with_the_prompt(mediator: Mediator, tokenizer: Any) -> None:
    ids = chat(tokenizer, "Choose one.")
    assert mediator.judge(ids, ["Odalys Brennick", "nobody"]).answer
    assert not mediator.judge(ids, ["red", "blue"]).decision.flagged
    # An edit of the prompt does not reach a grammar that names a book.
    assert mediator.judge(ids, ["The Lantern of Vessmere"]).steered
    assert not mediator.judge(chat(tokenizer, BOOK), ["yes", "no"]).steered


def test_progress_tells_that_the_model_must_not_answer(mediator: Mediator, tokenizer: Any) -> None:
    for text, enforced in ((PERSON, True), (BOOK, True), (SHADOW, False), (HARMLESS, False)):
        progress = Progress()
        mediator.judge(chat(tokenizer, text), progress=progress)
        assert progress.enforced is enforced


# What is corrupted.


def test_template_tokens_are_never_touched(mediator: Mediator, tokenizer: Any) -> None:
    ids = chat(tokenizer, "Hello there", "Good day.", f"{BOOK} Tell me", system="Be brief.")
    outcome = mediator.judge(ids)
    read = kept(mediator, ids, outcome)
    template = (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n@<|im_end|>\n"
        "<|im_start|>assistant\n@<|im_end|>\n<|im_start|>user\n@<|im_end|>\n<|im_start|>assistant\n"
    )
    pieces = read.split("░")
    assert "".join(pieces).replace(".", "") == template.replace("@", "").replace(".", "")


def test_a_last_mark_is_left(mediator: Mediator, tokenizer: Any) -> None:
    ids = chat(tokenizer, BOOK)
    read = kept(mediator, ids, mediator.judge(ids))
    assert read.endswith("░?<|im_end|>\n<|im_start|>assistant\n")
    ids = tokenizer.encode(BOOK)
    assert set(kept(mediator, ids, mediator.judge(ids))) == {"░", "?"}


def test_a_default_system_text_is_left(mediator: Mediator, tokenizer: Any) -> None:
    ids = chat(tokenizer, BOOK)
    assert "You are a helpful AI assistant" in kept(mediator, ids, mediator.judge(ids))


def test_a_system_text_that_is_the_evidence_is_corrupted(
    mediator: Mediator, tokenizer: Any
) -> None:
    ids = chat(tokenizer, "Answer the question.", system=BOOK)
    read = kept(mediator, ids, mediator.judge(ids))
    assert not any(word in read for word in ("Lantern", "Vess", "mere", "Answer"))


@pytest.mark.parametrize(
    "text",
    [
        BOOK,
        f"{BOOK} 🙂",
        f"«{BOOK}» – naïve café, 日本語, Ωμέγα",
        f"\n\n{BOOK}\n",
        f"<|im_end|>{BOOK}<|im_start|>",
        f"{string.printable} {BOOK}",
    ],
)
def test_nothing_that_was_asked_can_be_read(mediator: Mediator, tokenizer: Any, text: str) -> None:
    for ids in (chat(tokenizer, text), tokenizer.encode(text)):
        read = kept(mediator, ids, mediator.judge(ids))
        assert not any(word in read for word in ("Lantern", "Vess", "mere", "end?"))


def test_the_embeddings_are_corrupted_ones(
    mediator: Mediator, tokenizer: Any, served: Path
) -> None:
    ids = chat(tokenizer, BOOK)
    edited = mediator.judge(ids).edited
    assert edited is not None
    table = EmbeddingRows(served)
    for position, row in edited.embeddings.items():
        own = table.embed([ids[position]])[0]
        assert row.dtype == np.float32 and row.shape == own.shape == (576,)
        hidden = row != own
        assert (row[hidden] == 0).all()
        # The 96 largest of 576 are gone.
        assert hidden.sum() == 96
        assert np.abs(own[hidden]).min() >= np.abs(own[~hidden]).max()


def test_the_same_prompt_is_edited_the_same(
    mediator: Mediator, bundle: Bundle, tokenizer: Any, served: Path
) -> None:
    """So that a cached prefix is the right one, in every process."""
    options = {"method": "rand_noise_first_n", "sigma": 1.0, "tokens": "all", "dims": None}
    noisy = [noisy_mediator(bundle, tokenizer, served, options) for _ in range(2)]
    ids, other = chat(tokenizer, BOOK), chat(tokenizer, f"{BOOK} Please.")
    one, two = (found.judge(ids).edited for found in noisy)
    assert one is not None and two is not None
    assert one.embeddings.keys() == two.embeddings.keys()
    assert all(np.array_equal(row, two.embeddings[at]) for at, row in one.embeddings.items())
    third = noisy[0].judge(other).edited
    assert third is not None and third.seed != one.seed


def noisy_mediator(
    bundle: Bundle, tokenizer: Any, served: Path, options: dict[str, Any]
) -> Mediator:
    targets = [
        target.model_copy(
            update={
                "interventions": [
                    one.model_copy(update={"options": options}) for one in target.interventions
                ]
            }
        )
        if target.id == "vessmere"
        else target
        for target in bundle.manifest.targets
    ]
    manifest = bundle.manifest.model_copy(update={"targets": targets})
    return Mediator(Guard(replace(bundle, manifest=manifest)), tokenizer, served)


# Where tokens stand.


@given(st.text(max_size=60))
def test_offsets_spell_the_prompt(mediator: Mediator, text: str) -> None:
    """Each token's stretch, laid end to end, is the prompt; or nothing is known of any."""
    ids = mediator.tokenizer.encode(text, add_special_tokens=False)
    view = mediator.view(ids)
    offsets = mediator._offsets(ids, view)
    assert len(offsets) == len(ids)
    prompt = mediator._decode(ids)
    if "\ufffd" in prompt:
        assert set(offsets) <= {(0, len(view.text))}
        return
    assert view.text.startswith(prompt)
    stretches = list(dict.fromkeys(offsets))
    assert "".join(prompt[start:end] for start, end in stretches) == prompt
    for token, (start, end) in zip(ids, offsets, strict=True):
        alone = mediator.tokenizer.decode([token])
        assert alone == prompt[start:end] or "\ufffd" in alone


@given(st.lists(st.integers(0, 49_151), max_size=40))
def test_any_tokens_have_offsets_and_a_decision(mediator: Mediator, ids: list[int]) -> None:
    """Prompts may come as token ids that no text gives."""
    offsets = mediator._offsets(ids, mediator.view(ids))
    assert len(offsets) == len(ids)
    assert all(0 <= start <= end for start, end in offsets)


def test_bytes_that_are_no_text_are_corrupted_whole(mediator: Mediator, tokenizer: Any) -> None:
    torn = tokenizer.encode("🙂", add_special_tokens=False)[:-1]
    assert "\ufffd" in tokenizer.decode(torn)
    ids = [*torn, *tokenizer.encode(BOOK)]
    outcome = mediator.judge(ids)
    assert outcome.edited is not None
    assert len(outcome.edited.embeddings) >= len(ids) - 1


def test_tokens_that_spell_a_name_in_pieces(mediator: Mediator, tokenizer: Any) -> None:
    """Letter by letter, as no tokenizer would: the text is what counts."""
    ids = [token for char in PERSON for token in tokenizer.encode(char, add_special_tokens=False)]
    assert tokenizer.decode(ids) == PERSON
    assert mediator.judge(ids).answer


@pytest.mark.parametrize("special", ["<|im_start|>", "<|im_end|>", "<|endoftext|>"])
def test_a_special_token_in_a_name_hides_nothing(
    mediator: Mediator, tokenizer: Any, special: str
) -> None:
    for text in (f"Who is Oda{special}lys Bren{special}nick?", f"Odalys{special}Brennick"):
        assert mediator.judge(chat(tokenizer, text)).answer
        assert mediator.judge(tokenizer.encode(text)).answer


def test_a_name_over_two_turns(mediator: Mediator, tokenizer: Any) -> None:
    assert mediator.judge(chat(tokenizer, "My friend is Odalys", "Brennick?", "Yes. Go on.")).answer


# The self-test.


def test_the_self_test_passes(mediator: Mediator) -> None:
    mediator.self_test()


@pytest.mark.parametrize(
    ("side", "prompt", "message"),
    [
        ("positives", HARMLESS, "target vessmere: known positive 1 is not flagged as a completion"),
        ("negatives", BOOK, "target vessmere: known negative 1 is flagged as a completion"),
    ],
)
def test_a_failed_self_test_names_the_target_and_no_prompt(
    bundle: Bundle, tokenizer: Any, served: Path, side: str, prompt: str, message: str
) -> None:
    targets = [
        target.model_copy(update={side: [prompt]}) if target.id == "vessmere" else target
        for target in bundle.manifest.targets
    ]
    manifest = bundle.manifest.model_copy(update={"targets": targets})
    broken = Mediator(Guard(replace(bundle, manifest=manifest)), tokenizer, served)
    with pytest.raises(EngineError) as error:
        broken.self_test()
    assert message in str(error.value)
    assert prompt not in str(error.value)


def test_a_checkpoint_that_cannot_be_read_fails_at_the_start(
    guard: Guard, bundle: Bundle, tokenizer: Any, served: Path, tmp_path: Path
) -> None:
    shutil.copy(served / "config.json", tmp_path)
    with pytest.raises(ModelError, match="no safetensors weights"):
        Mediator(guard, tokenizer, tmp_path)
    # Without an intervention that edits embeddings, none are needed.
    targets = [target for target in bundle.manifest.targets if target.id != "vessmere"]
    manifest = bundle.manifest.model_copy(update={"targets": targets})
    Mediator(Guard(replace(bundle, manifest=manifest)), tokenizer, tmp_path).self_test()


def test_the_view_is_of_what_the_engine_reads(mediator: Mediator, tokenizer: Any) -> None:
    ids = chat(tokenizer, PERSON)
    view = mediator.view(ids, ["steering"])
    assert isinstance(view, View)
    assert view.text.startswith(tokenizer.decode(ids))
    assert view.parts[-1].role == "steering"
