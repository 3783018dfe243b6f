"""Detectors: a view in, a score per target out.

To add one, write a file with a subclass of `guard.detectors.base.Detector` and register it
here. Other distributions register theirs in the entry-point group ``guard.detectors``.
"""

from typing import TYPE_CHECKING

from guard.registry import Registry

if TYPE_CHECKING:
    from guard.detectors.base import Detector

DETECTORS: "Registry[Detector]" = Registry(
    "detector",
    "guard.detectors",
    {
        "lexical": "guard.detectors.lexical:Lexical",
        "static": "guard.detectors.static:Static",
        "sketch": "guard.detectors.sketch:Sketch",
        "similarity": "guard.detectors.similarity:Similarity",
        "classifier": "guard.detectors.classifier:Classifier",
        "multilingual": "guard.detectors.multilingual:Multilingual",
        "ood": "guard.detectors.ood:Ood",
        "quick": "guard.detectors.quick:Quick",
        "cascade": "guard.detectors.cascade:Cascade",
    },
)
