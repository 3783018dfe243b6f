"""Tenants in a policy: what is read, and what is wrong in one line."""

from pathlib import Path

import pytest

from guard.policy import load_policy
from guard.tenants import hashed
from tests.conftest import Refused

ONE, TWO = hashed("1" * 40), hashed("2" * 40)
BASE = f"""\
version: 1
model: builtin:smollm2
tenants:
  - id: acme
    keys: [{ONE}]
  - id: globex
    keys: [{TWO}]
targets:
  - id: brennick
    names: [Odalys Brennick]
    tenants: [acme]
    per_tenant:
      acme: {{mode: shadow, intervene: {{kind: refuse, message: No.}}}}
    retain: brennick/retain.jsonl
"""


def test_it_is_read(policy_folder: Path) -> None:
    path = policy_folder / "policy.yaml"
    path.write_text(BASE)
    policy = load_policy(path)
    assert [(one.id, one.keys) for one in policy.tenants] == [("acme", (ONE,)), ("globex", (TWO,))]
    (target,) = policy.targets
    assert target.tenants == ("acme",)
    acme = target.per_tenant["acme"]
    assert acme.mode == "shadow" and acme.intervene is not None
    assert acme.intervene.sure[0].options == {"message": "No."}


# Name: what is replaced in BASE, by what, the line that is named, and what the message must say.
WRONG: dict[str, tuple[str, str, int, tuple[str, ...]]] = {
    "key in plain text": (
        ONE,
        "sk-very-secret-key",
        5,
        ("tenants[0].keys[0]", "must be a key's hash", "guard tenants key"),
    ),
    "hash without its kind": (ONE, ONE.partition(":")[2], 5, ("tenants[0].keys[0]", "sha256:")),
    "hash in capitals": (ONE, ONE.upper(), 5, ("tenants[0].keys[0]",)),
    "hash that is cut": (ONE, ONE[:-1], 5, ("tenants[0].keys[0]",)),
    "keys that are no list": (f"[{ONE}]", ONE, 5, ("tenants[0].keys",)),
    "two tenants of one id": ("id: globex", "id: acme", 6, ("tenants[1].id", "used twice")),
    "two tenants of one key": (TWO, ONE, 7, ("tenants[1].keys[0]", "'acme' has this key already")),
    "one key twice": (f"[{ONE}]", f"[{ONE}, {ONE}]", 5, ("tenants[0].keys[1]", "'acme' has this")),
    "id with a space": ("id: globex", "id: glo bex", 6, ("tenants[1].id", "letters, digits")),
    "misspelt field": ("keys: [" + TWO, "kees: [" + TWO, 7, ("kees", "did you mean 'keys'")),
    "unknown tenant": (
        "tenants: [acme]",
        "tenants: [acmee]",
        11,
        ("targets[0].tenants[0]", "no such tenant", "acme, globex"),
    ),
    "a tenant twice": (
        "tenants: [acme]",
        "tenants: [acme, acme]",
        11,
        ("targets[0].tenants[1]", "given twice"),
    ),
    "no tenant": ("tenants: [acme]", "tenants: []", 11, ("targets[0].tenants", "at least 1")),
    "unknown tenant that has it otherwise": (
        "      acme: {",
        "      acmee: {",
        13,
        ("targets[0].per_tenant.acmee", "no such tenant"),
    ),
    "otherwise for whom it does not stand": (
        "      acme: {",
        "      globex: {",
        13,
        ("targets[0].per_tenant.globex", "does not stand for 'globex'"),
    ),
    "misspelt mode": ("shadow", "shado", 13, ("targets[0].per_tenant.acme.mode",)),
    "misspelt intervention": (
        "kind: refuse",
        "kind: refues",
        13,
        ("targets[0].per_tenant.acme.intervene.kind", "did you mean 'refuse'"),
    ),
    "what cannot be otherwise": (
        "{mode: shadow",
        "{detect: off",
        13,
        ("targets[0].per_tenant.acme.detect", "unknown field"),
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong(case: str, policy_folder: Path, refused: Refused) -> None:
    old, new, line, words = WRONG[case]
    path = policy_folder / "policy.yaml"
    assert old in BASE
    path.write_text(BASE.replace(old, new, 1))
    message = refused(path)
    assert f"policy.yaml:{line}: " in message
    for word in words:
        assert word in message
    assert "sk-very-secret-key" not in message


def test_a_target_for_tenants_where_there_are_none(policy_folder: Path, refused: Refused) -> None:
    path = policy_folder / "policy.yaml"
    head, _, rest = BASE.partition("tenants:\n")
    path.write_text(head + rest[rest.index("targets:") :])
    assert "no such tenant; describe it under 'tenants' (there are: none)" in refused(path)
