"""Policy to bundle: every target fitted, and what all have in common beside them."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from guard import __version__
from guard.bundle import Bundle, array_name, check_out, write_bundle
from guard.data import Row, read_rows
from guard.detectors.base import Examples, Parts, Vectors
from guard.encoder import Encoder
from guard.errors import DataError, GuardError
from guard.everyday import describe, everyday, everyday_vectors
from guard.fitting import fit_target, share, stand_ins
from guard.identity import identify, model_folder
from guard.models import resolve
from guard.policy import Policy, Target, load_policy

Report = Callable[[str], None]


def compile_policy(path: Path, out: Path, report: Report = lambda line: None) -> Bundle:
    """Compiles a policy into a bundle.

    Args:
        path: The policy.
        out: The folder to make; an existing bundle there is replaced.
        report: Is told each step, a line at a time.

    Raises:
        GuardError: The policy, the data or a model is wrong; nothing is written then.
    """
    policy = load_policy(path)
    check_out(out)
    background = everyday(policy.background)
    examples = {target.id: read_examples(target, background) for target in policy.targets}
    report(f"identifying {policy.model}")
    model = model_folder(resolve(policy.model))
    served = identify(model)
    folder = model_folder(resolve(policy.encoder))
    encode = Remembered(Encoder(str(folder)), [row.prompt for row in background])
    settled = [(target, examples[target.id]) for target in policy.targets]
    report(f"reading {len(background)} everyday prompts")
    # Stand-ins too, so that a target that is added later does not wait for what they share.
    shared = share([*settled, *stand_ins(settled)], encode, {})
    arrays = {array_name(a): a for parts in shared.values() for a in parts.arrays.values()}
    targets = []
    for number, (target, rows) in enumerate(settled, 1):
        report(f"fitting {target.id} ({number}/{len(settled)})")
        try:
            record, stored = fit_target(target, rows, shared, encode, report, model)
        except GuardError as error:
            raise type(error)(f"{path}: targets[{number - 1}] ({target.id}): {error}") from None
        targets.append(record)
        arrays |= stored
    manifest = {
        "created_by": f"unlearn-guard {__version__}",
        "policy_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "model": {"name": policy.model, "sha256": served},
        "encoder": {"name": policy.encoder, "sha256": identify(folder)},
        "on_error": policy.on_error,
        "timeout": policy.timeout,
        "background": describe(background),
        "shared": {kind: shared_record(parts) for kind, parts in shared.items()},
        "tenants": tenant_records(policy),
        "targets": targets,
    }
    report("writing")
    return write_bundle(out, manifest, arrays)


def shared_record(parts: Parts) -> dict[str, Any]:
    """Returns the record of what all targets of a detector kind share."""
    arrays = {name: array_name(array) for name, array in parts.arrays.items()}
    return {"data": dict(parts.data), "arrays": arrays}


def tenant_records(policy: Policy) -> list[dict[str, Any]]:
    """Returns the records of a policy's tenants."""
    return [{"id": tenant.id, "keys": list(tenant.keys)} for tenant in policy.tenants]


def read_examples(target: Target, background: tuple[Row, ...]) -> Examples:
    """Reads a target's rows.

    Raises:
        DataError: A file cannot be read, or a prompt is both to be forgotten and to be kept.
    """
    forget = tuple(read_rows(target.forget)) if target.forget else ()
    retain = tuple(read_rows(target.retain)) if target.retain else ()
    shared = {row.prompt for row in forget} & {row.prompt for row in retain}
    if shared:
        raise DataError(
            f"{target.retain}: {len(shared)} of its rows are also in {target.forget}; "
            "a prompt is either to be forgotten or to be kept"
        )
    return Examples((*target.names, *target.aliases), forget, retain, background)


class Remembered:
    """Encodes each text once: targets share rows, and stages ask for the same ones.

    Args:
        encoder: The encoder.
        everyday: Everyday prompts. Their vectors are taken from the user's cache, where they are
            there, once something asks for most of them; names alone never do.
    """

    def __init__(self, encoder: Encoder, everyday: Sequence[str] = ()) -> None:
        self._encoder = encoder
        self._everyday = list(everyday)
        self._seen: dict[str, Vectors] = {}

    @property
    def folder(self) -> str:
        """The encoder's folder."""
        return self._encoder.folder

    def __call__(self, texts: Sequence[str]) -> Vectors:
        """Encodes texts as unit vectors, float32 [n, dimensions]."""
        if self._everyday and len(set(self._everyday).intersection(texts)) * 2 > len(
            self._everyday
        ):
            vectors = everyday_vectors(self._encoder, self._everyday)
            self._seen.update(zip(self._everyday, vectors, strict=True))
            self._everyday = []
        new = [text for text in dict.fromkeys(texts) if text not in self._seen]
        if new:
            self._seen.update(zip(new, self._encoder(new), strict=True))
        if not texts:
            return self._encoder(["-"])[:0]
        return np.stack([self._seen[text] for text in texts])
