"""Where a chain ends on disk, for whoever goes on with it."""

from collections.abc import Sequence
from pathlib import Path

from guard.audit.record import FIRST, Record, parse
from guard.errors import AuditError


def end_of(files: Sequence[Path], key_id: str | None) -> tuple[Record, bytes, bool]:
    """Finds the end of a chain.

    Args:
        files: The chain's files, in their order; at least one.
        key_id: The key that it has to go by, if any.

    Returns:
        The last record (its number is -1 where there is none), what is torn behind it, and whether
        it is in the last file.

    Raises:
        AuditError: The chain goes by another key, or is damaged where it cannot be gone on with.
        OSError: A file cannot be read.
    """
    with open(files[0], "rb") as lines:
        first = next(filter(None, (parse(line.removesuffix(b"\n")) for line in lines)), None)
    # What is damaged there, verifying finds.
    if first is not None and first.kind == "genesis" and first.body.get("key") != key_id:
        raise AuditError(
            f"{files[0].parent}: was begun with another GUARD_AUDIT_KEY, or without one; give that "
            "key, or a new folder"
        )
    last, torn = _end_of_file(files[-1])
    if last is not None or len(files) == 1:
        none = Record(files[0].parent.name, -1, "", "", {}, "", FIRST)
        return last or none, torn, last is not None
    before, rest = _end_of_file(files[-2])
    if before is None or rest:
        raise AuditError(f"{files[-2]}: is damaged; see `guard audit verify`")
    return before, torn, False


def _end_of_file(file: Path) -> tuple[Record | None, bytes]:
    """A file's last record, and what comes behind it."""
    lines = file.read_bytes().split(b"\n")
    for number in range(len(lines) - 2, -1, -1):
        record = parse(lines[number])
        if record is not None:
            return record, b"\n".join(lines[number + 1 :])
    return None, b"\n".join(lines)
