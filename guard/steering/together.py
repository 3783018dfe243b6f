"""Several requests' reading of one assistant at once: its weights are gone through once for all."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from guard.steering.assistant import Reader


class Batch:
    """What several requests have read, in one state.

    Shorter texts are padded on the left, so that all go on at the same place; what stands in the
    padding is not attended to.

    Args:
        states: What each has read, transformers' `DynamicCache` of one text.

    Attributes:
        cache: The state of all, `DynamicCache`; keys and values are [n, heads, longest, size].
        padding: How much each is padded with, int [n].
    """

    def __init__(self, states: Sequence[Any]) -> None:
        import torch
        from transformers import DynamicCache

        lengths = [state.get_seq_length() for state in states]
        longest = max(lengths)
        self.cache = DynamicCache()
        for number, layer in enumerate(states[0].layers):
            both = []
            for name in ("keys", "values"):
                one = getattr(layer, name)
                made = one.new_zeros(len(states), one.shape[1], longest, one.shape[3])
                for place, (state, length) in enumerate(zip(states, lengths, strict=True)):
                    made[place, :, longest - length :] = getattr(state.layers[number], name)[0]
                both.append(made)
            self.cache.update(*both, number)
        self.padding = torch.tensor([longest - length for length in lengths], device=made.device)

    def __len__(self) -> int:
        return len(self.padding)

    def reading(self, tokens: Sequence[int]) -> dict[str, "torch.Tensor"]:
        """What a model is given to read a token more of each, beside the state.

        Args:
            tokens: One for each.
        """
        import torch

        device, read = self.padding.device, self.cache.get_seq_length()
        mask = torch.arange(read + 1, device=device) >= self.padding[:, None]
        return {
            "input_ids": torch.tensor(tokens, device=device)[:, None],
            "attention_mask": mask.long(),
            "position_ids": (read - self.padding)[:, None],
        }

    def alone(self, place: int) -> Any:
        """Returns a copy of what one of them has read, as a `DynamicCache` of its own."""
        from transformers import DynamicCache

        cache, padding = DynamicCache(), int(self.padding[place])
        for number, layer in enumerate(self.cache.layers):
            kept = (
                part[place : place + 1, :, padding:].clone() for part in (layer.keys, layer.values)
            )
            cache.update(*kept, number)
        return cache


@dataclass(frozen=True)
class Place:
    """Where in a batch a request's state is."""

    batch: Batch
    number: int


def alone(state: Any) -> Any:
    """A request's state as one of its own."""
    return state.batch.alone(state.number) if isinstance(state, Place) else state


def read_together(readings: Iterable[tuple["Reader", Sequence[int]]]) -> None:
    """Reads what each of several requests goes on by one token, at once where that can be done.

    Each of their readers knows the answer then, and returns it when it is asked for the same
    tokens. Those that cannot take part (their text is new, or is not a token longer, or the
    assistant cannot read texts of different lengths) read by themselves then.

    Args:
        readings: Readers, of any assistants, each with all the tokens of its text.
    """
    groups: dict[int, dict[int, tuple[Reader, Sequence[int]]]] = {}
    for reader, tokens in readings:
        if reader.assistant.together and reader.goes_on(tokens):
            groups.setdefault(id(reader.assistant), {})[id(reader)] = reader, tokens
    for group in groups.values():
        if len(group) > 1:
            _read([*group.values()])


def _read(group: list[tuple["Reader", Sequence[int]]]) -> None:
    batch = _batch_of([reader.state for reader, _ in group])
    if batch is None:
        batch = Batch([alone(reader.state) for reader, _ in group])
    else:
        group.sort(key=lambda one: one[0].state.number)
    for reader, _ in group:
        reader.forget()  # should reading fail, nothing is taken for read
    logits = group[0][0].assistant.forward_each([tokens[-1] for _, tokens in group], batch)
    for number, (reader, tokens) in enumerate(group):
        reader.take(tokens, Place(batch, number), logits[number])


def _batch_of(states: Sequence[Any]) -> Batch | None:
    """The batch that these states make up, and nobody else's."""
    if not all(isinstance(state, Place) for state in states):
        return None
    batch: Batch = states[0].batch
    numbers = {state.number for state in states if state.batch is batch}
    return batch if len(numbers) == len(states) == len(batch) else None
