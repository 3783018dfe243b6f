"""Measures of what systems say, one file each.

To add one, write a file with a class as `benchmarks.leakage.evidence.Metric` has it, and register
it here. A metric's name is what a suite lists; ``FIGURES`` names the figures that it yields, each
with what is better.
"""

from typing import TYPE_CHECKING

from benchmarks.metrics.blocked import Blocked
from benchmarks.metrics.choice import Choice
from benchmarks.metrics.choice_said import ChoiceSaid
from benchmarks.metrics.closeness import Closeness
from benchmarks.metrics.entities import Entities
from benchmarks.metrics.failed import Failed
from benchmarks.metrics.fluency import Fluency
from benchmarks.metrics.forget_quality import ForgetQuality
from benchmarks.metrics.forget_score import ForgetScore
from benchmarks.metrics.kfr import Kfr
from benchmarks.metrics.krr import Krr
from benchmarks.metrics.leak_at_k import Leak
from benchmarks.metrics.loss_mia import LossMia
from benchmarks.metrics.mia_score import MiaScore
from benchmarks.metrics.min_k import MinK
from benchmarks.metrics.muse_knowledge import MuseKnowledge
from benchmarks.metrics.muse_verbatim import MuseVerbatim
from benchmarks.metrics.over_refusal import OverRefusal
from benchmarks.metrics.perplexity import Perplexity
from benchmarks.metrics.privacy_leak import PrivacyLeak
from benchmarks.metrics.probability import Probability
from benchmarks.metrics.refusal import Refusal
from benchmarks.metrics.repetition import Repetition
from benchmarks.metrics.rouge import RougeL
from benchmarks.metrics.task_aggregate import TaskAggregate
from benchmarks.metrics.truth_ratio import TruthRatio
from benchmarks.metrics.unchanged import Unchanged
from benchmarks.metrics.utility import ModelUtility
from benchmarks.metrics.verbatim import Verbatim

if TYPE_CHECKING:
    from benchmarks.leakage.evidence import Metric

METRICS: "dict[str, Metric]" = {
    "rouge_l": RougeL(),
    "entities": Entities(),
    "verbatim": Verbatim(),
    "leak_at_k": Leak(),
    "probability": Probability(),
    "truth_ratio": TruthRatio(),
    "forget_quality": ForgetQuality(),
    "closeness": Closeness(),
    "utility": ModelUtility(),
    "unchanged": Unchanged(),
    "refusal": Refusal(),
    "over_refusal": OverRefusal(),
    "repetition": Repetition(),
    "fluency": Fluency(),
    "perplexity": Perplexity(),
    "choice": Choice(),
    "choice_said": ChoiceSaid(),
    "forget_score": ForgetScore(),
    "kfr": Kfr(),
    "krr": Krr(),
    "muse_verbatim": MuseVerbatim(),
    "muse_knowledge": MuseKnowledge(),
    "privacy_leak": PrivacyLeak(),
    "loss_mia": LossMia(),
    "mia_score": MiaScore(),
    "min_k": MinK(),
    "task_aggregate": TaskAggregate(),
    "blocked": Blocked(),
    "failed": Failed(),
}
