"""A small model trained beside a frozen one, as it is served beside it (CMC).

What the two say together is log_softmax(z) + α · z_small, z being the frozen model's logits.
`guard.steering.offset` computes the same from a policy's negative ``alpha``: z_small is put into
the frozen model's order of tokens by `guard.steering.vocabulary`, and a token that the small model
has nothing for gets what it would say of each if it had no idea.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from adapters.batches import IGNORED, Example, pad
from adapters.objectives.base import Answers, Batch
from adapters.picking import picked_logits
from adapters.step import Passes
from guard.errors import ModelError
from guard.steering.vocabulary import NONE, Crossing, cross

if TYPE_CHECKING:
    import torch

_NO_STATES = "a small model beside the served one has no states of it to move; take another"


class Beside(Passes):
    """Forward passes of both; only the small model is trained.

    Args:
        frozen: The served model.
        tokenizer: Its tokenizer.
        small: The small model.
        own: The small model's tokenizer.
        alpha: How much of the small model's logits is added.
        device: Where both are.
        narrow: Whether arithmetic is in bfloat16.

    Raises:
        ModelError: The two tokenizers cannot be compared, or have next to nothing in common.
    """

    def __init__(
        self,
        frozen: Any,
        tokenizer: Any,
        small: Any,
        own: Any,
        alpha: float,
        *,
        device: Any = "cpu",
        narrow: bool = False,
    ) -> None:
        import torch

        self.model = small.to(device)
        self.device = torch.device(device)
        self.layers, self.last = [], 0
        self.tokens, self.known = 0, {}
        self._frozen = frozen.to(device).eval()
        self._alpha = alpha
        self._narrow = narrow
        size = frozen.get_output_embeddings().weight.shape[0]
        # The end that an engine knows: see `guard.engine.compat.sampler`.
        ends = () if tokenizer.eos_token_id is None else (int(tokenizer.eos_token_id),)
        self._crossing: Crossing | None = cross(tokenizer, own, size, ends)
        self._size = small.get_output_embeddings().weight.shape[0]
        index = range(size) if self._crossing is None else self._crossing.index
        found = torch.tensor(list(index), device=device)
        self._known = (found != NONE) & (found < self._size)
        self._first: int = next(
            (t for t in (own.bos_token_id, own.eos_token_id) if t is not None), 0
        )
        self._index = found.where(self._known, 0)
        self.train()

    def train(self) -> None:
        """Neither model drops anything: what is served never does."""
        self.model.eval()

    def fits(self, example: Example) -> bool:
        """Whether the small model can read a whole row."""
        limit = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        return limit is None or len(self._read(example.ids)) <= limit

    def answers(self, batch: Batch, layers: dict[int, "torch.Tensor"] | None = None) -> Answers:
        self.tokens += int(getattr(batch, "tokens", 0))
        return self.now(batch)

    def now(self, batch: Batch) -> Answers:
        before = self.before(batch)
        small = self._small(batch)
        ignorant = small.logsumexp(-1, keepdim=True) - math.log(self._size)
        values = small[:, self._index].where(self._known, ignorant)
        logits = before.logits + self._alpha * values
        return Answers(logits, before.labels, before.rows)

    def before(self, batch: Batch) -> Answers:
        import torch

        where = _places(batch)
        with torch.no_grad():
            tokens = batch.input_ids, batch.attention_mask
            decoder = getattr(self._frozen, self._frozen.base_model_prefix)
            logits = picked_logits(self._frozen, decoder, tokens, where, narrow=self._narrow)
        labels = batch.labels[:, 1:][where[:, 0], where[:, 1]]
        return Answers(logits.log_softmax(-1), labels, where[:, 0])

    def reinforced(self, batch: Batch) -> Answers:
        raise ModelError(_NO_STATES)

    def states_before(self, batch: Batch, layer: int) -> "torch.Tensor":
        raise ModelError(_NO_STATES)

    def _small(self, batch: Batch) -> "torch.Tensor":
        """What the small model says where answer tokens stand, float32 [m, its vocabulary]."""
        import torch

        where = _places(batch)
        tokens = batch.input_ids, batch.attention_mask
        if self._crossing is not None:
            rows = batch.input_ids.tolist()
            texts, places = cover([self._read(rows[row][: at + 1]) for row, at in where.tolist()])
            padded = pad([Example(tuple(text), 0, 0) for text in texts], self.device)
            tokens = padded.input_ids, padded.attention_mask
            where = torch.tensor(places, device=self.device)
        decoder = getattr(self.model, self.model.base_model_prefix)
        return picked_logits(self.model, decoder, tokens, where, narrow=self._narrow)

    def _read(self, tokens: Sequence[int]) -> list[int]:
        """What the small model reads of a text that is given in the served model's tokens."""
        if self._crossing is None:
            return list(tokens)
        return self._crossing.context(tokens) or [self._first]  # half a character is nothing yet


def cover(contexts: Sequence[Sequence[int]]) -> tuple[list[list[int]], list[tuple[int, int]]]:
    """Finds few texts that hold each context as a beginning: a text is read once for all of them.

    Args:
        contexts: Tokens, each at least one.

    Returns:
        The texts, and for each context which of them, and where in it the context ends.
    """
    texts: list[list[int]] = []
    places: dict[int, tuple[int, int]] = {}
    # In reverse order, what begins with a context stands right before it.
    for n in sorted(range(len(contexts)), key=lambda n: list(contexts[n]), reverse=True):
        tokens = list(contexts[n])
        if not texts or texts[-1][: len(tokens)] != tokens:
            texts.append(tokens)
        places[n] = len(texts) - 1, len(tokens) - 1
    return texts, [places[n] for n in range(len(contexts))]


def _places(batch: Batch) -> "torch.Tensor":
    """Rows and positions of the token before each that counts, int64 [m, 2]."""
    return (batch.labels[:, 1:] != IGNORED).nonzero()
