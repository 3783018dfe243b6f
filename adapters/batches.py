"""Rows as a model reads them: tokens, batches, and the order in which they come.

Each row is a turn of the model's own chat template (a bare passage where a row is one); what
counts is the answer and the token that ends it, never the question.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from adapters.data.row import turns
from guard.data import Row
from guard.turns import end_of_answer

if TYPE_CHECKING:
    import torch

IGNORED = -100  # a label that torch's cross entropy leaves out
_BUCKET = 8  # batches whose rows are sorted by length together


@dataclass(frozen=True)
class Example:
    """A row as tokens.

    Attributes:
        ids: The tokens, at least one of which is an answer's that some token precedes.
        start: Where the answer begins; 0 in a passage.
        row: Which row it was made of: its number in the rows as they were given.
    """

    ids: tuple[int, ...]
    start: int
    row: int


@dataclass(eq=False)
class Batch:
    """Examples of one length, padded on the right; see `adapters.objectives.base.Batch`.

    Attributes:
        input_ids: int64 [n, t].
        attention_mask: int64 [n, t].
        labels: int64 [n, t].
        split: ``forget``, ``retain`` or ``alternative``, or whatever they are part of.
        rows: `Example.row` of each.
        tokens: How many there are, padding left out.
    """

    input_ids: "torch.Tensor"
    attention_mask: "torch.Tensor"
    labels: "torch.Tensor"
    split: str
    rows: tuple[int, ...]
    tokens: int


def encode(tokenizer: Any, row: Row, most: int = 1024, number: int = 0) -> Example | None:
    """Returns a row's tokens; None where it has no answer to learn, or none within `most`.

    What the chat template puts around the question is what a served request has around it, its
    default system text too.

    Args:
        tokenizer: The model's.
        row: A question with its answer, or a passage; a bare name is none of these.
        most: Tokens after which the row is cut.
        number: `Example.row`.
    """
    if row.is_name:
        return None
    if not row.answer:  # a passage: all of it is learnt
        ids = tokenizer.encode(row.prompt + (tokenizer.eos_token or ""))
        start = 0
    else:
        before = prompt_tokens(tokenizer, row)
        ids = before + tokenizer.encode(
            row.answer + end_of_answer(tokenizer), add_special_tokens=False
        )
        start = len(before)
    ids = ids[:most]
    return Example(tuple(ids), start, number) if max(start, 1) < len(ids) else None


def prompt_tokens(tokenizer: Any, row: Row) -> list[int]:
    """Returns what stands before a row's answer, as the server would have it."""
    if not tokenizer.chat_template:
        found: list[int] = tokenizer.encode(row.prompt + "\n")
        return found
    prompt = tokenizer.apply_chat_template(turns(row), tokenize=False, add_generation_prompt=True)
    found = tokenizer.encode(prompt, add_special_tokens=False)
    return found


def encode_rows(tokenizer: Any, rows: Sequence[Row], most: int = 1024) -> list[Example]:
    """Encodes what there is to learn in rows, and leaves the rest out."""
    found = (encode(tokenizer, row, most, number) for number, row in enumerate(rows))
    return [example for example in found if example is not None]


def pad(examples: Sequence[Example], device: Any = "cpu", split: str = "") -> Batch:
    """Makes a batch of examples, in their order.

    Args:
        examples: At least one.
        device: Where its tensors are to be.
        split: What they are part of.
    """
    import torch

    longest = max(len(example.ids) for example in examples)
    shape = (len(examples), longest)
    ids, mask = torch.zeros(shape, dtype=torch.long), torch.zeros(shape, dtype=torch.long)
    labels = torch.full(shape, IGNORED, dtype=torch.long)
    for n, example in enumerate(examples):
        length = len(example.ids)
        ids[n, :length] = torch.tensor(example.ids)
        mask[n, :length] = 1
        labels[n, example.start : length] = ids[n, example.start : length]
    rows = tuple(example.row for example in examples)
    tokens = sum(len(example.ids) for example in examples)
    return Batch(ids.to(device), mask.to(device), labels.to(device), split, rows, tokens)


def order(lengths: Sequence[int], size: int, seed: int, epoch: int, split: str) -> list[list[int]]:
    """The batches of an epoch: each example once, like lengths together, in an order of chance.

    It depends on the arguments alone, so that training can be taken up anywhere in it.

    Args:
        lengths: Tokens of each example.
        size: Examples in a batch; the last may have fewer.
        seed: Of the order.
        epoch: Which epoch, from 0.
        split: What the examples are: another order for each.

    Returns:
        Positions in `lengths`.
    """
    draw = random.Random(f"{seed}/{split}/{epoch}")
    mixed = list(range(len(lengths)))
    draw.shuffle(mixed)
    batches = []
    window = size * _BUCKET
    for at in range(0, len(mixed), window):
        alike = sorted(mixed[at : at + window], key=lambda n: lengths[n])
        batches += [alike[k : k + size] for k in range(0, len(alike), size)]
    draw.shuffle(batches)
    return batches
