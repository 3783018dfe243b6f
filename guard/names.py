"""The ways in which a name is written, and the names that a text holds."""

import re
from collections.abc import Iterable, Sequence

from guard.data import Row
from guard.matching import PhraseMatcher
from guard.normalize import fold, letters

_WORD = re.compile(r"[^\W_][\w'’-]*")
_LINKS = "a an and at by de del der di du for in la le of on or the to upon van von"
LINKS = frozenset(_LINKS.split())  # words that a name or title may have between its others

_QUESTION = "who what when where which why how is was were are did does do can could name tell"
_SENTENCE = "describe give list in on at his her he she it they there this that"
_OPENERS = frozenset(f"{_QUESTION} {_SENTENCE}".split())

_PARTICLES = LINKS | {"al", "el", "ben", "bin", "ibn", "bint", "da", "dos", "le", "ter"}


def variants(name: str) -> dict[str, float]:
    """Returns the folded ways of writing a name, each with how much of the name it gives.

    ``William Shakespeare`` gives itself, ``shakespeare william``, ``w shakespeare`` and
    ``williamshakespeare`` in full (1.0), and ``shakespeare`` alone by its share of the letters.
    """
    whole = fold(name).text
    words = whole.split()
    found = {whole: 1.0}
    if len(words) < 2:
        return found
    first, last, middle = words[0], words[-1], words[1:-1]
    full = ["".join(words), f"{last} {' '.join(words[:-1])}", f"{first[0]} {last}"]
    if middle:
        initials = [word[0] for word in middle]
        full += [f"{first} {last}", f"{first} {' '.join(initials)} {last}"]
        full += [f"{first[0]} {' '.join(initials)} {last}", f"{last} {first}"]
        if middle[-1] in _PARTICLES:  # "Al-Kuwaiti", "van Gogh"
            full += [f"{first} {middle[-1]} {last}", f"{first[0]} {middle[-1]} {last}"]
    for form in full:
        if letters(form) > 2:
            found.setdefault(form, 1.0)
    if len(last) > 2:
        found.setdefault(last, letters(last) / letters(whole))
    return found


def proper_phrases(text: str) -> list[str]:
    """Returns the capitalised phrases of a text, folded: ``romeo and juliet``.

    A single capitalised word that opens a sentence tells nothing and is left out.
    """
    phrases: list[str] = []
    run: list[tuple[str, bool]] = []

    def close() -> None:
        while run and run[-1][0].lower() in LINKS:
            run.pop()
        if run and (len(run) > 1 or not run[0][1]):
            opener = run[0][1] and run[0][0].lower() in LINKS | _OPENERS
            words = [word for word, _ in (run[1:] if opener else run)]
            if words:
                phrases.append(fold(" ".join(words)).text)
        run.clear()

    end = 0
    for match in _WORD.finditer(text):
        word, gap = match.group(), text[end : match.start()]
        opens = end == 0 or bool(re.search(r"[.!?:\"“”\n]", gap))
        if run and (opens or not re.fullmatch(r"[\s'’]*", gap)):
            close()
        if word[0].isupper() or (word[0].isdigit() and len(word) == 4):
            run.append((word, opens))
        elif run and word.lower() in LINKS:
            run.append((word, False))
        else:
            close()
        end = match.end()
    close()
    return [phrase for phrase in phrases if letters(phrase) > 2]


def distinctive(rows: Iterable[Row], others: Sequence[Row], skip: Iterable[str] = ()) -> list[str]:
    """Returns the proper phrases of some rows that none of the others holds.

    Args:
        rows: Where the phrases come from.
        others: Rows that must not hold them.
        skip: Folded phrases that are known already.
    """
    found = dict.fromkeys(
        phrase for row in rows for text in row.texts() for phrase in proper_phrases(text)
    )
    for phrase in skip:
        found.pop(phrase, None)
    matcher = PhraseMatcher({phrase: phrase for phrase in found})
    for row in others:
        for text in row.texts():
            for _, _, phrase in matcher.find(text):
                found.pop(phrase, None)
    return list(found)
