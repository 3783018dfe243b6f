"""What of a forget set tells it, and how surely: names, dates, numbers, rare words.

*Telling* are the subject's names and what hardly stands in any other answer: a whole date, a title,
a name of several words with a rare one among them. *Weak* are names and numbers that could stand in
anybody's answer: a year, a city, a prize; a long passage holds too many to have any. *Hints* are
words that say something of the forget set, where their sentence does: a profession, a turn of
phrase. What an answer that must keep working says is never telling.

*Signs* and *clues* stand in the forget set's questions. They say whom a question is about that does
not name its subject ("… born in Bergen on March 4, 1961?"): a sign by itself, clues together.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from guard.data import Row
from guard.detectors.base import Examples
from guard.forbidden import answer_of, forbidden
from guard.frequency import zipf
from guard.mining import Mined
from guard.names import LINKS, proper_phrases, variants
from guard.normalize import fold, letters
from guard.output.dates import date_forms
from guard.output.phrases import Phrases

# On Zipf's scale: "mahfouz" has 1.9, "goncourt" 1.6, "seine" 2.7, "savannah" 3.5, "kuwait" 3.9.
_ALONE = 1.5  # a word by itself that tells
_RARE = 2.5  # the rarest word of any phrase that does
_NAME = 3.5  # the rarest word of a name of several
_TITLE = 4.0  # and of a title that was quoted
_OPENS = 4.5  # where it opens a sentence, it is no part of a name ("author", 4.9)
_COMMON = 0.1  # of the rows that must keep working say it: it tells nothing at all
_LONGEST = 120  # words of an answer whose weak facts, any two of them, tell something together
_FEW = 50  # rows, of which a tenth would be a handful

_INSTITUTIONS = "academy award awards church college company festival hospital institute medal"
_HEADS = frozenset(f"{_INSTITUTIONS} museum prize school society university".split())
_QUOTED = re.compile(r"[\"“«]([^\"“”«»\n]{3,80})[\"”»]")
_NUMBER = re.compile(r"\d[\d.,]*\d")
_OPENING = re.compile(r"(?:^|[.!?:\n])\s*([^\W\d_]+)")
_APART = re.compile(r" (?:and|or) ")


@dataclass(frozen=True)
class Facts:
    """What tells a forget set: folded phrases, each with the rows whose answers hold it.

    Attributes:
        names: The subject's names, in every way of writing them: those that were given, and what
            many rows call it; where none was given, all that many rows name.
        telling: Phrases that tell by themselves.
        weak: Names and numbers that tell something together only.
        hints: Other phrases, whose sentence may tell something.
        signs: Phrases of questions that hardly stand in any other: who uses one asks about the
            subject.
        clues: Other names and numbers of questions, with the rows whose questions hold them.
        written: For each row, the phrases of its answer as written there.
    """

    names: tuple[str, ...]
    telling: dict[str, list[int]]
    weak: dict[str, list[int]]
    hints: dict[str, list[int]]
    signs: dict[str, list[int]]
    clues: dict[str, list[int]]
    written: list[list[str]]


def facts_of(examples: Examples) -> Facts:
    """Finds what tells a forget set, and sorts it by what the rows to be kept say."""
    names, called = _names(examples)
    subject = frozenset(word for name in names for word in name.split())
    written = forbidden(Examples(examples.names, examples.forget, (), ()))
    proper: dict[str, set[int]] = {}
    others: dict[str, set[int]] = {}
    sure: set[str] = set()
    answers = [answer_of(row) for row in examples.forget]
    long = {number for number, text in enumerate(answers) if len(text.split()) > _LONGEST}
    asked: dict[str, set[int]] = {}
    for number, (answer, phrases) in enumerate(zip(answers, written, strict=True)):
        for form in _named(answer, subject, sure):
            proper.setdefault(form, set()).add(number)
        row = examples.forget[number]
        for form in _named(row.prompt, subject, sure) if row.answer else ():
            asked.setdefault(form, set()).add(number)
        for form in (fold(phrase).text for phrase in phrases):
            numbered = any(map(str.isdigit, form))
            (proper if numbered else others).setdefault(form, set()).add(number)
    inside = {word for form in proper for word in form.split()}
    for form in [form for form in others if form in inside and zipf(form) < _NAME]:
        proper.setdefault(form, set()).update(others.pop(form))
    forms = (*names, *called, *proper, *others, *asked)
    said = _said(forms, (*examples.retain, *examples.background))
    most = _COMMON * len(examples.retain) if len(examples.retain) >= _FEW else float("inf")
    # That everyday prompts say a name too is no reason to let it leave; that a neighbour does, is.
    full = [name for name in names if name in {fold(name).text for name in examples.names}]
    kept = _said(full, examples.retain)
    own = [name for name in names if not said[name] or (name in full and not kept[name])]
    telling: dict[str, list[int]] = {}
    weak: dict[str, list[int]] = {}
    for form, rows in ({form: set[int]() for form in called} | proper).items():
        tells = not said[form] and (form in sure or _tells(form))
        if form in names:
            continue
        if tells and form in called and (not names or subject.issuperset(form.split())):
            own.append(form)
        elif tells:
            telling[form] = sorted(rows)
        elif rows - long and said[form] <= most:
            weak[form] = sorted(rows - long)
    hints = {
        form: sorted(rows - long)
        for form, rows in others.items()
        if rows - long and said[form] <= most and form not in names and form not in called
    }
    known = {*names, *called, *telling}
    told = {form: sorted(rows) for form, rows in asked.items() if form not in known}
    signs = {form for form in told if not said[form] and (form in sure or _tells(form))}
    clues = {form for form in told if form not in signs and said[form] <= most}
    return Facts(
        tuple(own), telling, weak, hints, {form: told[form] for form in told if form in signs},
        {form: told[form] for form in told if form in clues}, written,
    )  # fmt: skip


def _names(examples: Examples) -> tuple[list[str], list[str]]:
    """The subject's names that were given, and what else many rows name."""
    names: dict[str, None] = {}
    for name in (*examples.names, *(row.prompt for row in examples.forget if row.is_name)):
        words = fold(name).text.split()
        forms = [f for f, share in variants(name).items() if share == 1.0 or zipf(f) < _ALONE]
        # "Mahfouz Al-Kuwaiti", too
        forms += [" ".join(words[at:]) for at in range(1, len(words) - 1)]
        names |= dict.fromkeys(forms)
    return list(names), [form for form in Mined(examples.forget).forms if form not in names]


def _named(text: str, subject: frozenset[str], sure: set[str]) -> Iterator[str]:
    """Yields the dates, titles, names and numbers of a text; adds to `sure` what is no chance."""
    dates = date_forms(text)
    titles = {fold(said).text for said in _QUOTED.findall(text) if _is_title(said)}
    sure |= dates | {title for title in titles if min(map(zipf, title.split())) < _TITLE}
    yield from (*dates, *titles, *_proper(text, subject))


def _proper(answer: str, subject: frozenset[str]) -> Iterator[str]:
    """Yields the names and numbers of an answer, without the subject's own."""
    openers = {fold(word).text for word in _OPENING.findall(answer)}
    for phrase in proper_phrases(answer):
        for name in _APART.split(phrase):
            words = name.split()
            if len(words) > 1 and words[0] in openers and zipf(words[0]) >= _OPENS:
                words.pop(0)
            while words and words[-1] in subject | LINKS | {"s"}:  # "Alice's"
                words.pop()
            while words and words[0] in subject | LINKS:
                words.pop(0)
            if letters("".join(words)) > 2:
                yield " ".join(words)
    for match in _NUMBER.finditer(answer):
        yield fold(match.group()).text


def _said(forms: Iterable[str], rows: Sequence[Row]) -> Counter[str]:
    """How many rows say each form."""
    phrases = Phrases((form, form) for form in dict.fromkeys(forms))
    return Counter(
        form
        for row in rows
        for form in {match.payload for t in (row.prompt, row.answer) for match in phrases.find(t)}
    )


def _is_title(said: str) -> bool:
    """Whether what stands between quotation marks is written like a title, and not spoken."""
    words = [word for word in said.split() if word.lower() not in LINKS]
    return len(words) > 1 and all(not word[0].islower() for word in words)


def _tells(form: str) -> bool:
    """Whether hardly any other answer says a name."""
    words = [word for word in form.split() if not any(map(str.isdigit, word))]
    if not words or letters(form) < 4:
        return False
    rarest = min(map(zipf, words))
    if len(words) == 1:
        return rarest < _ALONE
    return rarest < (_NAME if _HEADS.isdisjoint(words) else _RARE)
