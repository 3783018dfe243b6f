"""The contract of a steering: a pure function of a request's tokens, applied to its next logits."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Self

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Engine:
    """What a steering may know of the engine that it runs in.

    Attributes:
        folder: The served model's folder.
        vocabulary: How many logits a row has.
        eos: Tokens that end an answer.
        device: Where the logits are, as torch names it.
        tokenizer: The served tokenizer, Hugging Face's; the folder's own where none is given.
    """

    folder: str
    vocabulary: int
    eos: tuple[int, ...]
    device: str
    tokenizer: Any = field(default=None, compare=False, repr=False)


class Steering(ABC):
    """What is done to one request's logits.

    The engine preempts requests, fills in prompts in pieces and moves rows about; so whatever is
    remembered between calls must follow from the tokens alone, and is made again from them when
    they are not a continuation of those seen last.

    Args:
        plans: What interventions wrote for this request, one or more; JSON.
        engine: Where it runs.
    """

    kind: ClassVar[str]
    # Of several kinds on one request the lower comes first; what bans a token comes last.
    order: ClassVar[int] = 0

    def __init__(self, plans: Sequence[Mapping[str, Any]], engine: Engine) -> None:
        self.plans = plans
        self.engine = engine

    @classmethod  # noqa: B027  (most kinds have nothing to load)
    def warm(cls, engine: Engine, parts: Sequence[Mapping[str, Any]] = ()) -> None:
        """Loads what the first request should not have to wait for; called at the start.

        Args:
            engine: Where it runs.
            parts: For each intervention of this kind, its options and what the bundle keeps of it
                as JSON, in one mapping.

        Raises:
            GuardError: It cannot be had; the engine does not start then.
        """

    @classmethod  # noqa: B027  (most kinds have nothing that is cheaper for several)
    def ahead(cls, rows: "Sequence[tuple[Self, Sequence[int], Sequence[int]]]") -> None:
        """Does for several requests at once what their calls would do one by one.

        Called before them, where there are several. It may be left out: what the calls make of the
        logits is the same without, up to the rounding of floats.

        Args:
            rows: The steering of each, its prompt and its answer so far.
        """

    @abstractmethod
    def __call__(
        self, prompt: Sequence[int], output: Sequence[int], logits: "torch.Tensor"
    ) -> None:
        """Changes the logits of the next token in place.

        Args:
            prompt: The prompt's tokens, as the engine has them.
            output: The answer so far.
            logits: Float [vocabulary]; minus infinity where a token is ruled out already.
        """
