"""Dates in English texts, and the ways of writing one."""

import re
from itertools import product

_MONTHS = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
_MONTH = "|".join(f"{name}|{name[:3]}\\.?" if name != "may" else name for name in _MONTHS)
_WORDS = (
    rf"\b(?P<d>\d{{1,2}})(?:st|nd|rd|th)?\s+(?:of\s+)?(?P<m>{_MONTH}),?\s+(?P<y>\d{{4}})\b",
    rf"\b(?P<m>{_MONTH})\s+(?P<d>\d{{1,2}})(?:st|nd|rd|th)?,?\s+(?P<y>\d{{4}})\b",
)
_DIGITS = (
    r"\b(?P<a>\d{1,2})[/.-](?P<b>\d{1,2})[/.-](?P<y>\d{4})\b",
    r"\b(?P<y>\d{4})[/.-](?P<a>\d{1,2})[/.-](?P<b>\d{1,2})\b",
)


def dates(text: str) -> list[tuple[int, int, tuple[str, ...]]]:
    """Finds whole dates: where each starts and ends, and the folded ways of writing it, in order.

    A date of digits alone may be the day or the month first; it is taken for either.
    """
    found: list[tuple[int, int, tuple[str, ...]]] = []
    for pattern in (*_WORDS, *_DIGITS):
        for match in re.finditer(pattern, text, re.IGNORECASE):
            if any(match.start() < end and start < match.end() for start, end, _ in found):
                continue
            held = match.groupdict()
            if "m" in held:
                month = [name[:3] for name in _MONTHS].index(held["m"][:3].lower()) + 1
                readings = [(int(held["d"]), month)]
            else:
                a, b = int(held["a"]), int(held["b"])
                readings = [(d, m) for d, m in dict.fromkeys([(a, b), (b, a)])]
            forms = [
                form
                for day, month in readings
                if 1 <= day <= 31 and 1 <= month <= 12
                for form in _forms(day, month, held["y"])
            ]
            if forms:
                found.append((match.start(), match.end(), tuple(dict.fromkeys(forms))))
    return sorted(found)


def _forms(day: int, month: int, year: str) -> list[str]:
    """The folded ways of writing a date."""
    name = _MONTHS[month - 1]
    ending = {1: "st", 2: "nd", 3: "rd"}.get(day % 10 if day not in (11, 12, 13) else 0, "th")
    days = dict.fromkeys((str(day), f"{day:02}", f"{day}{ending}"))
    forms = []
    for said, called in product(days, (name, name[:3])):
        forms += [f"{said} {called} {year}", f"{said} of {called} {year}"]
        forms += [f"{called} {said} {year}"]
    for d, m in product((str(day), f"{day:02}"), (str(month), f"{month:02}")):
        forms += [f"{d} {m} {year}", f"{m} {d} {year}", f"{year} {m} {d}"]
    return list(dict.fromkeys(forms))
