"""Several requests' reading of one assistant at once: its weights are gone through once for all."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from guard.steering.assistant import Reader

    Reading = tuple[Reader, Sequence[int]]  # who reads, and all the tokens of its text


_MOST = 16_384  # tokens of a batch, padding included: while one is made, there are two of it
_SHORT = 8  # bits of the longest text that any other may be padded to: up to 256 tokens


class Batch:
    """What several requests have read, in one state.

    Shorter texts are padded on the left, so that all go on at the same place; what stands in the
    padding is not attended to.

    Args:
        states: What each has read: transformers' `DynamicCache` of one text, or a place in a batch.

    Attributes:
        cache: The state of all, `DynamicCache`; keys and values are [n, heads, longest, size].
        padding: How much each is padded with.
    """

    def __init__(self, states: Sequence[Any]) -> None:
        import torch
        from transformers import DynamicCache

        lengths = [_layer(state, 0)[0].shape[1] for state in states]
        longest = max(lengths)
        self.cache = DynamicCache()
        for number in range(len(_cache(states[0]).layers)):
            parts = zip(*(_layer(state, number) for state in states), strict=True)
            both = [_padded(some, longest) for some in parts]
            self.cache.update(*both, number)
        self.padding = [longest - length for length in lengths]
        self._padding = torch.tensor(self.padding, device=both[0].device)

    def __len__(self) -> int:
        return len(self.padding)

    def reading(self, tokens: Sequence[int]) -> dict[str, "torch.Tensor"]:
        """What a model is given to read a token more of each, beside the state.

        Args:
            tokens: One for each.
        """
        import torch

        device, read = self._padding.device, self.cache.get_seq_length()
        mask = torch.arange(read + 1, device=device) >= self._padding[:, None]
        return {
            "input_ids": torch.tensor(tokens, device=device)[:, None],
            "attention_mask": mask.long(),
            "position_ids": (read - self._padding)[:, None],
        }


@dataclass(frozen=True)
class Place:
    """Where in a batch a request's state is; batches are the same where they are one object."""

    batch: Batch
    number: int


def alone(state: Any) -> Any:
    """A request's state as one of its own, a `DynamicCache`: as it is, or a copy of its place."""
    from transformers import DynamicCache

    if not isinstance(state, Place):
        return state
    cache = DynamicCache()
    for number in range(len(_cache(state).layers)):
        cache.update(*(part[None].clone() for part in _layer(state, number)), number)
    return cache


def _cache(state: Any) -> Any:
    return state.batch.cache if isinstance(state, Place) else state


def _layer(state: Any, number: int) -> tuple["torch.Tensor", "torch.Tensor"]:
    """A layer's keys and values of one request, [heads, tokens, size] each; not copied."""
    layer = _cache(state).layers[number]
    row, start = (
        (state.number, state.batch.padding[state.number]) if isinstance(state, Place) else (0, 0)
    )
    return layer.keys[row, :, start:], layer.values[row, :, start:]


def _padded(parts: Sequence["torch.Tensor"], longest: int) -> "torch.Tensor":
    """Parts of several lengths, [heads, tokens, size] each, as one."""
    heads, _, size = parts[0].shape
    made = parts[0].new_zeros(len(parts), heads, longest, size)
    for row, part in zip(made, parts, strict=True):
        row[:, longest - part.shape[1] :] = part
    return made


def read_together(readings: Iterable["Reading"]) -> None:
    """Reads what each of several requests goes on by one token, at once where that can be done.

    Each of their readers knows the answer then, and returns it when it is asked for the same
    tokens. Those that cannot take part (their text is new, or is not a token longer, or the
    assistant cannot read texts of different lengths) read by themselves then.

    Args:
        readings: Readers, of any assistants, each with all the tokens of its text.
    """
    groups: dict[int, dict[int, Reading]] = {}
    for reader, tokens in readings:
        if reader.assistant.together and reader.goes_on(tokens):
            groups.setdefault(id(reader.assistant), {})[id(reader)] = reader, tokens
    for group in groups.values():
        for some in _alike([*group.values()]):
            if len(some) > 1:
                _read(some)


def _alike(group: list["Reading"]) -> Iterator[list["Reading"]]:
    """Parts what is to be read, so that padding at most doubles it, and no batch is very large."""
    sizes: dict[int, list[Reading]] = {}
    for one in group:
        sizes.setdefault(max((len(one[1]) - 1).bit_length(), _SHORT), []).append(one)
    for bits, some in sizes.items():
        some.sort(key=lambda one: _stood(one[0].state))  # who was together stays so
        most = max(_MOST >> bits, 1)
        yield from (some[start : start + most] for start in range(0, len(some), most))


def _stood(state: Any) -> tuple[int, int, int]:
    """Where a state is: those of one batch stand together, full ones first, who is alone last."""
    if not isinstance(state, Place):
        return 0, 0, 0
    return -len(state.batch), id(state.batch), state.number


def _read(group: list["Reading"]) -> None:
    batch = _batch_of([reader.state for reader, _ in group])
    if batch is None:
        batch = Batch([reader.state for reader, _ in group])
    for reader, _ in group:
        reader.forget()  # should reading fail, nothing is taken for read
    logits = group[0][0].assistant.forward_each([tokens[-1] for _, tokens in group], batch)
    for number, (reader, tokens) in enumerate(group):
        reader.take(tokens, Place(batch, number), logits[number])


def _batch_of(states: Sequence[Any]) -> Batch | None:
    """The batch that these states make up, in its order, and nobody else's."""
    batch = states[0].batch if isinstance(states[0], Place) else None
    if batch is None or states != [Place(batch, number) for number in range(len(batch))]:
        return None
    return batch
