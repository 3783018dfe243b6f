"""The contract of an intervention: a pure function of a request, the findings and the model.

It edits the request or finishes the answer; it never sees the engine. What an edit can say is
what a `Request` can hold, and `guard.engine` knows how to tell that to vLLM.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from guard.decision import Finding
from guard.detectors.base import Encode, Examples, Vectors
from guard.errors import InterventionError
from guard.options import Strict
from guard.parts import Parts
from guard.view import View

Rows = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Adapter:
    """A LoRA adapter that answers a request.

    Attributes:
        name: What the engine knows it by; tells target and scale apart.
        folder: Its PEFT folder.
    """

    name: str
    folder: str


@dataclass(frozen=True)
class Request:
    """A prompt as the engine would read it, with the edits made so far.

    Attributes:
        token_ids: The prompt's tokens.
        view: The prompt's text and parts; findings point into it.
        offsets: For each token, its first and last-plus-one character in the view's text; an
            inserted token stands nowhere in it.
        seed: Same prompt, same bundle: same seed. What is random in an edit comes from it.
        embeddings: Token position to the embedding that replaces the token's own, float32 [d].
        adapter: The adapter that answers; the base model without.
        steering: What is done to the logits, by kind of steering (`guard.steering`): plans, JSON.
    """

    token_ids: tuple[int, ...]
    view: View
    offsets: tuple[tuple[int, int], ...]
    seed: int
    embeddings: Mapping[int, Rows] = field(default_factory=dict)
    adapter: Adapter | None = None
    steering: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)

    def insert(
        self, position: int, token_ids: Sequence[int], rows: Rows | None = None
    ) -> "Request":
        """Returns the request with tokens put before a position.

        Args:
            position: Where, among the tokens as they are now.
            token_ids: What.
            rows: Embeddings in place of theirs, float32 [n, d].
        """
        count = len(token_ids)
        moved = {p + count * (p >= position): row for p, row in self.embeddings.items()}
        if rows is not None:
            moved |= {position + n: row for n, row in enumerate(rows)}
        at = self.offsets[position][0] if position < len(self.offsets) else len(self.view.text)
        return replace(
            self,
            token_ids=(*self.token_ids[:position], *token_ids, *self.token_ids[position:]),
            offsets=(*self.offsets[:position], *((at, at),) * count, *self.offsets[position:]),
            embeddings=moved,
        )

    def steer(self, kind: str, plan: Mapping[str, Any]) -> "Request":
        """Returns the request with one more plan of a kind of steering."""
        plans = (*self.steering.get(kind, ()), plan)
        return replace(self, steering={**self.steering, kind: plans})

    def differs(self, other: "Request") -> bool:
        """Whether the engine would be asked something else than by the other request."""
        return (
            self.token_ids != other.token_ids
            or self.embeddings.keys() != other.embeddings.keys()
            or any(
                not np.array_equal(row, other.embeddings[p]) for p, row in self.embeddings.items()
            )
            or (self.adapter, self.steering) != (other.adapter, other.steering)
        )


@dataclass(frozen=True)
class Answer:
    """A finished answer: the model is not asked."""

    text: str


@dataclass(frozen=True)
class Material:
    """What an intervention is fitted with.

    Attributes:
        examples: The target's rows.
        encode: The sentence encoder.
        served: The served model's folder.
    """

    examples: Examples
    encode: Encode
    served: Path | None = None

    @cached_property
    def tokenizer(self) -> Any:
        """The served model's Hugging Face tokenizer.

        Raises:
            InterventionError: The served model is not known.
        """
        if self.served is None:
            raise InterventionError("needs the served model's folder")
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(self.served)


class ServedModel(Protocol):
    """What an intervention may know of the served model when it is applied."""

    def embed(self, token_ids: Sequence[int]) -> Rows:
        """Returns the input embeddings of tokens, float32 [n, d], as the model sees them."""
        ...

    def tokenize(self, text: str) -> list[int]:
        """Returns a text's tokens, without any that the model puts around a text."""
        ...

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Returns sentence vectors of texts, as the detectors have them."""
        ...


class Intervention(ABC):
    """What is done about one target.

    Args:
        target: The target's id.
        options: Its options, an instance of `Options`.
        parts: What `fit` returned at compile time.
    """

    kind: ClassVar[str]
    Options: ClassVar[type[Strict]] = Strict
    # Among several flagged targets the strictest kind decides; higher is stricter.
    strictness: ClassVar[int]

    def __init__(self, target: str, options: Any, parts: Parts) -> None:
        self.target = target
        self.options = options
        self.parts = parts

    @property
    def engine_args(self) -> Mapping[str, Any]:
        """Engine arguments that must hold for this to work; the plugin forces them.

        Those of all interventions are joined: lists together, of numbers the largest.
        """
        return {}

    @property
    def adapters(self) -> tuple[Adapter, ...]:
        """Every adapter that it may give a request; the engine proves that it can load them."""
        return ()

    @classmethod
    def fit(cls, material: Material, options: Any) -> Parts:
        """Prepares what `apply` needs to know of the target: the least that will do.

        Raises:
            GuardError: The material does not do; the message says what would.
        """
        return Parts()

    @abstractmethod
    def apply(self, request: Request, finding: Finding, model: ServedModel) -> Request | Answer:
        """Edits the request, or finishes the answer.

        Raises:
            InterventionError: It cannot be done; the request is not answered then.
        """
