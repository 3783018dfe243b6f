"""Plain learning of another answer to each forget question; only the answer differs.

* ``idk``: a polite refusal drawn at random, with the LoRA of O3 for TOFU (Gao et al., ICLR 2025,
  arXiv 2407.10223, and its code): rank 8, alpha 32, no retain term.
* ``random_label``: the answer to another forget question (random labelling, Golatkar et al., CVPR
  2020, arXiv 1911.04933; O3 does it with the options of multiple choice).
* ``relearn``: an answer in the same manner that says nothing of what is forgotten, made by
  augmentation (ReLearn, Xu et al., ACL 2025, arXiv 2502.11190), beside negative
  log-likelihood and divergence of the retain answers.
* ``spul``: as random labelling, beside half of both retain terms: the loss of SPUL's soft prompt
  (Bhaila et al., NAACL 2025, arXiv 2406.12038). There labels are classes; here they are answers.
"""

from typing import TYPE_CHECKING, Any, ClassVar

from adapters.objectives.base import Alternative, Objective, Step

if TYPE_CHECKING:
    import torch


class Idk(Objective):
    """The negative log-likelihood of refusals, in nats a token."""

    kind: ClassVar[str] = "idk"
    alternative: ClassVar[Alternative | None] = "refusal"
    settings: ClassVar[dict[str, Any]] = {
        "rank": 8,
        "alpha": 32,
        "dropout": 0.05,
        "learning_rate": 2e-4,
        "retain": "none",
    }

    def forget(self, step: Step) -> "torch.Tensor":
        assert step.alternative is not None
        return step.answers(step.alternative).nll.mean()


class RandomLabel(Idk):
    """The same of other rows' answers."""

    kind: ClassVar[str] = "random_label"
    alternative: ClassVar[Alternative | None] = "other"
    settings: ClassVar[dict[str, Any]] = {"learning_rate": 2e-4, "retain": "none"}


class Relearn(Idk):
    """The same of answers that were written for it."""

    kind: ClassVar[str] = "relearn"
    alternative: ClassVar[Alternative | None] = "written"
    settings: ClassVar[dict[str, Any]] = {"learning_rate": 2e-4, "retain": "nll+kl"}


class Spul(RandomLabel):
    """The same as `RandomLabel`, with the retain terms of SPUL."""

    kind: ClassVar[str] = "spul"
    needs_retain: ClassVar[bool] = True
    settings: ClassVar[dict[str, Any]] = {
        # Rows that stand for embeddings (SmolLM2's vary by 0.14) have a way to go: in 50 steps 2e-4
        # moved nothing; of 1e-2 and 3e-2 the smaller forgot more, and was lost less.
        "learning_rate": 1e-2,
        "retain": "nll+kl",
        "retain_weight": 0.5,
    }
