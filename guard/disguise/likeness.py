"""How much letters look like words, under every simple cipher at once.

A letter-trigram model of Latin-script languages scores a text. A substitution cipher only renames
letters and a reversal only turns trigrams round, so one table with a row for each cipher holds the
score of every trigram *as it would be when deciphered*: the likelihoods of all ciphers are one
look-up in it, and the text is deciphered only once, with the cipher that wins.
"""

import unicodedata
from collections.abc import Sequence
from functools import cache

import numpy as np
import numpy.typing as npt

from guard.disguise.words import LANGUAGES, frequencies

Floats = npt.NDArray[np.float32]

SHIFTS = 26  # rows 0 to 25 are Caesar's shifts, row 26 is Atbash; reversed, 27 rows further
ATBASH = SHIFTS
REVERSED = SHIFTS + 1
CIPHERS = 2 * REVERSED
_SYMBOLS = 27  # 0 is a word's edge, 1 to 26 are letters
_CHUNK = 16_384  # trigrams looked up at once: the result is CIPHERS times as large

_SYMBOL = np.zeros(256, np.int64)
for _letter in range(26):
    _SYMBOL[[65 + _letter, 97 + _letter]] = _letter + 1


@cache
def _table() -> Floats:
    """Log-probability of each trigram under each cipher, [ciphers, symbols cubed], in nats."""
    shares = [_counts(language) * (5 if language == "en" else 1) for language in LANGUAGES]
    counts = np.sum(shares, axis=0)
    counts = counts / counts.sum()
    # A trigram never seen gets a share of its last two letters', so that names stay possible.
    pairs = counts.sum(0) / counts.sum((0, 2))[:, None]
    smooth = counts + 2e-5 * (pairs[None] + 1e-3)
    logs = np.log(smooth / smooth.sum(2, keepdims=True))
    logs[:, 0, :] = 0  # from one word into the next: says nothing
    letters = np.arange(26)
    plain = [(letters - shift) % 26 for shift in range(SHIFTS)] + [letters[::-1]]
    table = np.empty((CIPHERS, _SYMBOLS**3), np.float32)
    for row, renamed in enumerate(np.r_[0, order + 1] for order in plain):
        turned = logs[np.ix_(renamed, renamed, renamed)]
        table[row] = turned.reshape(-1)
        table[row + REVERSED] = turned.transpose(2, 1, 0).reshape(-1)
    return table


def _counts(language: str) -> npt.NDArray[np.float64]:
    """Shares of a language's trigrams, [symbols, symbols, symbols]."""
    weights: dict[str, float] = {}
    for word, share in frequencies(language).items():
        plain = unicodedata.normalize("NFKD", word).encode("ascii", "ignore").decode().lower()
        if plain.isalpha():
            # The root: by their shares alone, the commonest words would be all that counts.
            weights[plain] = weights.get(plain, 0.0) + share**0.5
    symbols = _SYMBOL[np.frombuffer(f" {' '.join(weights)} ".encode(), np.uint8)]
    of_word = np.repeat(list(weights.values()), [len(word) + 1 for word in weights])
    found = np.bincount(_codes(symbols), of_word[: len(symbols) - 2], _SYMBOLS**3).astype(
        np.float64
    )
    found /= found.sum()
    return found.reshape(_SYMBOLS, _SYMBOLS, _SYMBOLS)


def _codes(symbols: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    return symbols[:-2] * _SYMBOLS**2 + symbols[1:-1] * _SYMBOLS + symbols[2:]


def cipher_scores(texts: Sequence[str]) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Scores texts under every cipher.

    Args:
        texts: Latin writing; what is not an ASCII letter is a word's edge.

    Returns:
        Log-likelihood of each text under each cipher, nats [ciphers, texts], and the number of
        letters of each text, [texts].
    """
    table = _table()
    scores = np.empty((CIPHERS, len(texts)), np.float32)
    letters = np.empty(len(texts), np.int64)
    first = 0
    while first < len(texts):
        last, size = first, 0
        while last < len(texts) and (last == first or size + len(texts[last]) < _CHUNK):
            size += len(texts[last]) + 2
            last += 1
        joined = f"  {'  '.join(texts[first:last])}  ".encode("ascii", "replace")
        symbols = _SYMBOL[np.frombuffer(joined, np.uint8)]
        starts = np.cumsum([0] + [len(text) + 2 for text in texts[first : last - 1]])
        scores[:, first:last] = np.add.reduceat(table[:, _codes(symbols)], starts, axis=1)
        letters[first:last] = np.add.reduceat(symbols[2:] > 0, starts)
        first = last
    return scores, letters


def likeness(text: str) -> float:
    """Mean log-likelihood of a text's letters, nats; about -2 for words, -3 for odd names."""
    symbols = _SYMBOL[np.frombuffer(f" {text} ".encode("ascii", "replace"), np.uint8)]
    letters = int((symbols > 0).sum())
    return float(_table()[0, _codes(symbols)].sum()) / letters if letters else -np.inf


def best_likeness(text: str) -> float:
    """Likeness under the cipher that makes the most of the text."""
    scores, letters = cipher_scores([text])
    return float(scores.max()) / int(letters[0]) if letters[0] else -np.inf
