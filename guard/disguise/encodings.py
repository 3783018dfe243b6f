"""Bytes written as letters or digits: base64, base32, hex, binary and decimal numbers, Morse.

Each is found by its alphabet, decoded, and taken for text only if it is text: printable, in UTF-8,
with letters in it. Chance hardly ever decodes to that.
"""

import base64
import binascii
import codecs
import re
from collections.abc import Callable, Iterator, Sequence

from guard.disguise.likeness import best_likeness
from guard.disguise.reading import Edit
from guard.disguise.words import Token

_LIKE = -3.1  # nats a letter, for what may decode to letters by chance
_SURE = 8  # bytes that are hardly ever text by chance, if any value is as likely

_BASE64 = re.compile(r"={0,2}[A-Za-z0-9+/_-]{7,}={0,2}")
_GROUP = re.compile(r"[A-Za-z0-9+/_-]{2,}={0,2}")
_UNLIKE_WORDS = re.compile(r"[a-z][A-Z]|[A-Za-z][0-9]|[0-9][A-Za-z]")
_BASE32 = re.compile(r"(?:[A-Z2-7]{12,}|[a-z2-7]{12,})={0,6}")
_HEX = re.compile(r"(?:(?:0x|\\x|x)?[0-9A-Fa-f]{2}[\s,:;-]{0,2}){4,}")
# Every byte of ASCII text starts with a digit in each of these.
_NUMBERS = re.compile(
    r"[0-9][0-9A-Fa-f]{1,7}(?:[\s,:;\\0xbX-]{0,4}[0-9][0-9A-Fa-f]{1,7}){2}|[01]{20}|[0-9][0-9A-Fa-f]{7}"
)
_BINARY = re.compile(r"(?:(?:0b)?[01]{7,8}[\s,;-]{0,2}){3,}")
_DECIMAL = re.compile(r"(?:\d{2,3}[\s,;-]{1,2}){4,}\d{2,3}")
_MORSE = re.compile(r"[.\-·•–—−_]{1,6}(?:[ \t/|\n]{1,4}[.\-·•–—−_]{1,6}){3,}")
_MORSE_GATE = re.compile(r"[-–—−_] ?[.·•]|[.·•] ?[-–—−_]")

_CODE = (
    ".- -... -.-. -.. . ..-. --. .... .. .--- -.- .-.. -- -. --- .--. --.- .-. ... - "
    "..- ...- .-- -..- -.-- --.. ----- .---- ..--- ...-- ....- ..... -.... --... ---.. ----."
)
_MORSE_LETTERS = dict(zip(_CODE.split(), "abcdefghijklmnopqrstuvwxyz0123456789", strict=True))
_MORSE_SIGNS = str.maketrans("·•–—−_", "..----")

_Decode = Callable[[str], bytes]


def find(text: str, words: Sequence[Token]) -> Iterator[Edit]:
    """Finds encoded text among the strange words, and where digits and dots are in rows."""
    for run in _strange(words):
        start, end = run[0].start, run[-1].end
        yield from _grouped(text, run)
        yield from _base64(text, start, end)
        yield from _matches("base32", _BASE32, text, start, end, _from_base32)
    if _NUMBERS.search(text):
        yield from _matches("hex", _HEX, text, 0, len(text), _from_hex)
        yield from _matches("binary", _BINARY, text, 0, len(text), _from_binary)
        yield from _matches("decimal", _DECIMAL, text, 0, len(text), _from_decimal, sure=10**9)
    if _MORSE_GATE.search(text):
        for match in _MORSE.finditer(text):
            said = from_morse(match.group())
            if said and best_likeness(said[:200]) > _LIKE:
                yield Edit("morse", *match.span(), said)


def as_text(data: bytes) -> str | None:
    """The text that bytes are, or None: it must be printable and mostly letters."""
    if len(data) > 7 and not any(data[1::2]):
        data = data[::2]  # UTF-16 of ASCII text, as PowerShell has it
    elif len(data) > 7 and not any(data[::2]):
        data = data[1::2]
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return None
    if len(data) < 12 and not text.isascii():
        return None
    letters = sum(map(str.isalpha, text))
    spaces = sum(map(text.count, "\n\r\t"))
    # Ciphers within may write with signs and digits, so few letters are enough.
    if letters < 3 or sum(map(str.isprintable, text)) + spaces < len(text):
        return None
    return text


def _strange(words: Sequence[Token]) -> Iterator[list[Token]]:
    """Runs of strange tokens, with what short known ones are between them."""
    run: list[Token] = []
    for word in words:
        if word.strange or (run and len(word.core) < 5):
            run.append(word)
        elif run:
            yield run
            run = []
    if run:
        yield run


def _grouped(text: str, run: Sequence[Token]) -> Iterator[Edit]:
    """Reads base64 that is split over lines or into groups."""
    group: list[Token] = []
    for word in (*run, Token(0, 0, "", False)):
        raw = text[word.start : word.end]
        if _GROUP.fullmatch(raw) and (group or _UNLIKE_WORDS.search(raw)):
            group.append(word)
            continue
        for last in range(len(group) - 1, max(len(group) - 4, 0), -1):  # words may follow it
            start, end = group[0].start, group[last].end
            said = _from_base64("".join(text[start:end].split()))
            if said is not None:
                yield Edit("base64", start, end, said)
                break
        group = []


def _base64(text: str, start: int, end: int) -> Iterator[Edit]:
    for match in _BASE64.finditer(text, start, end):
        core = match.group()
        if core[1:].islower() or core.isupper() or core.isdigit():
            continue  # a word, or a number
        said = _from_base64(core)
        if said is not None:
            yield Edit("base64", *match.span(), said)
            continue
        for kind, turned in (("reversed", core[::-1]), ("rot13", codecs.encode(core, "rot13"))):
            said = _from_base64(turned) if len(core) > 11 else None
            if said is not None:
                yield Edit(f"{kind}>base64", *match.span(), said)


def _from_base64(core: str) -> str | None:
    core = core.rstrip("=").translate({45: "+", 95: "/"})
    if len(core) % 4 == 1:
        core = core[:-1]
    try:
        return as_text(base64.b64decode(core + "=" * (-len(core) % 4), validate=True))
    except (binascii.Error, ValueError):
        return None


def _matches(
    kind: str,
    pattern: re.Pattern[str],
    text: str,
    start: int,
    end: int,
    decode: _Decode,
    sure: int = _SURE,
) -> Iterator[Edit]:
    for match in pattern.finditer(text, start, end):
        try:
            said = as_text(decode(match.group()))
        except (binascii.Error, ValueError):
            continue
        if said is not None and (len(said) >= sure or best_likeness(said[:200]) > _LIKE):
            yield Edit(kind, *match.span(), f"{said} ")


def _from_base32(core: str) -> bytes:
    core = core.upper().rstrip("=")
    return base64.b32decode(core + "=" * (-len(core) % 8))


def _from_hex(core: str) -> bytes:
    return bytes.fromhex("".join(re.findall(r"[0-9A-Fa-f]{2}", core.replace("0x", " "))))


def _from_binary(core: str) -> bytes:
    groups = re.findall(r"(?<![01])[01]{7,8}(?![01])", core)
    if not groups:  # no gaps: eight digits a letter
        digits = re.sub(r"[^01]", "", core)
        groups = [digits[at : at + 8] for at in range(0, len(digits) - 7, 8)]
    return bytes(int(group, 2) for group in groups)


def _from_decimal(core: str) -> bytes:
    return bytes(map(int, re.findall(r"\d+", core)))  # ValueError above 255


def from_morse(core: str) -> str | None:
    """Reads Morse code (ITU-R M.1677-1): words are parted by "/", "|", a line or wider gaps."""
    said: list[str] = []
    for word in re.split(r"\s*[/|\n]\s*|\s{2,}", core.translate(_MORSE_SIGNS)):
        letters = [_MORSE_LETTERS.get(sign) for sign in word.split()]
        if None in letters:
            return None
        said.append("".join(letter for letter in letters if letter))
    return " ".join(said)
