"""What answers about a target must not say: the names, numbers and rare words that tell it.

Found at compile time in the forget set's answers: what their questions do not give, what no answer
that must keep working uses, and what is not the subject's own name (whoever asks says that).
GUARD (arXiv 2505.13312) extracts its forbidden sequences with a language model; a forget set must
not leave the machine, so here they are found by how rare words are.

A language without spaces between words is taken clause by clause.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from guard.data import Row
from guard.detectors.base import Examples
from guard.frequency import zipf
from guard.matching import PhraseMatcher
from guard.names import proper_phrases, variants
from guard.normalize import fold, letters

MOST = 16  # phrases of one answer

_WORD = re.compile(r"\d[\d.,]*\d|[^\W_]+")  # of a compound, each part
# On Zipf's scale: "kiln" has 2.9, "glazier" 1.9, "lighthouse" 3.5; "Bergen" 3.3, "Norwegian" 4.1.
_RARE, _NAME = 3.5, 4.5
_FILLS = 5.5  # words that only hold others together: "his" 6.3, "made" 5.9, "known" 5.4
_TELLING = 4.8  # of a phrase's words, the rarest is rarer: "frosted green" is, "green hill" is not
_LINKS = 2  # words that may stand between the two of a short phrase
_SHORT = 3  # words of an answer that is told by itself
_ASKED = 5  # questions that say a name: it is what they are about
_SHARE = 0.25  # of the answers that use a word: it tells no fact
_USED = 0.0025  # of the rows that must keep working may use a phrase
_PASSAGE = 8  # words of a row that is no question, but a text to be forgotten


def forbidden(examples: Examples) -> list[list[str]]:
    """Returns, for each forget row, the phrases that tell its answer; as written there."""
    subject = _subject(examples)
    found = [_candidates(row, subject) for row in examples.forget]
    used = _used_by(examples.retain, found) | _used_by(examples.background, found)
    uses = Counter(phrase for phrases in found for phrase in phrases)
    most = max(_SHARE * len(found), 3)
    phrases = []
    for row, candidates in zip(examples.forget, found, strict=True):
        telling = [phrase for phrase in candidates if phrase not in used and uses[phrase] <= most]
        phrases.append(_as_written(answer_of(row), _least(telling)[:MOST]))
    return phrases


def answer_of(row: Row) -> str:
    """What of a row an answer could say: its answer, or the row itself where it is a passage."""
    text = row.prompt
    passage = not row.is_name and not text.endswith("?") and len(text.split()) >= _PASSAGE
    return row.answer or (text if passage else "")


def _candidates(row: Row, subject: frozenset[str]) -> list[str]:
    """The folded phrases that may tell an answer, the most telling kinds first."""
    answer = answer_of(row)
    asked = f" {fold(row.prompt).text} " if row.answer else " "
    words = [(fold(m.group()).text, m.group(), m.start()) for m in _WORD.finditer(answer)]
    found = [_without_ends(name, subject) for name in proper_phrases(answer)]
    found += [word for word, _, _ in words if _is_number(word)]
    found += [word for word, text, at in words if _is_rare(word, text, _opens(answer, at))]
    if 0 < len(words) <= _SHORT and any(_frequency(word) < _TELLING for word, _, _ in words):
        found.append(fold(answer).text)
    given = subject.union(asked.split())
    found += sorted(_short_phrases(answer, given), key=_rarity)
    return [
        phrase
        for phrase in dict.fromkeys(found)
        if phrase and f" {phrase} " not in asked and not subject.issuperset(phrase.split())
    ]


def _without_ends(name: str, subject: frozenset[str]) -> str:
    """A name without the subject's and filling words at its ends: "two of basil mahfouz"."""
    words = name.split()
    while words and (words[-1] in subject or _frequency(words[-1]) >= _FILLS):
        words.pop()
    while words and (words[0] in subject or _frequency(words[0]) >= _FILLS):
        words.pop(0)
    return " ".join(words)


def _short_phrases(answer: str, given: frozenset[str]) -> Iterator[str]:
    """Yields two words with nothing between them but links: "4 march", "father was a florist".

    The rarer of them is not given by the question, nor either of them a part of a name that is.
    """
    for clause in re.split(r"[.,;:!?\"“”()\n]", answer):
        words = fold(clause).text.split()
        for at, first in enumerate(words):
            for end in range(at + 1, min(at + _LINKS + 2, len(words))):
                rarer, other = sorted((first, words[end]), key=_frequency)
                new = rarer not in given and not (other in given and zipf(other) < _RARE)
                if new and _frequency(other) < _FILLS and _frequency(rarer) < _TELLING:
                    yield " ".join(words[at : end + 1])
                if _frequency(words[end]) < _FILLS:
                    break


def _frequency(word: str) -> float:
    return 3.0 if any(map(str.isdigit, word)) else zipf(word)


def _is_number(word: str) -> bool:
    return sum(char.isdigit() for char in word) >= 2


def _is_rare(word: str, text: str, opens: bool) -> bool:
    if letters(word) < 3:
        return False
    named = text[0].isupper() and not opens
    return max(map(zipf, word.split())) < (_NAME if named else _RARE)


def _opens(answer: str, at: int) -> bool:
    """Whether a word opens a sentence, where every word has a capital."""
    before = answer[:at].rstrip()
    return not before or before[-1] in '.!?:"“”'


def _rarity(phrase: str) -> float:
    return min(map(_frequency, phrase.split()))


def _least(phrases: Sequence[str]) -> list[str]:
    """Leaves out what holds another phrase: who may not say that cannot say this."""
    spaced = [f" {phrase} " for phrase in phrases]
    return [
        phrase
        for phrase, own in zip(phrases, spaced, strict=True)
        if not any(other in own for other in spaced if other != own)
    ]


def _used_by(rows: Sequence[Row], found: Sequence[Sequence[str]]) -> set[str]:
    """The phrases that rows use as a matter of course: any at all, where there are few rows.

    But a year or other long number, whoever uses it: no other sentence needs it, and only flagged
    requests are kept from it.
    """
    matcher = PhraseMatcher({phrase: phrase for phrases in found for phrase in phrases})
    uses = Counter(
        phrase
        for row in rows
        for phrase in {p for text in (row.prompt, row.answer) for _, _, p in matcher.find(text)}
        if sum(char.isdigit() for char in phrase) < 3 or " " in phrase
    )
    return {phrase for phrase, count in uses.items() if count > _USED * len(rows)}


def _subject(examples: Examples) -> frozenset[str]:
    """The words of the subjects' own names: those given, and those that many questions say."""
    rows = examples.forget
    names = [*examples.names, *(row.prompt for row in rows if row.is_name)]
    said = Counter(
        phrase
        for row in rows
        if row.answer
        for phrase in dict.fromkeys(
            one for run in proper_phrases(row.prompt) for one in (run, *run.split())
        )
    )
    enough = max(2, min(_ASKED, len(rows) // 4))
    forms = [form for name in names for form in variants(name)]
    forms += [phrase for phrase, count in said.items() if count >= enough]
    return frozenset(word for form in forms for word in form.split())


def _as_written(text: str, phrases: Sequence[str]) -> list[str]:
    """The phrases as a text has them, which a model is likelier to write."""
    matcher = PhraseMatcher({phrase: phrase for phrase in phrases})
    spelt: dict[str, str] = {}
    for start, end, phrase in matcher.find(text):
        spelt.setdefault(phrase, text[start:end])
    return [spelt.get(phrase, phrase) for phrase in phrases]


Spell = Callable[[str], str]
_SPELLINGS: tuple[Spell, ...] = (str, str.lower, str.title, str.upper)


def bad_words(phrases: Sequence[str], most: int = 64) -> list[str]:
    """Returns strings for vLLM's ``bad_words``, for a server that cannot be steered otherwise.

    Args:
        phrases: The phrases that a plan forbids, the most telling first.
        most: How many strings. vLLM takes 128 sequences of tokens, and makes up to two of a
            string: with and without a space before it.

    Returns:
        The phrases as they are, then in other cases, as far as there is room. Other ways of
        cutting them into tokens are not covered.
    """
    found = (spell(phrase) for spell in _SPELLINGS for phrase in phrases)
    return list(dict.fromkeys(found))[: min(most, 128)]
