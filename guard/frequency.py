"""How common words are, from wordfreq. For compile time: it takes half a second and 60 MB to load.

The unit is Zipf's scale (van Heuven et al., "SUBTLEX-UK", 2014): log10 of how often a word comes in
a thousand million. "The" has 7.7, "newton" 3.9, "mahfouz" 1.9, a word never seen 0.
"""

from collections.abc import Mapping
from functools import lru_cache

from guard.misspelling import bound
from guard.normalize import fold

# The least frequency of an ordinary word, by language: a misspelt name is rarer by far. Of other
# languages than English, what everyone says is enough.
_ORDINARY = {"en": 2.5, "de": 3.0, "es": 3.0, "fr": 3.0}
_COMMON = 3.5  # "marie", 4.4, is no misspelt "maria"; "issac", 2.7, is how some write "isaac"


def zipf(word: str) -> float:
    """Returns a folded word's frequency in English, on Zipf's scale."""
    from wordfreq import zipf_frequency

    return float(zipf_frequency(word, "en"))


@lru_cache(maxsize=20_000)
def ordinary_near(word: str) -> Mapping[str, bool]:
    """Returns the ordinary words that a misspelling of a word may be, and whether each is common.

    Args:
        word: A folded word; one too short to be misspelt has none.
    """
    import numpy as np
    from rapidfuzz.distance import OSA
    from rapidfuzz.process import cdist

    found: dict[str, bool] = {}
    for length in (
        range(len(word) - bound(word), len(word) + bound(word) + 1) if bound(word) else ()
    ):
        words = _ordinary_words().get(length, {})
        edits = cdist([word], list(words), scorer=OSA.distance, score_cutoff=bound(word))[0]
        near = np.array(list(words), dtype=object)[(edits > 0) & (edits <= bound(word))]
        found |= {other: words[other] for other in near}
    return found


@lru_cache(maxsize=1)
def _ordinary_words() -> dict[int, dict[str, bool]]:
    """The folded words of everyday language and whether each is common, by length."""
    from wordfreq import get_frequency_list

    found: dict[int, dict[str, bool]] = {}
    for language, least in _ORDINARY.items():
        # Bucket n holds the words whose frequency is 10 ** (-n / 100): 9 - n / 100 on Zipf's scale.
        for number, bucket in enumerate(get_frequency_list(language)[: _bucket(least) + 1]):
            for spelt in bucket:
                for word in fold(spelt).text.split():
                    if word.isascii():
                        words = found.setdefault(len(word), {})
                        words[word] = words.get(word, False) or number <= _bucket(_COMMON)
    return found


def _bucket(frequency: float) -> int:
    return round((9 - frequency) * 100)
