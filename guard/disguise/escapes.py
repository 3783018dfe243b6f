r"""Escapes of programs and pages: %41, &#65;, \u0041, U+0041, =41."""

import html
import re
from collections.abc import Iterator
from urllib.parse import unquote_plus

from guard.disguise.reading import Edit

_URL = re.compile(r"%[0-9A-Fa-f]{2}")
_TOKEN = re.compile(r"\S+")
_HTML = re.compile(r"&(?:#\d{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z]{2,24}\d{0,2});")
_UNICODE = re.compile(
    r"\\u\{([0-9A-Fa-f]{1,6})\}|\\u([0-9A-Fa-f]{4})|\\U([0-9A-Fa-f]{8})|\\x([0-9A-Fa-f]{2})"
    r"|[Uu]\+([0-9A-Fa-f]{4,6})[ ,;]?|\\([0-3][0-7]{2})"
)
_QUOTED = re.compile(r"(?:=[0-9A-F]{2}|=\r?\n){2,}")


def find(text: str) -> Iterator[Edit]:
    """Finds escapes; in a URL, "+" is a space."""
    if "%" in text:
        for match in _TOKEN.finditer(text):
            if _URL.search(match.group()):
                yield Edit("url", *match.span(), unquote_plus(match.group(), errors="replace"))
    if "&" in text:
        found = [(match.span(), html.unescape(match.group())) for match in _HTML.finditer(text)]
        # "&amp;" and "&#39;" are on every page; a letter has no need of an escape.
        if any(char.isascii() and char.isalnum() for _, char in found):
            yield from (Edit("html", *span, char) for span, char in found)
    if "\\" in text or "U+" in text or "u+" in text:
        for match in _UNICODE.finditer(text):
            yield from _character(match)
    if "=" in text:
        for match in _QUOTED.finditer(text):
            codes = re.findall(r"=([0-9A-F]{2})", match.group())
            said = bytes.fromhex("".join(codes)).decode("utf-8", "replace")
            yield Edit("quoted-printable", *match.span(), said)


def _character(match: re.Match[str]) -> Iterator[Edit]:
    octal = match[6]
    code = int(octal, 8) if octal else int(next(filter(None, match.groups())), 16)
    if code <= 0x10FFFF and not 0xD800 <= code < 0xE000:
        yield Edit("unicode escape", *match.span(), chr(code))
