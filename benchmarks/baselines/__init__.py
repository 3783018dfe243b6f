"""What the guard is compared with. A new one is one file and one line here."""

from benchmarks.baselines.classifier import Classifier
from benchmarks.baselines.cosine import Cosine
from benchmarks.baselines.keyword import Keyword
from benchmarks.baselines.router import Router

__all__ = ["Classifier", "Cosine", "Keyword", "Router"]
