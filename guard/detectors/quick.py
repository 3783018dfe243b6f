"""Names and words, and no encoder: what protects a target while its vectors are made."""

from typing import ClassVar

from guard.detectors.base import DetectOptions
from guard.detectors.cascade import Cascade


class Quick(Cascade):
    """A composite of the stages that are fitted in a fraction of a second."""

    kind: ClassVar[str] = "quick"
    Options: ClassVar[type[DetectOptions]] = DetectOptions
    stages: ClassVar[tuple[str, ...]] = ("lexical", "sketch")
    first: ClassVar[str] = ""
