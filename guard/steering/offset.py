"""Logit offsets: what a small model remembers of the forget set is taken off the served model's.

With v the served model's logits, a the assistant's, b a base model's:

* v − α·a: ULD (arXiv 2406.08607), whose assistant has learned what is to be forgotten and nothing
  else. With a negative α, v + |α|·a: CMC, whose small model has learned what to say instead (its
  log-softmax of v changes no probability).
* v − α·(a − b): task-vector negation (arXiv 2212.04089) in logits, where b is the assistant before
  it learned.
* v − α·max(a − b, 0): WHP (arXiv 2310.02238); without a base model b is v, as there.

ULD's filter: the offset chooses among tokens that are likely in the first place, those of at least
``filter`` times the likeliest one's probability; but the likeliest ``filter`` of the vocabulary
are always among them. That second clause is of its code, not of its text, and decides: of a fact
learned by heart, no token but the right one would pass the first.
"""

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, Self

from guard.errors import InterventionError, ModelError
from guard.steering.assistant import Assistant, Reader, shared
from guard.steering.base import Engine, Steering
from guard.steering.pieces import served_tokenizer
from guard.steering.together import read_together
from guard.steering.vocabulary import NONE, Crossing, cross

if TYPE_CHECKING:
    import torch

ROOM = 64  # tokens of an answer that an assistant must be able to see beside the prompt


class Offset(Steering):
    """Takes assistants' logits off a request's.

    A plan holds ``assistant`` and ``base`` (null without one), each with ``folder``, ``adapter``
    and ``sha256``; ``alpha``, ``filter`` (0: all tokens) and ``rectified``. Offsets of several
    plans are added up, each made from the logits as they came; a token has to pass every filter.

    Assistants are loaded once per process, at its start, and shared; what one has read of a request
    goes with the request. They read the prompt's tokens as the engine has them: of an edited
    prompt, the original tokens where embeddings were corrupted, and whatever tokens stand for
    inserted embeddings.
    """

    kind: ClassVar[str] = "offset"

    def __init__(self, plans: Sequence[Mapping[str, Any]], engine: Engine) -> None:
        super().__init__(plans, engine)
        self._views: dict[str, _View] = {}
        for plan in plans:
            for model in filter(None, (plan["assistant"], plan["base"])):
                if model["sha256"] not in self._views:
                    self._views[model["sha256"]] = _View(model, engine)

    @classmethod
    def warm(cls, engine: Engine, parts: Sequence[Mapping[str, Any]] = ()) -> None:
        """Loads the assistants, so that no request waits and their memory is planned for."""
        for part in parts:
            for model in filter(None, (part["assistant"], part["base"])):
                _placed(model["folder"], model["adapter"], model["sha256"], engine)

    @classmethod
    def ahead(cls, rows: Sequence[tuple[Self, Sequence[int], Sequence[int]]]) -> None:
        """Has the assistants read the last token of all answers at once."""
        readings = []
        for steering, prompt, output in rows:
            for view in steering._views.values():
                with suppress(Exception):  # met again, and told, in the request's own call
                    readings.append((view.reader, view.context(prompt, output)))
        read_together(readings)

    def __call__(
        self, prompt: Sequence[int], output: Sequence[int], logits: "torch.Tensor"
    ) -> None:
        import torch

        allowed = logits > -torch.inf  # false for NaN, too
        if not allowed.any():
            return
        values = logits.float().where(allowed, -torch.inf)
        change = torch.zeros_like(values)
        kept = allowed
        for plan in self.plans:
            theirs, known = self._views[plan["assistant"]["sha256"]](prompt, output)
            if plan["base"] is not None:
                base, both = self._views[plan["base"]["sha256"]](prompt, output)
                theirs, known = theirs - base, known & both
            elif plan["rectified"]:
                theirs = theirs - values
            if plan["rectified"]:
                # What has no counterpart was not reinforced.
                theirs = theirs.clamp(min=0) * known
            change += plan["alpha"] * theirs
            kept = kept & likely(values, plan["filter"])
        changed = values - change
        if not changed[kept].isfinite().all():
            raise InterventionError("the assistant's logits are no numbers")
        logits.copy_(torch.where(kept, changed, -torch.inf))


def likely(values: "torch.Tensor", share: float) -> "torch.Tensor":
    """Which tokens pass ULD's filter, bool [vocabulary].

    Args:
        values: Logits, float [vocabulary].
        share: Part of the likeliest token's probability that a token must have; that part of the
            vocabulary passes in any case, the likeliest first.
    """
    import torch

    if share == 0:
        return torch.ones_like(values, dtype=torch.bool)
    least = torch.topk(values, max(int(share * len(values)), 1)).values[-1]
    return values >= torch.minimum(least, values.max() + math.log(share))


class _View:
    """One request's view of one assistant: its logits in the served model's order.

    Args:
        model: Its folder, adapter and hash, as plans have them.
        engine: Where it runs.
    """

    def __init__(self, model: Mapping[str, Any], engine: Engine) -> None:
        self.assistant, self.crossing, self.index, self.known = _placed(
            model["folder"], model["adapter"], model["sha256"], engine
        )
        self.reader = Reader(self.assistant)

    def __call__(
        self, prompt: Sequence[int], output: Sequence[int]
    ) -> tuple["torch.Tensor", "torch.Tensor"]:
        """Returns the logits of the next token, float32 and bool [vocabulary].

        The second says which tokens have a counterpart. The others get what the assistant would
        say of each token if it had no idea: a uniform distribution's logit.
        """
        import torch

        logits = self.reader(self.context(prompt, output))
        if logits.isnan().any():
            raise InterventionError("the assistant's logits are no numbers")
        ignorant = logits.logsumexp(0) - math.log(len(logits))
        values = torch.where(self.known, logits[self.index], ignorant)
        # Some models rule out tokens that they have no use for; that is no opinion either.
        return values.where(values > -torch.inf, ignorant), self.known

    def context(self, prompt: Sequence[int], output: Sequence[int]) -> list[int]:
        """The text that the assistant reads: all, or prompt and answer's end where it cannot.

        Raises:
            InterventionError: Not even the prompt fits.
        """
        if self.crossing is None:
            tokens, asked = [*prompt, *output], len(prompt)
        else:
            tokens = self.crossing.context([*prompt, *output])
            asked = len(self.crossing.context(prompt))
        limit = self.assistant.limit
        if limit is None or len(tokens) <= limit:
            return tokens
        room = limit - asked
        if room < ROOM:
            raise InterventionError("the prompt is too long for the assistant")
        # Forgotten in steps: each time a stretch is left out, what follows is read again.
        step = room // 2
        surplus = -(-(len(tokens) - limit) // step) * step
        return tokens[:asked] + tokens[asked + surplus :]


@cache
def _placed(
    folder: str, adapter: str | None, sha256: str, engine: Engine
) -> tuple[Assistant, Crossing | None, "torch.Tensor", "torch.Tensor"]:
    """An assistant, how it is related to the served model, its token for each of that model's.

    Raises:
        ModelError: It cannot be loaded or related, or is not the one that was compiled with.
    """
    import torch

    assistant = shared(folder, adapter, sha256, engine.device)
    try:
        crossing = cross(
            served_tokenizer(engine), assistant.tokenizer, engine.vocabulary, engine.eos
        )
    except ModelError as error:
        raise ModelError(f"{folder}: {error}") from None
    index = range(engine.vocabulary) if crossing is None else crossing.index
    found = torch.tensor(list(index), device=engine.device)
    known = (found != NONE) & (found < assistant.size)
    return assistant, crossing, found.where(known, 0), known
