"""The contract of an intervention: a pure function of a request, the findings and the model.

It edits the request or finishes the answer; it never sees the engine. What an edit can say is
what a `Request` can hold, and `guard.engine` knows how to tell that to vLLM.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from guard.decision import Finding
from guard.detectors.base import Examples
from guard.options import Strict
from guard.view import View

Rows = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Request:
    """A prompt as the engine would read it, with the edits made so far.

    Attributes:
        token_ids: The prompt's tokens.
        view: The prompt's text and parts; findings point into it.
        offsets: For each token, its first and last-plus-one character in the view's text.
        seed: Same prompt, same bundle: same seed. What is random in an edit comes from it.
        embeddings: Token position to the embedding that replaces the token's own, float32 [d].
    """

    token_ids: tuple[int, ...]
    view: View
    offsets: tuple[tuple[int, int], ...]
    seed: int
    embeddings: Mapping[int, Rows] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """A finished answer: the model is not asked."""

    text: str


class ServedModel(Protocol):
    """What an intervention may know of the served model."""

    def embed(self, token_ids: Sequence[int]) -> Rows:
        """Returns the input embeddings of tokens, float32 [n, d], as the model sees them."""
        ...


class Intervention(ABC):
    """What is done about one target.

    Args:
        target: The target's id.
        options: Its options, an instance of `Options`.
        state: What `fit` returned at compile time.
    """

    kind: ClassVar[str]
    Options: ClassVar[type[Strict]] = Strict
    # Among several flagged targets the strictest kind decides; higher is stricter.
    strictness: ClassVar[int]
    # Engine arguments that must hold for this kind to work; the plugin forces them.
    engine_args: ClassVar[Mapping[str, Any]] = {}

    def __init__(self, target: str, options: Any, state: Mapping[str, Any]) -> None:
        self.target = target
        self.options = options
        self.state = state

    @classmethod
    def fit(cls, examples: Examples, options: Any) -> dict[str, Any]:
        """Prepares what `apply` needs to know of the target: JSON, the least that will do."""
        return {}

    @abstractmethod
    def apply(self, request: Request, finding: Finding, model: ServedModel) -> Request | Answer:
        """Edits the request, or finishes the answer."""
