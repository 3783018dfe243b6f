"""The seal on a judged request, and the proof of a guard that is live.

The front end seals each request that it lets through, with a secret of this start; the engine
process takes no request without. The seal covers the prompt as it is after all edits, so it
cannot be moved to another prompt.
"""

import contextvars
import hashlib
import hmac
import json
import secrets
from array import array
from collections.abc import Sequence
from typing import Any

FIELD = "guard_verdict"  # where a seal travels in a request's extra arguments
PROBE = "guard_probe"
PLAN = "guard_plan"  # where what is done to the logits travels
FORCED = "guard_forced"  # where the answer travels that is to be scored
# Set by the gate for the requests of a prover, while the gate is shut: probes work nowhere else.
probing: contextvars.ContextVar[bool] = contextvars.ContextVar("probing", default=False)
PREFIX = "guard"  # every extra argument of this prefix is ours; a client's are dropped


def prompt_digest(
    token_ids: Sequence[int] | None,
    embeddings: bytes | memoryview | None,
    mask: Sequence[bool] | None,
    salt: str | None,
    adapter: tuple[str, str] | None,
    plan: object = None,
) -> bytes:
    """Digests what the engine will read.

    Args:
        token_ids: The prompt's tokens.
        embeddings: Raw bytes of the prompt embeddings.
        mask: For each position, whether its token (not its embedding) counts.
        salt: The cache salt.
        adapter: Name and folder of the LoRA adapter.
        plan: What is done to the logits; JSON.
    """
    digest = hashlib.sha256()
    for name, value in (
        (b"tokens", None if token_ids is None else array("q", token_ids).tobytes()),
        (b"embeds", embeddings),
        (b"mask", None if mask is None else bytes(bytearray(map(bool, mask)))),
        (b"salt", None if salt is None else salt.encode("utf-8", "surrogatepass")),
        (b"adapter", None if adapter is None else json.dumps(adapter).encode()),
        (b"plan", None if plan is None else json.dumps(plan, sort_keys=True).encode()),
    ):
        length = -1 if value is None else len(value)
        digest.update(name + length.to_bytes(8, "little", signed=True))
        digest.update(value or b"")
    return digest.digest()


class Seals:
    """Makes and checks seals, probes and attestations with one key.

    Args:
        key: The secret of this start.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    def seal(self, digest: bytes, version: str) -> str:
        """Seals a judged prompt; the seal names the bundle's version."""
        return f"{version}.{self._mac(b'verdict', version.encode() + digest)}"

    def holds(self, seal: object, digest: bytes) -> bool:
        """Whether a seal is genuine and made for this prompt."""
        if not isinstance(seal, str):
            return False
        version, _, mac = seal.rpartition(".")
        wanted = self._mac(b"verdict", version.encode("utf-8", "replace") + digest)
        return _equal(mac, wanted)

    def token(self, purpose: str) -> str:
        """Makes a token that proves the key is known, for one purpose."""
        nonce = secrets.token_hex(16)
        return f"{nonce}.{self._mac(purpose.encode(), nonce.encode())}"

    def accepts(self, token: object, purpose: str) -> bool:
        """Whether a token is genuine and for this purpose."""
        if not isinstance(token, str):
            return False
        nonce, _, mac = token.rpartition(".")
        return _equal(mac, self._mac(purpose.encode(), nonce.encode("utf-8", "replace")))

    def attest(self, token: str, statement: dict[str, Any]) -> str:
        """Signs a statement in answer to a probe's token; JSON."""
        body = json.dumps(statement, sort_keys=True)
        return json.dumps(
            {"statement": body, "mac": self._mac(b"attest", f"{token}{body}".encode())}
        )

    def attested(self, token: str, text: str) -> dict[str, Any] | None:
        """Returns the statement that answers a token; None when it is not genuine."""
        try:
            value = json.loads(text)
            body, mac = value["statement"], value["mac"]
            if not _equal(mac, self._mac(b"attest", f"{token}{body}".encode())):
                return None
            statement = json.loads(body)
        except (ValueError, KeyError, TypeError):
            return None
        return statement if isinstance(statement, dict) else None

    def _mac(self, purpose: bytes, message: bytes) -> str:
        return hmac.new(self._key, purpose + b"\0" + message, hashlib.sha256).hexdigest()


def _equal(given: object, wanted: str) -> bool:
    text = given if isinstance(given, str) else ""
    return hmac.compare_digest(text.encode("utf-8", "replace"), wanted.encode())
