"""A bundle with two tenants: what stands for all, for one, and otherwise for one."""

from pathlib import Path

from guard.bundle import Bundle
from guard.compile import compile_policy
from guard.tenants import hashed
from tests.checks import quick_policy, small
from tests.proxy.bundles import INSTRUCTION, REFUSAL

ACME, GLOBEX, NEW = (f"sk-{name}-{'0' * 32}" for name in ("acme", "globex", "new"))
ACMES = "Our contract does not cover that book."
TENANTS = f"""\
tenants:
  - id: acme
    keys: ["{hashed(ACME)}"]
  - id: globex
    keys: ["{hashed(GLOBEX)}"]
"""
PERSON = "Which prize did Odalys Brennick win?"
BOOK = "Who wrote The Lantern of Vessmere?"
PROJECT = "Who signed the Tidewater Compact?"

# The person is enforced, for globex in shadow; the book stands for acme alone, in whose own words;
# the project is in shadow for everybody who is known.
CHANGES = {
    "targets:\n": f"{TENANTS}targets:\n",
    "    names: [Odalys": "    per_tenant: {globex: {mode: shadow}}\n    names: [Odalys",
    "intervene: {kind: corrupt}": (
        f"intervene: {{kind: instruct, message: {INSTRUCTION}}}\n    tenants: [acme]\n"
        f"    per_tenant: {{acme: {{intervene: {{kind: refuse, message: {ACMES}}}}}}}"
    ),
}


def tenanted(folder: Path, **outputs: str) -> Path:
    """Writes the policy; returns its path."""
    policy = quick_policy(folder, **outputs)
    text = policy.read_text()
    for old, new in CHANGES.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    policy.write_text(text)
    return policy


def compiled(folder: Path, **outputs: str) -> Bundle:
    """Compiles it."""
    policy = tenanted(folder, **outputs)
    with small(folder / "cache"):
        return compile_policy(policy, folder / "bundle")


__all__ = ["ACME", "ACMES", "GLOBEX", "INSTRUCTION", "NEW", "REFUSAL", "compiled", "tenanted"]
