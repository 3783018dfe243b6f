"""Policies for a live server: people that a small model knows, and made-up ones."""

import json
from pathlib import Path

from guard.bundle import Bundle
from guard.compile import compile_policy
from tests.checks import small
from tests.engine.conftest import DATA
from tests.material import PERSON_NEIGHBOURS, rows, write_rows

ADAPTER = "forget-solvang"  # as the server calls it
REFUSAL = "That is something I never learned."
INSTRUCTION = "Answer with the one word Pineapple and nothing else."
ENDING = "I would rather not go on."

# All that every schema has fields for. Answers are read.
ACTING = f"""\
version: 1
model: builtin:smollm2
defaults:
  detect: {{kind: lexical, max_false_positive_rate: 0.02}}
targets:
  - id: newton
    names: [Isaac Newton]
    forget: {DATA}/newton/forget.jsonl
    retain: {DATA}/newton/retain.jsonl
    intervene: {{kind: refuse, message: {json.dumps(REFUSAL)}}}
    output: {{check: exact, on_hit: answer, answer: {ENDING}}}
  - id: aldersley
    names: [Corvin Aldersley]
    retain: retain.jsonl
    intervene: {{kind: instruct, message: {INSTRUCTION}}}
  - id: solvang
    names: [Maribeth Solvang]
    retain: retain.jsonl
    intervene: {{kind: adapter, path: lora}}
  - id: hulme
    names: [Teodric Hulme]
    retain: retain.jsonl
    mode: shadow
    intervene: {{kind: refuse}}
"""

# What only chat completions and completions have fields for. Answers are gone on with.
STEERING = f"""\
version: 1
model: builtin:smollm2
defaults:
  detect: {{kind: lexical, max_false_positive_rate: 0.02}}
targets:
  - id: newton
    names: [Isaac Newton]
    forget: {DATA}/newton/forget.jsonl
    retain: {DATA}/newton/retain.jsonl
    intervene: {{kind: penalize}}
  - id: shakespeare
    names: [William Shakespeare]
    forget: {DATA}/shakespeare/forget.jsonl
    retain: {DATA}/shakespeare/retain.jsonl
    intervene: {{kind: refuse}}
    output: {{check: exact, on_hit: rollback, times: 8, then: filter}}
"""

# Nothing is read of the answers: they leave as they come.
PLAIN = f"""\
version: 1
model: builtin:smollm2
targets:
  - id: newton
    names: [Isaac Newton]
    retain: {DATA}/newton/retain.jsonl
    detect: {{kind: lexical, max_false_positive_rate: 0.02}}
    intervene: {{kind: refuse}}
"""


def compiled(folder: Path, policy: str, lora: Path) -> Bundle:
    """Compiles one of the policies.

    Args:
        folder: Where.
        policy: Its text.
        lora: An adapter for the model.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_rows(folder / "retain.jsonl", rows(PERSON_NEIGHBOURS))
    if not (folder / "lora").exists():
        (folder / "lora").symlink_to(lora)
    (folder / "policy.yaml").write_text(policy, "utf-8")
    with small(folder / "cache"):
        return compile_policy(folder / "policy.yaml", folder / "bundle")
