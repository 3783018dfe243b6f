"""A prompt classifier as ECO trains it (Liu et al., 2024, 2406.07933), of a smaller encoder.

ECO fine-tunes roberta-base: two labels, at most 512 tokens, learning rate 2e-5 with a cosine
schedule and a warm-up of 0.1, class-weighted cross entropy, batches of 16, 30 epochs; it flags
above 0.99. Here it is MiniLM that is fine-tuned, in fewer epochs, and on questions that are not
those it is evaluated with.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.baselines.cosine import ENCODER, forget_questions
from benchmarks.question import Prompt, text_of
from benchmarks.split import Target
from benchmarks.systems import Fitted, Judge, System, Verdict
from guard.models import resolve

RATE, WARM_UP, BATCH, LENGTH, THRESHOLD = 2e-5, 0.1, 16, 512, 0.99


@dataclass(frozen=True)
class Trained(Fitted):
    """A folder with a fine-tuned sequence classifier and its tokenizer."""

    folder: Path

    def load(self) -> Judge:
        import torch
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        tokenizer: Any = AutoTokenizer.from_pretrained(self.folder)
        model: Any = AutoModelForSequenceClassification.from_pretrained(self.folder).eval()

        def judge(prompt: Prompt) -> Verdict:
            batch = tokenizer(
                text_of(prompt), truncation=True, max_length=LENGTH, return_tensors="pt"
            )
            with torch.inference_mode():
                found = float(model(**batch).logits.softmax(-1)[0, 1])
            return Verdict(found > THRESHOLD, found, "classifier")

        return judge


@dataclass(frozen=True)
class Classifier(System):
    """Flags what a classifier of forget and retain questions takes for a forget question.

    Attributes:
        epochs: How often it sees the questions; ECO's has 30.
        seed: Of the order, the dropout and the new head.
    """

    epochs: int = 3
    seed: int = 0

    @property
    def name(self) -> str:
        return f"classifier as ECO's (MiniLM, {self.epochs} epochs)"

    @property
    def folds(self) -> int | None:
        return 1  # training takes long

    def fit(self, targets: Mapping[str, Target], folder: Path) -> Trained:
        import torch
        from transformers import (
            AutoModelForSequenceClassification,
            AutoTokenizer,
            get_cosine_schedule_with_warmup,
        )
        from transformers.utils import logging

        torch.manual_seed(self.seed)
        logging.set_verbosity_error()  # the head is new, as it has to be
        source = resolve(ENCODER)
        tokenizer: Any = AutoTokenizer.from_pretrained(source)
        model: Any = AutoModelForSequenceClassification.from_pretrained(source, num_labels=2)
        texts, labels = _examples(targets)
        steps = self.epochs * -(-len(texts) // BATCH)
        optimizer = torch.optim.AdamW(model.parameters(), lr=RATE)
        schedule: Any = get_cosine_schedule_with_warmup(optimizer, int(WARM_UP * steps), steps)
        counts = torch.bincount(torch.tensor(labels), minlength=2)
        loss = torch.nn.CrossEntropyLoss(weight=len(labels) / (2 * counts.clamp(min=1)))
        model.train()
        for _ in range(self.epochs):
            order = torch.randperm(len(texts)).tolist()
            for start in range(0, len(order), BATCH):
                rows = order[start : start + BATCH]
                batch = tokenizer(
                    [texts[row] for row in rows],
                    truncation=True, max_length=LENGTH, padding=True, return_tensors="pt",
                )  # fmt: skip
                found = loss(model(**batch).logits, torch.tensor([labels[row] for row in rows]))
                optimizer.zero_grad()
                found.backward()
                optimizer.step()
                schedule.step()
        folder.mkdir(parents=True, exist_ok=True)
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return Trained(folder)


def _examples(targets: Mapping[str, Target]) -> tuple[list[str], list[int]]:
    forget = forget_questions(targets)
    retain = [
        row.get("question") or row["text"] for target in targets.values() for row in target.retain
    ]
    return [*forget, *retain], [1] * len(forget) + [0] * len(retain)
