"""ECO's corruptions of embeddings (arXiv 2406.07933, section 3.3), as pure functions.

Each method is a change of numbers and a choice of the dimensions that it is made in, or a change
of the order in which the rows stand.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Random = np.random.Generator

Method = Literal[
    "zero_out_top_k",
    "zero_out_first_n",
    "rand_noise_first_n",
    "rand_noise_rand_n",
    "rand_noise_top_k",
    "set_rand_noise_first_n",
    "flip_sign",
    "flip_sign_top_k",
    "flip_sign_first_n",
    "sub_value_top_k",
    "sub_value_first_n",
    "add_value_least_k",
    "add_value_first_n",
    "reverse_order",
    "shuffle",
]
Strength = Literal["dims", "sigma", "value"]


@dataclass(frozen=True)
class Corruption:
    """One method.

    Attributes:
        change: Makes other rows of rows, float32 [n, d], by an amount.
        choose: Where they count: a mask [n, d] of as many dimensions of each row; None for all.
        strength: The option that says how strong it is, which a search would vary.
    """

    change: Callable[[Rows, float, Random], Rows]
    choose: Callable[[Rows, int, Random], Mask] | None = None
    strength: Strength | None = None


def corrupt(
    rows: Rows, method: Method, random: Random, dims: int | None = None, amount: float = 0.0
) -> Rows:
    """Corrupts embeddings.

    Args:
        rows: Embeddings of the chosen tokens, in the order of the prompt, float32 [n, d].
        method: How.
        random: What noise and shuffles are drawn from.
        dims: How many dimensions of each row, of those methods that choose some; a sixth of them
            when left out, within the 16 to 24 % that ECO found best.
        amount: Standard deviation of the noise, or the value that is added or subtracted.

    Returns:
        Float32 [n, d]; the rows themselves stay as they are.
    """
    corruption = METHODS[method]
    if corruption.choose is None:
        return corruption.change(rows, amount, random)
    width = rows.shape[1]
    count = min(dims or max(width // 6, 1), width)
    chosen = corruption.choose(rows, count, random)
    return np.where(chosen, corruption.change(rows, amount, random), rows)


# What is done.


def _zero(rows: Rows, amount: float, random: Random) -> Rows:
    return np.zeros_like(rows)


def _flip(rows: Rows, amount: float, random: Random) -> Rows:
    return -rows


def _noise(rows: Rows, amount: float, random: Random) -> Rows:
    return random.normal(0.0, amount, rows.shape).astype(rows.dtype)


def _add_noise(rows: Rows, amount: float, random: Random) -> Rows:
    return rows + _noise(rows, amount, random)


def _add(rows: Rows, amount: float, random: Random) -> Rows:
    return rows + np.float32(amount)


def _subtract(rows: Rows, amount: float, random: Random) -> Rows:
    return rows - np.float32(amount)


def _reverse(rows: Rows, amount: float, random: Random) -> Rows:
    return rows[::-1].copy()


def _shuffle(rows: Rows, amount: float, random: Random) -> Rows:
    """Never the order that it was: a shuffle of two would be that half of the time."""
    order = random.permutation(len(rows))
    if np.array_equal(rows[order], rows):
        order = np.roll(order, 1)
    return rows[order]


# Where.


def _first(rows: Rows, count: int, random: Random) -> Mask:
    return np.broadcast_to(np.arange(rows.shape[1]) < count, rows.shape)


def _drawn(rows: Rows, count: int, random: Random) -> Mask:
    """The same dimensions of every row."""
    return np.broadcast_to(random.permutation(rows.shape[1]) < count, rows.shape)


def _lowest(rank_by: Rows, count: int) -> Mask:
    """The dimensions in which numbers are lowest; among equals, the first."""
    mask = np.zeros(rank_by.shape, dtype=np.bool_)
    order = np.argsort(rank_by, axis=1, kind="stable")
    np.put_along_axis(mask, order[:, :count], True, axis=1)
    return mask


def _strongest(rows: Rows, count: int, random: Random) -> Mask:
    return _lowest(-np.abs(rows), count)


def _largest(rows: Rows, count: int, random: Random) -> Mask:
    return _lowest(-rows, count)


def _least(rows: Rows, count: int, random: Random) -> Mask:
    return _lowest(rows, count)


METHODS: Mapping[Method, Corruption] = {
    "zero_out_top_k": Corruption(_zero, _strongest, "dims"),
    "zero_out_first_n": Corruption(_zero, _first, "dims"),
    "rand_noise_first_n": Corruption(_add_noise, _first, "sigma"),
    "rand_noise_rand_n": Corruption(_add_noise, _drawn, "sigma"),
    "rand_noise_top_k": Corruption(_add_noise, _strongest, "sigma"),
    "set_rand_noise_first_n": Corruption(_noise, _first, "sigma"),
    "flip_sign": Corruption(_flip),
    "flip_sign_top_k": Corruption(_flip, _strongest, "dims"),
    "flip_sign_first_n": Corruption(_flip, _first, "dims"),
    # By their signs, as published: what is subtracted from the largest brings them down.
    "sub_value_top_k": Corruption(_subtract, _largest, "value"),
    "sub_value_first_n": Corruption(_subtract, _first, "value"),
    "add_value_least_k": Corruption(_add, _least, "value"),
    "add_value_first_n": Corruption(_add, _first, "value"),
    "reverse_order": Corruption(_reverse),
    "shuffle": Corruption(_shuffle),
}
