"""How people disguise a sentence: one row a disguise."""

import base64
import codecs
import html
import string
import urllib.parse
from collections.abc import Callable

LOW = string.ascii_lowercase

CODE = (
    ".- -... -.-. -.. . ..-. --. .... .. .--- -.- .-.. -- -. --- .--. --.- .-. ... - ..- ...- "
    ".-- -..- -.-- --.."
)
MORSE = dict(zip(LOW, CODE.split(), strict=True))

Disguise = Callable[[str], str]


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def rot13(text: str) -> str:
    return codecs.encode(text, "rot13")


def renamed(to: str) -> Disguise:
    table = str.maketrans(LOW + LOW.upper(), to + to.upper())
    return lambda text: text.translate(table)


def leet(text: str) -> str:
    return text.translate(str.maketrans("aeiostlAEIOST", "4310571431057"))


def words(each: Disguise, between: str = " ") -> Disguise:
    return lambda text: between.join(map(each, text.split()))


def parted(word: str) -> str:
    return f"{word[: len(word) // 2]}-{word[len(word) // 2 :]}" if len(word) > 3 else word


def chunks(text: str) -> str:
    joined = text.replace(" ", "")
    return " ".join(joined[at : at + 4] for at in range(0, len(joined), 4))


def morse(text: str) -> str:
    said = ["".join(c for c in word.lower() if c in MORSE) for word in text.split()]
    return " / ".join(" ".join(MORSE[c] for c in word) for word in said)


def selectors(text: str) -> str:
    return "".join(chr(0xFE00 + b if b < 16 else 0xE0100 + b - 16) for b in text.encode())


def bits(text: str) -> str:
    digits = "".join(f"{byte:08b}" for byte in text.encode())
    return digits.translate(str.maketrans("01", "\u200b\u200c"))


def lines(text: str) -> str:
    coded = b64(text)
    return "\n".join(coded[at : at + 16] for at in range(0, len(coded), 16))


DISGUISES: dict[str, Disguise] = {
    "full-width": lambda s: "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in s),
    "mathematical": lambda s: "".join(chr(0x1D41A + ord(c) - 97) if c in LOW else c for c in s),
    "circled": lambda s: "".join(chr(0x24D0 + ord(c) - 97) if c in LOW else c for c in s),
    "cyrillic": lambda s: s.translate(str.maketrans("aeopcyxiAEOPCTH", "аеорсухіАЕОРСТН")),
    "greek": lambda s: s.translate(str.maketrans("aoivuABEHIKMN", "αοινυΑΒΕΗΙΚΜΝ")),
    "small capitals": lambda s: s.lower().translate(
        str.maketrans("abcdefghiklmnoprtuw", "ᴀʙᴄᴅᴇꜰɢʜɪᴋʟᴍɴᴏᴘʀᴛᴜᴡ")
    ),
    "zero-width": "\u200b".join,
    "soft hyphens": "\u00ad".join,
    "bidi override": lambda s: f"\u202e{s[::-1]}\u202c",
    "tags": lambda s: "Hi" + "".join(chr(0xE0000 + ord(c)) for c in s),
    "variation selectors": lambda s: f"Hi {selectors(s)}",
    "zero-width bits": lambda s: f"Hi {bits(s)}",
    "zalgo": lambda s: "".join(f"{c}\u0336\u0321\u0302" for c in s),
    "struck through": "\u0336".join,
    "spaced, wide breaks": words(" ".join, "   "),
    "spaced, no breaks": lambda s: " ".join(s.replace(" ", "")),
    "dotted": words(".".join),
    "dashed": words("-".join, " - "),
    "torn": words(parted),
    "unspaced": lambda s: s.replace(" ", ""),
    "chunks": chunks,
    "leet": leet,
    "base64": b64,
    "base64 without padding": lambda s: b64(s).rstrip("="),
    "base64 for URLs": lambda s: base64.urlsafe_b64encode(s.encode()).decode(),
    "base64 in lines": lines,
    "base64 of UTF-16": lambda s: base64.b64encode(s.encode("utf-16-le")).decode(),
    "base32": lambda s: base64.b32encode(s.encode()).decode(),
    "hex": lambda s: s.encode().hex(),
    "hex, spaced": lambda s: s.encode().hex(" "),
    "hex, 0x": lambda s: "0x" + s.encode().hex(),
    "hex, colons": lambda s: s.encode().hex(":"),
    "hex, \\x": lambda s: "".join(f"\\x{byte:02x}" for byte in s.encode()),
    "binary": lambda s: " ".join(f"{byte:08b}" for byte in s.encode()),
    "binary, unspaced": lambda s: "".join(f"{byte:08b}" for byte in s.encode()),
    "decimal": lambda s: " ".join(str(byte) for byte in s.encode()),
    "URL": lambda s: "".join(f"%{byte:02X}" for byte in s.encode()),
    "URL, signs only": urllib.parse.quote,
    "HTML": lambda s: "".join(f"&#{ord(c)};" for c in s),
    "HTML, hex": lambda s: "".join(f"&#x{ord(c):x};" if c.isalpha() else html.escape(c) for c in s),
    "\\u": lambda s: "".join(f"\\u{ord(c):04x}" for c in s),
    "U+": lambda s: " ".join(f"U+{ord(c):04X}" for c in s),
    "quoted-printable": lambda s: "".join(f"={byte:02X}" for byte in s.encode()),
    "rot13": rot13,
    "Caesar": renamed(LOW[3:] + LOW[:3]),
    "Atbash": renamed(LOW[::-1]),
    "morse": morse,
    "reversed": lambda s: s[::-1],
    "reversed words": words(lambda word: word[::-1]),
    "reversed order": lambda s: " ".join(reversed(s.split())),
    "base64 of rot13": lambda s: b64(rot13(s)),
    "base64 of base64": lambda s: b64(b64(s)),
    "base64 reversed": lambda s: b64(s)[::-1],
    "URL of base64": lambda s: "".join(f"%{byte:02x}" for byte in b64(s).encode()),
    "hex of rot13": lambda s: rot13(s).encode().hex(),
    "leet, dotted": lambda s: words(".".join)(leet(s)),
    "zero-width rot13": lambda s: "\u200b".join(rot13(s)),
    "URL of base64 of rot13": lambda s: urllib.parse.quote(b64(rot13(s)).replace("=", "%3D")),
}
