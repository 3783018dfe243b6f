"""Two folders that change names at one instant, so that no kill leaves a name without a folder."""

import ctypes
import errno
import os
from pathlib import Path

_HERE = -100  # AT_FDCWD: paths are relative to where the process is
_EXCHANGE = 2  # RENAME_EXCHANGE; see renameat2(2)
# What says that this file system, kernel or C library cannot.
_CANNOT = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP)


def exchange(one: Path, other: Path) -> bool:
    """Exchanges the names of two folders of one file system.

    Returns:
        Whether it was done; False where the file system cannot (some network file systems).

    Raises:
        OSError: It could, and failed.
    """
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    names = os.fsencode(one), os.fsencode(other)
    if rename(_HERE, names[0], _HERE, names[1], _EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in _CANNOT:
        return False
    raise OSError(number, os.strerror(number), str(one), None, str(other))
