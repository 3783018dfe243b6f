"""What running code needs of one target: the contents of a bundle, in memory."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy.typing as npt


@dataclass(frozen=True)
class Parts:
    """What is fitted at compile time: goes into the bundle, so it holds the least it can.

    Attributes:
        data: JSON values.
        arrays: Named arrays.
    """

    data: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)
