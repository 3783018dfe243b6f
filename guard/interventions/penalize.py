"""Penalties at generation time: the model answers, but cannot say what is to be forgotten.

GUARD (arXiv 2505.13312): the forget rows closest to the prompt are retrieved, and what tells their
answers is kept from the answer, token by token (`guard.steering.penalize`). An exact ban does not
reach a paraphrase, nor an answer that no telling word belongs to ("yes").
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import Field

from guard.decision import Finding
from guard.errors import DataError, InterventionError
from guard.forbidden import answer_of, forbidden
from guard.forbidden import bad_words as _bad_words
from guard.interventions.base import Intervention, Material, Request, ServedModel
from guard.options import Strict
from guard.parts import Parts
from guard.steering import PROCESSOR

KIND = "penalize"
_LAST = 2  # windows at a prompt's end: "and when was she born?"


class PenalizeOptions(Strict):
    """Options of `Penalize`.

    Attributes:
        closest: How many forget rows are kept from an answer, the closest to the prompt first.
        alpha: What is taken from the logit of a token that brings a forbidden phrase further,
            times the share of the phrase that would be said then.
        beta: What is taken from the logits of words with which a sentence means what a forbidden
            answer means, times how far its similarity exceeds ``delta``. Off unless asked for: on
            TOFU's answers (SmolLM2's embeddings, delta 0.7) it reached 77 % of the paraphrases
            only after two thirds of their words, when the fact is mostly said, and 26 % of the
            answers that told another fact; and the bundle has to hold the answers' words for it.
        delta: The cosine similarity above which ``beta`` counts.
    """

    closest: int = Field(default=5, ge=1, le=100)
    alpha: float = Field(default=2.0, ge=0, allow_inf_nan=False)
    beta: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    delta: float = Field(default=0.7, ge=0, le=1)


class Penalize(Intervention):
    """Keeps forbidden phrases out of the answer to a flagged prompt."""

    kind: ClassVar[str] = KIND
    Options: ClassVar[type[Strict]] = PenalizeOptions
    strictness: ClassVar[int] = 20

    def __init__(self, target: str, options: Any, parts: Parts) -> None:
        super().__init__(target, options, parts)
        arrays = parts.arrays
        self._phrases = bytes(arrays["phrases"]).decode().split("\0")
        self._owned = _split(arrays["owned"], arrays["owned_ends"])
        self._answers = _split(arrays["answers"], arrays["answer_ends"])
        self._vectors = arrays["vectors"].astype(np.float32)

    @property
    def engine_args(self) -> Mapping[str, Any]:
        """The sampler that plans are carried out in."""
        return {"logits_processors": [PROCESSOR]}

    @classmethod
    def fit(cls, material: Material, options: Any) -> Parts:
        """Notes what tells each forget row's answer, and a vector to find the row by.

        Raises:
            DataError: No answer holds anything that could be forbidden.
        """
        found = forbidden(material.examples)
        pairs = zip(material.examples.forget, found, strict=True)
        rows = [(row, phrases) for row, phrases in pairs if phrases]
        if not rows:
            raise DataError(
                "forget: no answer holds a name, number or rare word that 'penalize' could forbid; "
                "give rows with answers, or use another intervention"
            )
        phrases = list(dict.fromkeys(phrase for _, some in rows for phrase in some))
        number = {phrase: n for n, phrase in enumerate(phrases)}
        owned, owned_ends = _join([[number[phrase] for phrase in some] for _, some in rows])
        answers, answer_ends = _join([_bag(row, material, options) for row, _ in rows])
        texts = [f"{row.prompt} {row.answer}".strip() for row, _ in rows]
        return Parts(
            arrays={
                "phrases": np.frombuffer("\0".join(phrases).encode(), np.uint8),
                "owned": owned,
                "owned_ends": owned_ends,
                "answers": answers,
                "answer_ends": answer_ends,
                "vectors": material.encode(texts).astype(np.float16),
            }
        )

    def apply(self, request: Request, finding: Finding, model: ServedModel) -> Request:
        """Plans what the answer must not say."""
        rows = self._closest(request, finding, model)
        phrases = dict.fromkeys(int(n) for row in rows for n in self._owned[row])
        plan = {
            "phrases": [ord(char) for char in "\0".join(self._phrases[n] for n in phrases)],
            "alpha": self.options.alpha,
            "beta": self.options.beta,
            "delta": self.options.delta,
            "answers": [self._answers[row].tolist() for row in rows if self.options.beta],
        }
        return request.steer(KIND, plan)

    def _closest(self, request: Request, finding: Finding, model: ServedModel) -> list[int]:
        """The rows that are closest to what was flagged, or to what was said last."""
        low, high = finding.score.span or (0, 0)
        windows = [window for window in request.view.windows if window.text.strip()]
        flagged = [window for window in windows if window.start < high and low < window.end]
        texts = [window.text for window in (*flagged, *windows[-_LAST:])]
        if not texts:
            raise InterventionError("a flagged prompt holds no text to find its forget rows by")
        similarity = (model.encode(list(dict.fromkeys(texts))) @ self._vectors.T).max(axis=0)
        order = np.argsort(-similarity, kind="stable")
        return [int(row) for row in order[: self.options.closest]]


def bad_words(plans: Sequence[Mapping[str, Any]], most: int = 64) -> list[str]:
    """Returns strings for vLLM's ``bad_words`` from plans, for a server that takes no plan."""
    phrases = [p for plan in plans for p in "".join(map(chr, plan["phrases"])).split("\0")]
    return _bad_words(phrases, most)


def _bag(row: Any, material: Material, options: Any) -> list[int]:
    """An answer's tokens in the order of their numbers: enough for its average, and no text."""
    if not options.beta:
        return []
    ids: list[int] = material.tokenizer.encode(answer_of(row), add_special_tokens=False)
    return sorted(ids)


def _join(lists: Sequence[Sequence[int]]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Lists of numbers in one array, and where each ends."""
    flat = [number for some in lists for number in some]
    return np.array(flat, np.int32), np.cumsum([len(some) for some in lists], dtype=np.int32)


def _split(flat: npt.NDArray[Any], ends: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
    return np.split(flat, ends[:-1])
