"""What an answer must not say: forbidden phrases and whole meanings, penalised as it is written.

GUARD (arXiv 2505.13312) searches with the cost −log p + α·P_trie + β·P_meaning. Sampling has no
search: here the same terms are taken from the logits, z ← z − α·P_trie − β·P_meaning, where

* P_trie is infinite for a token that completes a forbidden phrase, and depth/length for one that
  brings it further (`guard.steering.trie`);
* P_meaning = max(0, s − δ), s the cosine similarity of the sentence with that token to the nearest
  forbidden answer (`guard.steering.meaning`); of tokens that begin a word, the 20 likeliest.

An infinite penalty cannot be outbid; the finite ones can, by a client's own logit bias.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar

from guard.errors import InterventionError
from guard.steering.base import Engine, Steering
from guard.steering.meaning import Meaning, meaning
from guard.steering.pieces import vocabulary
from guard.steering.trie import State, Trie

if TYPE_CHECKING:
    import torch

TAIL = 32  # tokens of a prompt's end: an answer may complete what was begun there
_LIKELIEST = 20


class Penalize(Steering):
    """Penalises what the plans forbid.

    A plan holds ``phrases`` (code points of the phrases, with a zero between two: no text, which
    would be read in a log), ``alpha``, and for the meaning ``beta``, ``delta`` and ``answers`` (for
    each forbidden answer, its tokens in any order).
    """

    kind: ClassVar[str] = "penalize"
    order: ClassVar[int] = 100

    def __init__(self, plans: Sequence[Mapping[str, Any]], engine: Engine) -> None:
        super().__init__(plans, engine)
        self._parts = [_Part(plan, engine) for plan in plans]

    @classmethod
    def warm(cls, engine: Engine, parts: Sequence[Mapping[str, Any]] = ()) -> None:
        vocabulary(engine)
        if any(one["beta"] for one in parts):
            meaning(engine)

    def __call__(
        self, prompt: Sequence[int], output: Sequence[int], logits: "torch.Tensor"
    ) -> None:
        bans = [part(prompt, output, logits) for part in self._parts]
        for ban in bans:  # last, so that no part asks which of the banned are the likeliest
            logits.index_fill_(0, ban, float("-inf"))


class _Part:
    """One plan."""

    def __init__(self, plan: Mapping[str, Any], engine: Engine) -> None:
        self._alpha, self._beta = float(plan["alpha"]), float(plan["beta"])
        self._delta = float(plan["delta"])
        points: list[int] = plan["phrases"]
        self._trie = trie_of("".join(map(chr, points)), engine)
        self._meaning: Meaning | None = None
        if self._beta:
            self._meaning = meaning(engine)
            self._answers = self._meaning.vectors(plan["answers"])
        self._engine = engine
        self._seen: tuple[int, ...] = ()
        self._states = [State()]

    def __call__(
        self, prompt: Sequence[int], output: Sequence[int], logits: "torch.Tensor"
    ) -> "torch.Tensor":
        """Takes the finite penalties from the logits; returns the tokens that are banned."""
        state = self._follow((*prompt[-TAIL:], *output))
        ban, begun, shares = _tensors(self._trie, state, len(logits), str(logits.device))
        if self._alpha:
            logits[begun] -= self._alpha * shares
        if self._meaning is not None:
            self._penalize_meaning(output, state, logits)
        return ban

    def _follow(self, tokens: tuple[int, ...]) -> State:
        """Where the tokens lead; from where those seen last agree with them."""
        agreed = len(self._seen)
        if tokens[:agreed] != self._seen:
            pairs = zip(tokens, self._seen, strict=False)
            agreed = next((n for n, (new, old) in enumerate(pairs) if new != old), len(tokens))
        del self._states[agreed + 1 :]
        for token in tokens[agreed:]:
            self._states.append(self._trie.follow(self._states[-1], token))
        self._seen = tokens
        return self._states[-1]

    def _penalize_meaning(
        self, output: Sequence[int], state: State, logits: "torch.Tensor"
    ) -> None:
        import torch

        texts, ends = self._trie.vocabulary.texts, self._trie.vocabulary.ends
        best = logits.topk(min(_LIKELIEST, len(logits)))
        likely = best.indices[torch.isfinite(best.values)].tolist()
        words = [
            token
            for token in likely
            if token < len(texts) and (state.last == " " or texts[token].startswith(" "))
        ]
        if not words or self._meaning is None:
            return
        start = next((n for n in range(len(output), 0, -1) if output[n - 1] in ends), 0)
        near = self._meaning.nearest(output[start:], words, self._answers)
        over = torch.from_numpy(near - self._delta).clamp_(min=0).to(logits)
        logits[torch.tensor(words, device=logits.device)] -= self._beta * over


@lru_cache(maxsize=256)
def trie_of(phrases: str, engine: Engine) -> Trie:
    """Phrases that several requests are kept from are looked up once."""
    if not phrases:
        raise InterventionError("a plan forbids nothing")
    return Trie(phrases.split("\0"), vocabulary(engine))


@lru_cache(maxsize=1024)
def _tensors(
    trie: Trie, state: State, size: int, device: str
) -> tuple["torch.Tensor", "torch.Tensor", "torch.Tensor"]:
    """A state's edits where the logits are; a model may have fewer logits than tokens."""
    import torch

    edits = trie.edits(state)
    held = edits.begun < size
    found = (edits.banned[edits.banned < size], edits.begun[held], edits.shares[held])
    banned, begun, shares = (torch.from_numpy(array).to(device) for array in found)
    return banned, begun, shares
