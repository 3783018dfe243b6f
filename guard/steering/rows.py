"""The requests whose answers are steered, by their place in the engine's batch. Knows no vLLM."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from guard.errors import InterventionError
from guard.steering import STEERINGS
from guard.steering.base import Engine, Steering

if TYPE_CHECKING:
    import torch

logger = logging.getLogger("vllm.guard")


@dataclass
class Row:
    """One steered request.

    Attributes:
        steerings: What is done to its logits, in this order.
        prompt: Its prompt's tokens.
        output: Its answer so far; a list that the engine goes on filling, where it does.
        end: The token that ends its answer.
        failed: Whether steering it has failed: it is ended then, whatever the model says.
    """

    steerings: tuple[Steering, ...]
    prompt: Sequence[int]
    output: Sequence[int]
    end: int
    failed: bool = False


class Rows:
    """Steers the planned requests of a batch, and leaves the others alone.

    Nothing that goes wrong with one request reaches another, or the engine: the request is ended,
    as is one to which nothing is left that it may say.

    Args:
        engine: Where it runs.

    Attributes:
        failures: How often a kind of steering has failed.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.failures: Counter[str] = Counter()
        self._rows: dict[int, Row] = {}
        self._one_by_one: set[str] = set()  # kinds that failed at several requests at once

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, place: int) -> bool:
        return place in self._rows

    def add(
        self,
        place: int,
        plans: Mapping[str, Sequence[Mapping[str, Any]]] | None,
        prompt: Sequence[int] = (),
        output: Sequence[int] = (),
        end: int | None = None,
    ) -> None:
        """Puts a request where another may have been.

        Args:
            place: Where.
            plans: Its plans, by kind of steering; None for a request that is not steered.
            prompt: Its prompt's tokens.
            output: Its answer so far; held, not copied.
            end: The token that ends its answer; the model's own where it is not given.
        """
        self.remove(place)
        if plans is None:
            return
        if end is None:
            end = self.engine.eos[0] if self.engine.eos else 0
        row = self._rows[place] = Row((), prompt, output, end)
        kind = "plan"
        made: list[Steering] = []
        try:
            if not plans:
                raise InterventionError("a plan holds nothing")
            for kind, some in plans.items():
                made.append(STEERINGS.get(kind)(some, self.engine))
        except Exception as error:
            self._fail(row, kind, error)
        row.steerings = tuple(sorted(made, key=lambda one: (one.order, one.kind)))

    def remove(self, place: int) -> None:
        """Takes a request away, if there is one."""
        self._rows.pop(place, None)

    def move(self, source: int, place: int) -> None:
        """Puts what is at one place, a request or nothing, in another's place."""
        row = self._rows.pop(source, None)
        self.remove(place)
        if row is not None:
            self._rows[place] = row

    def swap(self, one: int, other: int) -> None:
        """Exchanges what is at two places."""
        rows = {one: self._rows.pop(other, None), other: self._rows.pop(one, None)}
        self._rows |= {place: row for place, row in rows.items() if row is not None}

    def tokens(self, place: int, prompt: Sequence[int], output: Sequence[int]) -> None:
        """Tells a request's tokens, where the engine does not fill a list itself."""
        row = self._rows[place]
        row.prompt, row.output = prompt, output

    def apply(self, logits: "torch.Tensor", places: Sequence[int] | None = None) -> None:
        """Steers a batch in place.

        Args:
            logits: Float [n, vocabulary].
            places: Whose each of the n rows is; without, each is that of its number.
        """
        numbers = ((place, place) for place in self._rows) if places is None else enumerate(places)
        rows = [(self._rows[place], logits[n]) for n, place in numbers if place in self._rows]
        self._ahead([row for row, _ in rows if not row.failed and not _untold(row)])
        for row, its in rows:
            self._steer(row, its)

    def _ahead(self, rows: Sequence[Row]) -> None:
        """Does for several requests at once what is cheaper so."""
        kinds: dict[type[Steering], list[tuple[Steering, Sequence[int], Sequence[int]]]] = {}
        for row in rows:
            for steering in row.steerings:
                kinds.setdefault(type(steering), []).append((steering, row.prompt, row.output))
        for kind, some in kinds.items():
            if len(some) < 2 or kind.kind in self._one_by_one:
                continue
            try:
                kind.ahead(some)
            except Exception as error:  # nobody's request: each is steered as if it were alone
                self._one_by_one.add(kind.kind)
                logger.warning(
                    "guard: steering %r failed for several requests at once (%s): now one by one",
                    kind.kind, type(error).__name__,
                )  # fmt: skip

    def _steer(self, row: Row, logits: "torch.Tensor") -> None:
        import torch

        kind = "tokens"
        try:
            if not row.failed:
                if _untold(row):
                    raise InterventionError("the engine has not told the last token")
                for steering in row.steerings:
                    kind = steering.kind
                    steering(row.prompt, row.output, logits)
        except Exception as error:
            self._fail(row, kind, error)
        ended = _ended(row.end, len(logits), logits.dtype, logits.device)
        if row.failed:
            logits.copy_(ended)
        else:  # without asking the device, which would have to be waited for; nor is NaN more
            logits.copy_(torch.where(logits.amax() > float("-inf"), logits, ended))

    def _fail(self, row: Row, kind: str, error: Exception) -> None:
        """Ends a request; its texts and tokens, which an error may quote, are not told."""
        row.failed = True
        self.failures[kind] += 1
        logger.error("guard: steering %r failed (%s): answer ended", kind, type(error).__name__)


def _untold(row: Row) -> bool:
    """Whether the engine has left out the answer's last token."""
    return len(row.output) > 0 and row.output[-1] < 0


@lru_cache(maxsize=8)
def _ended(end: int, size: int, dtype: Any, device: Any) -> "torch.Tensor":
    """Logits that leave nothing but an end."""
    import torch

    logits = torch.full((size,), float("-inf"), dtype=dtype, device=device)
    logits[end] = 0.0
    return logits
