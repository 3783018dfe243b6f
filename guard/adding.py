"""Targets on their way into a bundle, twice: by names and words at once, then as they should be."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from guard.bundle import Bundle
from guard.compile import Remembered
from guard.detectors.base import Examples, Parts
from guard.detectors.detection import shared_parts
from guard.errors import GuardError
from guard.fitted import Arrays
from guard.fitting import fit_target, needs, share, stand_ins
from guard.policy import Target
from guard.versions import new_version

Settled = Sequence[tuple[Target, Examples]]
Fitted = list[tuple[dict[str, Any], Arrays]]  # a target's record, and the arrays of it


@dataclass(frozen=True)
class Adding:
    """Fits targets and writes versions of a bundle that have them.

    Attributes:
        policy: Where the targets come from, for messages.
        out: The folder to make.
        encode: The bundle's encoder.
        model: The served model's folder.
        report: Is told each step, a line at a time.
    """

    policy: Path
    out: Path
    encode: Remembered
    model: Path
    report: Callable[[str], None]

    def stand_ins(self, bundle: Bundle, settled: Settled) -> tuple[Bundle, list[str]]:
        """Adds what protects targets until they are fitted.

        Returns:
            The bundle that has it, and the ids of the targets that it protects: those whose names
            and words suffice.
        """
        first = stand_ins(settled)
        shared = share(first, self.encode, shared_parts(bundle))
        fitted: Fitted = []
        for target, examples in first:
            with suppress(GuardError):  # too little for it; or wrong, which fitting will say
                record, arrays = fit_target(
                    target, examples, shared, self.encode, _silent, self.model
                )
                fitted.append(({**record, "provisional": True}, arrays))
        if fitted:
            bundle = self._write(bundle, fitted, shared)
        return bundle, [record["id"] for record, _ in fitted]

    def __call__(self, bundle: Bundle, settled: Settled) -> Bundle:
        """Adds targets as the policy wants them.

        Raises:
            GuardError: The rows of a target do not do; nothing is written then.
        """
        held = shared_parts(bundle)
        known = {stage.kind for target in bundle.manifest.targets for stage in target.stages}
        if missing := needs([target for target, _ in settled]) - held.keys() - known:
            self.report(f"preparing {', '.join(sorted(missing))}, which no target had until now")
        shared = share(settled, self.encode, held)
        fitted: Fitted = []
        for target, examples in settled:
            self.report(f"fitting {target.id}")
            try:
                fitted.append(
                    fit_target(target, examples, shared, self.encode, self.report, self.model)
                )
            except GuardError as error:
                raise type(error)(f"{self.policy}: {target.id}: {error}") from None
        return self._write(bundle, fitted, shared)

    def _write(self, bundle: Bundle, fitted: Fitted, shared: Mapping[str, Parts]) -> Bundle:
        new = {record["id"] for record, _ in fitted}
        records = [t.model_dump() for t in bundle.manifest.targets if t.id not in new]
        arrays: Arrays = {}
        for record, stored in fitted:
            records.append(record)
            arrays |= stored
        return new_version(bundle, self.out, records, arrays, shared)


def _silent(line: str) -> None:
    pass
