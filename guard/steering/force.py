"""Has a given answer be said, and tells how likely each of its tokens was: teacher forcing.

Everything else that is done to a request comes first (its edits, its adapter, what bans or
penalises tokens), so what is told is what the request would have had of the answer. Only the
evaluation mode writes such plans (`guard.engine.evaluation`).
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from guard.errors import InterventionError
from guard.steering.base import Engine, Steering

if TYPE_CHECKING:
    import torch

# A banned token has no likelihood; log-probabilities end here, in nats.
FLOOR = -10_000.0


class Force(Steering):
    """Leaves a row two tokens: the next of the given answer, and a carrier beside it.

    An engine gives back nothing of a row but log-probabilities. So the carrier's logit is set
    below the answer's token by what is to be told: their difference survives any normalisation,
    and the answer's token stays the likelier one. See `told`.

    Args:
        plans: One: ``tokens``, the answer.
        engine: Where it runs.
    """

    kind = "force"
    order = 1000  # behind everything that changes how likely a token is

    def __init__(self, plans: Sequence[Mapping[str, Any]], engine: Engine) -> None:
        super().__init__(plans, engine)
        (plan,) = plans
        self._tokens: list[int] = plan["tokens"]
        if not all(0 <= token < engine.vocabulary for token in self._tokens):
            raise InterventionError("a forced token is out of range")

    def __call__(
        self, prompt: Sequence[int], output: Sequence[int], logits: "torch.Tensor"
    ) -> None:
        """Forces the next token; behind the last one nothing is changed."""
        if len(output) >= len(self._tokens):
            return
        token = self._tokens[len(output)]
        likely = logits.log_softmax(-1)[token].nan_to_num(nan=FLOOR).clamp(min=FLOOR)
        logits.fill_(float("-inf"))
        logits[token] = 0.0
        logits[carrier(token, self.engine.vocabulary)] = likely - 1.0


def carrier(token: int, vocabulary: int) -> int:
    """Returns the token beside a forced one whose logit tells how likely that was."""
    return (token + 1) % vocabulary


def told(forced: float, carried: float) -> float:
    """Returns what a row tells: the log-probability of its forced token, in nats.

    Args:
        forced: The log-probability that the engine gives the forced token.
        carried: That of its carrier.
    """
    return min(carried - forced + 1.0, 0.0)
