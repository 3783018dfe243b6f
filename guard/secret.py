"""Secrets that the environment gives."""

import os

from guard.errors import GuardError

LEAST = 32  # characters: hexadecimal ones then hold 128 bits
MEND = "give a long random text (openssl rand -hex 32)"


def secret(name: str, error: type[GuardError]) -> str | None:
    """Returns a secret of the environment; None where it is not set.

    Args:
        name: The variable.
        error: What is raised.

    Raises:
        GuardError: It is so short that it could be guessed, or empty.
    """
    given = os.environ.get(name)
    if given is not None and len(given) < LEAST:
        raise error(f"{name} is set but has less than {LEAST} characters; {MEND}, or unset it")
    return given
