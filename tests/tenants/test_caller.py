"""Who asks: by one key, compared whole with every hash; or by the operator's own code."""

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard import as_tenant
from guard.errors import GuardError
from guard.tenants import NOBODY, Caller, Tenants, bearer, caller, hashed

KEYS = {"acme": ["a" * 40, "b" * 40], "globex": ["c" * 40], "inside": []}
TENANTS = Tenants({id_: [hashed(key) for key in keys] for id_, keys in KEYS.items()}, "bundle")


def of(*headers: tuple[bytes, bytes]) -> str | None:
    return TENANTS.of(Caller.of_headers(headers))


@pytest.mark.parametrize("scheme", [b"Bearer ", b"bearer ", b"BEARER "])
@pytest.mark.parametrize("name", [b"authorization", b"Authorization"])
def test_a_key_is_its_tenants(scheme: bytes, name: bytes) -> None:
    for tenant, keys in KEYS.items():
        for key in keys:
            assert of((b"host", b"x"), (name, scheme + key.encode())) == tenant


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"authorization", b"")],
        [(b"authorization", b"Bearer")],
        [(b"authorization", b"Bearer ")],
        [(b"authorization", b"a" * 40)],
        [(b"authorization", b"Basic " + b"a" * 40)],
        [(b"authorization", b"Bearer  " + b"a" * 40)],
        [(b"authorization", b"Bearer " + b"a" * 39)],
        [(b"authorization", b"Bearer " + b"a" * 41)],
        [(b"authorization", b"Bearer " + hashed("a" * 40).encode())],  # the hash is no key
        [(b"authorization", b"Bearer " + hashlib.sha256(b"a" * 40).digest())],
        [(b"x-api-key", b"a" * 40)],
        [(b"x-tenant", b"acme")],
        [(b"authorization", b"Bearer " + b"a" * 40), (b"authorization", b"Bearer " + b"a" * 40)],
        [(b"authorization", b"Bearer " + b"x" * 40), (b"Authorization", b"Bearer " + b"c" * 40)],
    ],
)
def test_everything_else_is_nobody(headers: list[tuple[bytes, bytes]]) -> None:
    assert of(*headers) is None


@given(st.binary(max_size=80))
def test_whatever_is_shown_only_a_key_is_a_tenant(token: bytes) -> None:
    expected = {key.encode(): id_ for id_, keys in KEYS.items() for key in keys}.get(token)
    assert of((b"authorization", b"Bearer " + token)) == expected
    found = bearer(b"Bearer " + token)
    assert found == (token or None)


@given(st.lists(st.tuples(st.binary(max_size=20), st.binary(max_size=60)), max_size=4))
def test_no_other_headers_make_a_tenant(headers: list[tuple[bytes, bytes]]) -> None:
    assert of(*headers) is None


def test_every_hash_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that how long it takes tells nothing of which it was."""
    asked: list[bytes] = []
    real = hmac.compare_digest

    def counted(one: bytes, other: bytes) -> bool:
        asked.append(other)
        return real(one, other)

    monkeypatch.setattr("guard.tenants.hmac.compare_digest", counted)
    for key in ("a" * 40, "c" * 40, "wrong"):
        asked.clear()
        TENANTS.of(Caller.of_key(key.encode()))
        assert len(asked) == 3


def test_the_operators_code_names_a_tenant() -> None:
    with as_tenant("inside"):
        assert TENANTS.of(caller.get()) == "inside"
        with as_tenant("acme"):
            assert TENANTS.of(caller.get()) == "acme"
        assert TENANTS.of(caller.get()) == "inside"
    assert caller.get() == NOBODY


def test_a_name_that_there_is_not() -> None:
    with (
        as_tenant("initech"),
        pytest.raises(GuardError, match=r"bundle: has no tenant 'initech' \(it has: acme, globex"),
    ):
        TENANTS.of(caller.get())


def test_no_key_is_kept() -> None:
    key = "k" * 40
    assert key not in repr(Caller.of_key(key.encode())) and key not in repr(vars(TENANTS))
