"""Has the beginning of an answer be said again, and not what came behind it then.

What an output check rolls back to (`guard.output`): the tokens that may stay are forced, one after
the other, so the engine comes to where it was: in a grammar, in what it counts, in a seeded
sampling. Then nothing may be said that begins what must not leave. From there on, a plan of
`guard.steering.penalize` keeps it from being completed.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from guard.errors import InterventionError
from guard.steering.base import Engine, Steering
from guard.steering.penalize import TAIL, trie_of
from guard.steering.pieces import vocabulary
from guard.steering.trie import State

if TYPE_CHECKING:
    import torch

KIND = "replay"


class Replay(Steering):
    """Leaves a row the next of the given tokens, and behind them keeps it from their old way.

    Args:
        plans: One: ``tokens``, those to be said again; ``avoid``, tokens that must not come next;
            ``phrases``, as `guard.steering.penalize` has them, which must not be begun next.
        engine: Where it runs.
    """

    kind: ClassVar[str] = KIND
    order: ClassVar[int] = 500  # behind what bans: what has left already is said again in any case

    def __init__(self, plans: Sequence[Mapping[str, Any]], engine: Engine) -> None:
        super().__init__(plans, engine)
        (plan,) = plans
        self._tokens: list[int] = plan["tokens"]
        self._avoid: list[int] = plan["avoid"]
        points: list[int] = plan["phrases"]
        self._trie = trie_of("".join(map(chr, points)), engine) if points else None
        if not all(0 <= token < engine.vocabulary for token in (*self._tokens, *self._avoid)):
            raise InterventionError("a token to be said again is out of range")

    @classmethod
    def warm(cls, engine: Engine, parts: Sequence[Mapping[str, Any]] = ()) -> None:
        vocabulary(engine)

    def __call__(
        self, prompt: Sequence[int], output: Sequence[int], logits: "torch.Tensor"
    ) -> None:
        """Forces the next token, or bars the way that was taken; later nothing is changed."""
        import torch

        done, count = len(output), len(self._tokens)
        if done < count:
            logits.fill_(float("-inf"))
            logits[self._tokens[done]] = 0.0
        elif done == count:
            barred = list(self._avoid)
            if self._trie is not None:
                state = State()
                for token in (*prompt[-TAIL:], *output):
                    state = self._trie.follow(state, token)
                edits, texts = self._trie.edits(state), self._trie.vocabulary.texts
                begun = [token for token in edits.begun.tolist() if texts[token].strip()]
                found = (*edits.banned.tolist(), *begun)  # but no space that any word may follow
                barred += [token for token in found if token < len(logits)]
            logits[torch.tensor(barred, dtype=torch.long, device=logits.device)] = float("-inf")
