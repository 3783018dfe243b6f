"""Whole dates in English texts, and the ways of writing each."""

import re
from itertools import product

_MONTHS = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
_NAME = "|".join(f"{name}|{name[:3]}\\.?" for name in _MONTHS)
_DAY, _YEAR = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?", r"(?P<year>\d{4})"
_PATTERNS = [
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"\b{_DAY}\s+(?:day\s+)?(?:of\s+)?(?P<month>{_NAME})(?:\s+of)?,?\s+{_YEAR}\b",
        rf"\b(?P<month>{_NAME})\s+{_DAY},?\s+{_YEAR}\b",
        rf"\b(?P<one>\d{{1,2}})([/.-])(?P<two>\d{{1,2}})\2{_YEAR}\b",
        rf"\b{_YEAR}([/.-])(?P<one>\d{{1,2}})\2(?P<two>\d{{1,2}})\b",
    )
]


def date_forms(text: str) -> set[str]:
    """Returns every way of writing the dates of a text, folded.

    A date of numbers alone may have the day or the month first; it is taken for either.
    """
    forms: set[str] = set()
    for match in (match for pattern in _PATTERNS for match in pattern.finditer(text)):
        held = match.groupdict()
        if "month" in held:
            number = [name[:3] for name in _MONTHS].index(held["month"][:3].lower()) + 1
            readings = {(int(held["day"]), number)}
        else:
            one, two = int(held["one"]), int(held["two"])
            readings = {(one, two), (two, one)}
        for day, month in readings:
            if 1 <= day <= 31 and 1 <= month <= 12:
                forms |= _forms(day, month, held["year"])
    return forms


def _forms(day: int, month: int, year: str) -> set[str]:
    name = _MONTHS[month - 1]
    ending = {1: "st", 2: "nd", 3: "rd"}.get(day % 10 if day not in (11, 12, 13) else 0, "th")
    forms: set[str] = set()
    for said, called in product((str(day), f"{day:02}", f"{day}{ending}"), (name, name[:3])):
        forms |= {f"{said} {called} {year}", f"{said} of {called} {year}"}
        forms |= {f"{called} {said} {year}", f"{called} the {said} {year}"}
    for said, called in product((str(day), f"{day:02}"), (str(month), f"{month:02}")):
        forms |= {f"{said} {called} {year}", f"{called} {said} {year}", f"{year} {called} {said}"}
    return forms
