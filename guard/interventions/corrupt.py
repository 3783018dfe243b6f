"""Embedding-corrupted prompts: the model is asked, but cannot read what it is asked about.

The input embeddings of the tokens that tell what a flagged prompt asks are corrupted before the
model sees them (ECO, arXiv 2406.07933, section 3.3). Only prompt tokens are touched, never
the template's own and never an answer's.
"""

import bisect
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from guard.decision import Finding
from guard.errors import InterventionError
from guard.interventions.base import Intervention, Material, Request, Rows, ServedModel
from guard.matching import PhraseMatcher
from guard.names import distinctive, variants
from guard.normalize import letters
from guard.options import Strict
from guard.parts import Parts

Method = Literal[
    "zero_out_top_k",
    "zero_out_first_n",
    "rand_noise_first_n",
    "rand_noise_top_k",
    "flip_sign",
    "flip_sign_top_k",
    "flip_sign_first_n",
]


class CorruptOptions(Strict):
    """Options of `Corrupt`.

    Attributes:
        method: What is done to an embedding, and to which of its dimensions: the largest
            (``top_k``) or the first (``first_n``).
        tokens: Whose embeddings: ``all`` that any role wrote but the last token, or only the
            ``entities`` of the target (then all where none occurs). Entities read better, but
            leak: what is left of a question often gives its subject away.
        dims: How many dimensions (k or n). A sixth of them when left out, within the 16 to 24 %
            that ECO found best; ``flip_sign`` takes all.
        sigma: Standard deviation of the noise, for the ``rand_noise`` methods.
    """

    method: Method = "zero_out_top_k"
    tokens: Literal["all", "entities"] = "all"
    dims: int | None = Field(default=None, ge=1)
    sigma: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _fits(self) -> "CorruptOptions":
        noisy = self.method.startswith("rand_noise")
        if noisy != (self.sigma is not None):
            need = "needs 'sigma'" if noisy else "takes no 'sigma'"
            raise PydanticCustomError(
                "corrupt",
                "{method} {need}",
                {"method": self.method, "need": need, "field": "sigma"},
            )
        return self


class Corrupt(Intervention):
    """Corrupts the embeddings of a flagged prompt's tokens."""

    kind: ClassVar[str] = "corrupt"
    Options: ClassVar[type[Strict]] = CorruptOptions
    strictness: ClassVar[int] = 10

    def __init__(self, target: str, options: Any, parts: Parts) -> None:
        super().__init__(target, options, parts)
        self._entities = PhraseMatcher({phrase: None for phrase in parts.data["entities"]})

    @property
    def engine_args(self) -> Mapping[str, Any]:
        """Prompts that are partly embeddings."""
        return {"enable_prompt_embeds": True}

    @classmethod
    def fit(cls, material: Material, options: Any) -> Parts:
        """Notes the target's names, and the proper names of its forget set alone, if asked to."""
        if options.tokens != "entities":
            return Parts({"entities": []})  # a bundle holds the least it can
        examples = material.examples
        names = [*examples.names, *(row.prompt for row in examples.forget if row.is_name)]
        known = list(dict.fromkeys(phrase for name in names for phrase in variants(name)))
        others = (*examples.retain, *examples.background)
        rows = [row for row in examples.forget if not row.is_name]
        return Parts({"entities": [*known, *distinctive(rows, others, skip=known)]})

    def apply(self, request: Request, finding: Finding, model: ServedModel) -> Request:
        """Replaces the embeddings of the chosen tokens."""
        positions = self._entities_in(request) if self.options.tokens == "entities" else []
        positions = positions or self._all_of(request, finding)
        if not positions:
            raise InterventionError("a flagged prompt holds nothing that could be corrupted")
        # What another target corrupted already stays as it is: twice flipped would be restored.
        positions = [p for p in positions if p not in request.embeddings]
        if not positions:
            return request
        rows = model.embed([request.token_ids[p] for p in positions])
        random = np.random.default_rng(request.seed)
        changed = corrupt(rows, self.options, random)
        edits = {**request.embeddings, **dict(zip(positions, changed, strict=True))}
        return replace(request, embeddings=edits)

    def _entities_in(self, request: Request) -> list[int]:
        text = request.view.text
        spans = [
            (part.start + start, part.start + end)
            for part in request.view.parts
            for start, end, _ in self._entities.find(text[part.start : part.end])
        ]
        return _tokens(request, spans)

    def _all_of(self, request: Request, finding: Finding) -> list[int]:
        """All that was said, but a last token that is no word (a question mark, as a rule).

        Not the flagged stretch alone: "and when was he born?" leans on turns that flag nothing.
        A system text is left alone unless the evidence is in it.
        """
        low, high = finding.score.span or (0, 0)
        spans = [
            (part.start, part.end)
            for part in request.view.parts
            if part.role != "system" or (part.start < high and low < part.end)
        ]
        positions = _tokens(request, spans)
        if len(positions) > 1:
            start, end = request.offsets[positions[-1]]
            if not letters(request.view.text[start:end]):
                positions.pop()
        return positions


def corrupt(rows: Rows, options: CorruptOptions, random: np.random.Generator) -> Rows:
    """Corrupts embeddings, float32 [n, d], by one method of ECO's family."""
    operation = options.method.removesuffix("_top_k").removesuffix("_first_n")
    width = rows.shape[1]
    everything = options.method == "flip_sign"
    count = width if everything else min(options.dims or max(width // 6, 1), width)
    chosen = np.zeros(rows.shape, dtype=bool)
    if options.method.endswith("_top_k"):
        largest = np.argsort(-np.abs(rows), axis=1, kind="stable")[:, :count]
        np.put_along_axis(chosen, largest, True, axis=1)
    else:
        chosen[:, :count] = True
    if operation == "zero_out":
        changed = np.zeros_like(rows)
    elif operation == "flip_sign":
        changed = -rows
    else:
        changed = rows + random.normal(0.0, options.sigma or 0.0, rows.shape).astype(rows.dtype)
    return np.where(chosen, changed, rows)


def _tokens(request: Request, spans: list[tuple[int, int]]) -> list[int]:
    """Positions of the tokens that overlap any of the spans."""
    merged: list[tuple[int, int]] = []
    for low, high in sorted(span for span in spans if span[0] < span[1]):
        if merged and low <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(high, merged[-1][1])
        else:
            merged.append((low, high))
    ends = [high for _, high in merged]
    positions = []
    for position, (start, end) in enumerate(request.offsets):
        found = bisect.bisect_right(ends, start)  # first span that ends behind its start
        if found < len(merged) and merged[found][0] < end:
            positions.append(position)
    return positions
