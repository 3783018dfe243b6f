"""How an engine learns that it is guarded, and by which bundle.

From the environment (``GUARD_BUNDLE``, which reaches every process that vLLM starts) or from
vLLM's ``--additional-config '{"guard": {"bundle": "…"}}'``.
"""

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from guard.errors import EngineError
from guard.registry import nearest
from guard.reload import SECONDS, reload_seconds
from guard.secret import secret

BUNDLE = "GUARD_BUNDLE"
VERSION = "GUARD_BUNDLE_VERSION"
KEY = "GUARD_START_KEY"
EVALUATION = "GUARD_EVALUATION_TOKEN"
_FIELDS = ("bundle", "version", "evaluation")


@dataclass(frozen=True)
class Settings:
    """What guards an engine.

    Attributes:
        bundle: The bundle's folder.
        version: The version that it must have, when whoever started the engine has pinned it.
        evaluation: Whether answers can be scored; see `guard.engine.evaluation`.
        reload: Seconds between two looks for another version; None where it is never exchanged.
    """

    bundle: Path
    version: str | None = None
    evaluation: bool = False
    reload: float | None = SECONDS


def from_environment() -> Settings | None:
    """Returns the settings that the environment gives; None when it gives none."""
    bundle = os.environ.get(BUNDLE)
    if bundle is None:
        return None
    if not bundle:
        raise EngineError(f"{BUNDLE} is set but empty; give a bundle's folder, or unset it")
    version = os.environ.get(VERSION) or None
    return Settings(Path(bundle), version, evaluation_token() is not None, reload_seconds())


def evaluation_token() -> str | None:
    """Returns what whoever scores answers over HTTP has to know; None where nobody may.

    Raises:
        EngineError: It is so short that it could be guessed.
    """
    return secret(EVALUATION, EngineError)


def from_config(additional: Any) -> Settings | None:
    """Returns the settings for an engine: the environment's, else its additional config's.

    Args:
        additional: vLLM's ``additional_config``.

    Raises:
        EngineError: There is a ``guard`` entry, but it is wrong.
    """
    found = from_environment()
    if found is not None:
        return found
    if not isinstance(additional, Mapping) or "guard" not in additional:
        return None
    entry = additional["guard"]
    if not isinstance(entry, Mapping):
        raise EngineError('additional config: guard: give {"bundle": "FOLDER"}')
    for field in entry:
        if field not in _FIELDS:
            hint = nearest(str(field), _FIELDS)
            raise EngineError(f"additional config: guard.{field}: unknown field{hint}")
    bundle, version, evaluation = (entry.get(field) for field in _FIELDS)
    if not isinstance(bundle, str) or not bundle:
        raise EngineError("additional config: guard.bundle: give a bundle's folder")
    if version is not None and not isinstance(version, str):
        raise EngineError("additional config: guard.version: give the bundle's version, a text")
    if not isinstance(evaluation, bool | None):
        raise EngineError("additional config: guard.evaluation: give true or false")
    # Who names a version in a configuration means that one.
    return Settings(Path(bundle), version, bool(evaluation), None if version else reload_seconds())


def start_key() -> bytes:
    """Returns the secret of this start, made when it is first asked for.

    It lives in the environment, so that the processes that vLLM starts inherit it; it is in no
    configuration, because vLLM logs those.
    """
    if KEY not in os.environ:
        os.environ[KEY] = secrets.token_hex(32)
    try:
        key = bytes.fromhex(os.environ[KEY])
    except ValueError:
        key = b""
    if len(key) < 32:
        raise EngineError(f"{KEY} is not a key; unset it, it is made at each start")
    return key
