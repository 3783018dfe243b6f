"""What a model of transformers knows of the small world: its answers, and how likely it finds them.

Answers are greedy. Probabilities and truth ratios are teacher-forced with TOFU's own paraphrased
and perturbed answers, which no training and no choice of a scale is ever shown.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from adapters.batches import encode
from adapters.scores import mean_logs
from benchmarks.metrics.rouge import rouge_l
from benchmarks.metrics.utility import choice, utility
from benchmarks.world import Pair, Probe, World
from guard.data import Row

TOKENS = 64  # of an answer, at most
_BATCH = 20


@dataclass(frozen=True)
class Knowledge:
    """What a model knows; one entry a question.

    Attributes:
        forget: ROUGE-L recall of the answers to forget questions.
        paraphrased: The same to forget questions in other words.
        retain: The same to questions about other authors.
        probability: P(answer | forget question)^(1 / tokens).
        ratios: Truth ratios of the forget questions.
        utility: The harmonic mean of eight: probability and ROUGE-L of the retain questions;
            probability among the answers offered, ROUGE-L and 1 − truth ratio of real authors and
            of world facts.
    """

    forget: Sequence[float]
    paraphrased: Sequence[float]
    retain: Sequence[float]
    probability: Sequence[float]
    ratios: Sequence[float]
    utility: float


def knowledge(model: Any, tokenizer: Any, world: World, size: int | None = None) -> Knowledge:
    """Asks a model everything.

    Args:
        model: A causal language model, in evaluation mode.
        tokenizer: Its tokenizer.
        world: What is asked.
        size: How many questions of each set; all by default.
    """
    sets = [world.forget, world.paraphrased, world.asked]
    forget, paraphrased, retain = (_recalled(model, tokenizer, pairs[:size]) for pairs in sets)
    probes = world.probes[:size]
    kept = _likely(model, tokenizer, world.asked[:size])
    parts = [float(np.mean(kept)), float(np.mean(retain))]
    for others in world.others:
        some = others[:size]
        recalled = _recalled(model, tokenizer, [(one.question, one.answer) for one in some])
        right, wrong = _probed(model, tokenizer, some)
        chosen = [choice(r, w) for r, w in zip(right, wrong, strict=True)]
        known = [max(0.0, 1 - float(np.mean(w)) / r) for r, w in zip(right, wrong, strict=True)]
        parts += [float(np.mean(values)) for values in (chosen, recalled, known)]
    right, wrong = _probed(model, tokenizer, probes)
    return Knowledge(
        forget=forget,
        paraphrased=paraphrased,
        retain=retain,
        probability=_likely(model, tokenizer, world.forget[:size]),
        ratios=[float(np.mean(w) / r) for r, w in zip(right, wrong, strict=True)],
        utility=utility(parts),
    )


def _likely(model: Any, tokenizer: Any, pairs: Sequence[Pair]) -> list[float]:
    """P(answer | question)^(1 / tokens) of each pair."""
    examples = [encode(tokenizer, Row(question, answer)) for question, answer in pairs]
    scored = mean_logs(model, [example for example in examples if example is not None])
    return [float(value) for value in np.exp(scored)]


def _probed(
    model: Any, tokenizer: Any, probes: Sequence[Probe]
) -> tuple[list[float], list[list[float]]]:
    """The same of each probe's right answer, and of its wrong ones."""
    pairs = [(one.question, text) for one in probes for text in (one.right, *one.wrong)]
    found = iter(_likely(model, tokenizer, pairs))
    right, wrong = [], []
    for one in probes:
        right.append(next(found))
        wrong.append([next(found) for _ in one.wrong])
    return right, wrong


def _recalled(model: Any, tokenizer: Any, pairs: Sequence[Pair]) -> list[float]:
    """ROUGE-L recall of the answers to questions."""
    answers = answered(model, tokenizer, [question for question, _ in pairs])
    return [rouge_l(answer, pair[1]) for answer, pair in zip(answers, pairs, strict=True)]


def answered(model: Any, tokenizer: Any, questions: Sequence[str]) -> list[str]:
    """Asks questions as chats; greedy."""
    import torch

    prompts = [
        tokenizer.apply_chat_template(
            [{"role": "user", "content": question}], tokenize=False, add_generation_prompt=True
        )
        for question in questions
    ]
    order = sorted(range(len(prompts)), key=lambda n: len(prompts[n]))
    answers = [""] * len(prompts)
    for at in range(0, len(order), _BATCH):
        some = order[at : at + _BATCH]
        inputs = tokenizer(
            [prompts[n] for n in some],
            return_tensors="pt",
            padding=True,
            padding_side="left",
            add_special_tokens=False,
        ).to(model.device)
        with torch.inference_mode():
            ids = model.generate(**inputs, max_new_tokens=TOKENS, do_sample=False)
        texts = tokenizer.batch_decode(ids[:, inputs["input_ids"].shape[1] :], True)
        for n, text in zip(some, texts, strict=True):
            answers[n] = text
    return answers
