"""From one model's tokens to another's, so that a model with another tokenizer can read along.

Tokens are compared by the bytes that they stand for (as CMC maps a small model's vocabulary onto
a large one's). Three spellings are known: byte-level BPE ("Ġ" is a space), SentencePiece ("▁" is a
space, ``<0x0A>`` a byte) and WordPiece ("##" continues a word, all else begins one).
"""

import codecs
import json
from collections.abc import Iterator, Sequence
from functools import cached_property, lru_cache
from typing import Any

from guard.errors import ModelError

NONE = -1  # in place of a token: the other vocabulary has nothing for it
_LEAST = 0.5  # of the served model's texts that an assistant must be able to write


class Lexicon:
    """What the tokens of a tokenizer stand for.

    Args:
        tokenizer: A Hugging Face tokenizer.

    Attributes:
        ids: Tokens by name.
        specials: Names of the tokens that are no text.

    Raises:
        ModelError: It spells its tokens in a way that is not known here.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if backend is None:
            raise ModelError("its tokenizer is not a fast one; give it a tokenizer.json")
        self._backend = backend
        self._form = _form(json.loads(backend.to_str()).get("decoder"))
        self.ids: dict[str, int] = tokenizer.get_vocab()
        added = tokenizer.added_tokens_decoder.items()
        self.specials: dict[int, str] = {n: t.content for n, t in added if t.special}
        self._plain: dict[int, str] = {n: t.content for n, t in added if not t.special}
        self._unknown = {self.ids.get(name) for name in (tokenizer.unk_token, "<unk>", "[UNK]")}

    @cached_property
    def pieces(self) -> list[bytes | None]:
        """The bytes of each token, by id; None for one that is no text."""
        found: list[bytes | None] = [None] * (max(self.ids.values(), default=-1) + 1)
        for name, token in self.ids.items():
            if token in self._plain:
                found[token] = self._plain[token].encode()
            elif token not in self.specials:
                found[token] = self._read(name)
        return found

    def first(self, piece: bytes) -> int:
        """The token that stands for a text, or the first of those that do; `NONE` without one.

        Args:
            piece: The text, as it stands within another: a space at its start counts.
        """
        try:
            text = self._normal(piece.decode())
        except UnicodeDecodeError:  # part of a character
            text = None
        if self._form == "bytes":
            whole = piece if text is None else text.encode()
            return self._tokenized("".join(_LETTERS[byte] for byte in whole))
        if text is None:
            return self.ids.get(f"<0x{piece[0]:02X}>", NONE) if self._form == "spaces" else NONE
        if self._form == "spaces":
            return self._tokenized(text.replace(" ", "▁"))
        word = text.strip()
        if text[:1].isalnum():  # it goes on with a word
            for length in range(len(word), 0, -1):
                if (token := self.ids.get("##" + word[:length], NONE)) != NONE:
                    return token
        return self._tokenized(word)

    def encode(self, text: str) -> list[int]:
        """Returns a text's tokens; what only looks like a special token is text, too."""
        ids: list[int] = self.tokenizer.encode(
            text, add_special_tokens=False, split_special_tokens=True, verbose=False
        )
        return ids

    def opening(self) -> list[int]:
        """Returns the tokens that this tokenizer puts before every text."""
        bare = self.tokenizer.encode("a", add_special_tokens=False)
        ids: list[int] = self.tokenizer.encode("a")
        return ids[: ids.index(bare[0])] if bare and bare[0] in ids else []

    def _read(self, name: str) -> bytes:
        if self._form == "bytes":
            if all(letter in _BYTES for letter in name):
                return bytes(_BYTES[letter] for letter in name)
            return name.encode()
        if self._form == "spaces":
            if len(name) == 6 and name.startswith("<0x") and name.endswith(">"):
                return bytes.fromhex(name[3:5])
            return name.replace("▁", " ").encode()
        return (name[2:] if name.startswith("##") and len(name) > 2 else f" {name}").encode()

    def _normal(self, text: str) -> str:
        """A text as the tokenizer would write it, without what it puts before a whole one."""
        if self._backend.normalizer is None:
            return text
        written: str = self._backend.normalizer.normalize_str("a" + text)
        return next((written[len(a) :] for a in ("▁a", "a") if written.startswith(a)), text)

    def _tokenized(self, spelled: str) -> int:
        token = self.ids.get(spelled, NONE)
        if token == NONE and spelled:
            tokens = self._backend.model.tokenize(spelled)
            token = tokens[0].id if tokens else NONE
        return NONE if token in self._unknown or token in self.specials else token


class Crossing:
    """Has an assistant read what a served model reads, and its logits in that model's order.

    A token of the served model stands for the assistant's token of the same text. One that the
    assistant writes in several pieces gets the logit of the first: what the assistant thinks of
    the text's beginning, so at least what it thinks of the whole. An end of the answer stands for
    the assistant's end of text; other special tokens for those of the same name. What is left has
    no counterpart.

    Args:
        served: The served model's tokens.
        assistant: The assistant's.
        size: How many logits the served model has.
        ends: Its tokens that end an answer.

    Attributes:
        index: The assistant's token for each of the served model's; `NONE` without one.
    """

    def __init__(self, served: Lexicon, assistant: Lexicon, size: int, ends: Sequence[int]) -> None:
        self._pieces = served.pieces
        self._assistant = assistant
        self._opening = assistant.opening()
        names = {name: token for token, name in assistant.specials.items()}
        self._specials = {t: names[n] for t, n in served.specials.items() if n in names}
        # Complete stretches only: the last one grows with each token, and would fill it.
        self._encoded = lru_cache(maxsize=64)(self._encode)
        end = assistant.tokenizer.eos_token_id
        self.index = [NONE] * size
        for token, piece in enumerate(self._pieces[:size]):
            if piece is None:
                self.index[token] = self._specials.get(token, NONE)
            elif piece:
                self.index[token] = assistant.first(piece)
        for token in ends:
            if end is not None and 0 <= token < size:
                self.index[token] = end

    @property
    def covered(self) -> float:
        """The share of the served model's texts that the assistant has a token for."""
        pairs = zip(self.index, self._pieces, strict=False)
        texts = [token != NONE for token, piece in pairs if piece is not None]
        return sum(texts) / max(len(texts), 1)

    def context(self, tokens: Sequence[int]) -> list[int]:
        """Returns the assistant's tokens of a text that is given in the served model's.

        A function of the tokens alone. The last character is left out while it is incomplete;
        special tokens that the assistant does not know by name are left out, but part the text.
        """
        found = list(self._opening)
        *complete, (last, _) = self._stretches(tokens)
        for text, special in complete:
            found += self._encoded(text)
            if special in self._specials:
                found.append(self._specials[special])
        return found + self._encode(last)

    def _stretches(self, tokens: Sequence[int]) -> Iterator[tuple[bytes, int]]:
        """The texts between special tokens, each with the token behind it."""
        text = bytearray()
        for token in tokens:
            piece = self._pieces[token] if 0 <= token < len(self._pieces) else None
            if piece is None:
                yield bytes(text), token
                text.clear()
            else:
                text += piece
        yield bytes(text), NONE

    def _encode(self, text: bytes) -> list[int]:
        characters = codecs.getincrementaldecoder("utf-8")("replace").decode(text)
        return self._assistant.encode(characters) if characters else []


def cross(served: Any, assistant: Any, size: int, ends: Sequence[int]) -> Crossing | None:
    """Relates two tokenizers; None where the assistant has the served model's tokens.

    Args:
        served: The served model's tokenizer.
        assistant: The assistant's.
        size: How many logits the served model has.
        ends: Its tokens that end an answer.

    Raises:
        ModelError: They cannot be compared, or have next to nothing in common.
    """
    known = assistant.get_vocab()
    if all(known.get(name) == token for name, token in served.get_vocab().items()):
        return None
    crossing = Crossing(Lexicon(served), Lexicon(assistant), size, ends)
    if crossing.covered < _LEAST:
        raise ModelError(
            f"its tokenizer can write only {crossing.covered:.0%} of the served model's tokens; "
            "use an assistant for the same languages"
        )
    return crossing


def _form(decoder: object) -> str:
    """How a tokenizer spells, told from how it undoes it."""
    kinds = set(_kinds(decoder))
    for kind, form in (("ByteLevel", "bytes"), ("WordPiece", "words"), ("Metaspace", "spaces")):
        if kind in kinds:
            return form
    if "▁" in json.dumps(decoder, ensure_ascii=False):  # a plain replacement of it
        return "spaces"
    raise ModelError(
        "its tokenizer is neither byte-level BPE nor SentencePiece nor WordPiece; "
        "use an assistant with the served model's own tokenizer"
    )


def _kinds(decoder: object) -> Iterator[str]:
    if isinstance(decoder, dict):
        yield str(decoder.get("type"))
        for inner in decoder.get("decoders", ()):
            yield from _kinds(inner)


def _alphabet() -> list[str]:
    """The letters that byte-level BPE (GPT-2) writes bytes with: printable ones as they are."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    hidden = [byte for byte in range(256) if byte not in printable]
    return [chr(b) if b in printable else chr(256 + hidden.index(b)) for b in range(256)]


_LETTERS = _alphabet()
_BYTES = {letter: byte for byte, letter in enumerate(_LETTERS)}
