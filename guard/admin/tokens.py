"""Who may use the admin API: names, each with a token."""

import hashlib
import hmac
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path

from guard.audit.changes import who
from guard.errors import GuardError
from guard.secret import LEAST, MEND

TOKEN = "GUARD_ADMIN_TOKEN"
TOKENS = "GUARD_ADMIN_TOKENS"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_SCHEME = "bearer "


class Tokens:
    """The tokens, as hashes: comparing takes equally long whatever is given.

    Args:
        tokens: Name to token.
    """

    def __init__(self, tokens: Mapping[str, str]) -> None:
        self._digests = {name: _digest(token) for name, token in tokens.items()}

    def who(self, header: str | None) -> str | None:
        """Returns whose token a request shows; None where it is nobody's.

        Args:
            header: The request's ``Authorization``.
        """
        header = header or ""
        given = _digest(header[len(_SCHEME) :])
        bearer = header[: len(_SCHEME)].lower() == _SCHEME
        found = None
        for name, digest in self._digests.items():  # all of them, whichever it is
            if hmac.compare_digest(given, digest):
                found = name
        return found if bearer else None


def read_tokens(given: str | None = None) -> Tokens:
    """Reads the tokens that the environment gives.

    Args:
        given: The name of whoever has the one of ``GUARD_ADMIN_TOKEN``.

    Raises:
        GuardError: There are none, or one could be guessed; the message names the variable.
    """
    token, file = os.environ.get(TOKEN), os.environ.get(TOKENS)
    if token is not None and file is not None:
        raise GuardError(f"{TOKEN} and {TOKENS} are both set; give one of them")
    if file is not None:
        if given is not None:
            raise GuardError(f"--who goes with {TOKEN}; {TOKENS} names each admin itself")
        return Tokens(_read(Path(file)))
    if token is None:
        raise GuardError(f"{TOKEN} is not set; {MEND}, or {TOKENS}=FILE.json for several admins")
    _check(token, TOKEN)
    name = given or who()
    if not _NAME.fullmatch(name):
        raise GuardError(f"--who {name}: use up to 64 letters, digits, '.', '_', '@' and '-'")
    return Tokens({name: token})


def _read(path: Path) -> dict[str, str]:
    try:
        value = json.loads(path.read_bytes())
    except OSError as error:
        raise GuardError(f"{TOKENS}: {path}: cannot be read: {error.strerror}") from None
    except ValueError:
        value = None
    if not (isinstance(value, dict) and value and all(isinstance(t, str) for t in value.values())):
        raise GuardError(f'{TOKENS}: {path}: write one JSON object, {{"NAME": "TOKEN", …}}')
    for name, token in value.items():
        if not _NAME.fullmatch(name):
            raise GuardError(
                f"{TOKENS}: {path}: a name has up to 64 letters, digits, '.', '_', '@' and '-'"
            )
        _check(token, f"{TOKENS}: {path}: {name}")
    if len(set(value.values())) < len(value):
        raise GuardError(f"{TOKENS}: {path}: two names have one token; give each its own")
    return value


def _check(token: str, where: str) -> None:
    if len(token) < LEAST or not token.isascii() or not token.isprintable() or " " in token:
        raise GuardError(f"{where}: has less than {LEAST} plain characters; {MEND}")


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
