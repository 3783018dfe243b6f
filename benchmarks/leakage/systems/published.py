"""Three systems with the settings of their papers, as far as the guard's own pieces express them.

What is given to them is what is given to every system: never an evaluation question, nor a
paraphrase of one. Settings and figures are those of METHODS: ECO (2406.07933), GUARD (2505.13312),
O3 (2407.10223).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.leakage.systems.guarded import Choice
from benchmarks.leakage.systems.parts import Adapter, Zeroed


@dataclass(frozen=True)
class Published:
    """A published system as a policy.

    Attributes:
        detect: How prompts are noticed.
        intervene: What is done with them.
        differs: What is otherwise than in the publication; a reader of the figures should know.
    """

    detect: Mapping[str, Any]
    intervene: Sequence[Choice]
    differs: tuple[str, ...]


ECO = Published(
    detect={"kind": "classifier", "tune": True, "epochs": 30, "max_false_positive_rate": 0.002},
    intervene=[
        Zeroed(share=670 / 4096, shares={"tofu-05": 881 / 4096, "tofu-10": 1000 / 4096}),
    ],
    differs=(
        "the classifier is a LoRA-tuned MiniLM with a head for each cluster, not RoBERTa-base with "
        "one; a threshold calibrated for one false alarm in five hundred (most everyday prompts "
        "are trained on, and the others vouch for no less), not a score of 0.99",
        "it is trained on the given forget rows, not on the questions that are asked",
        "entities are the target's own names and capitalised phrases, not those of an NER model",
        "k is the figure for 1, 5 or 10 % of TOFU (670, 881, 1000 of 4096 dimensions), for others "
        "that for 1 %, as a share of the model's width",
        "answer tokens are never corrupted, in scores either",
    ),
)

GUARD = Published(
    detect={"kind": "classifier"},
    intervene=[{"kind": "penalize", "closest": 1, "alpha": 0.0, "beta": 0.0}],
    differs=(
        "heads over a sentence encoder's vectors, not an MLP over the model's mean hidden state",
        "forbidden phrases are what is rare in the closest forget answer, not what a language "
        "model extracts from it",
        "the hard ban alone, in greedy or sampled decoding: no beam search, and no similarity term",
        "the subject's own name is never banned",
    ),
)

O3 = Published(
    detect={"kind": "ood", "rank": 8, "nu": 0.01},
    intervene=[
        Adapter(
            objective="idk",
            settings={
                "rank": 8,
                "alpha": 32,
                "dropout": 0.05,
                "learning_rate": 2e-4,
                "epochs": 10,
                "retain": "none",
            },
            soft=True,
        )
    ],
    differs=(
        "the detector is fitted over MiniLM, not RoBERTa-large; its last two layers vote, and the "
        "contrastive term weighs 0.01: the paper's 1 and all layers fail on a sentence encoder",
        "a threshold calibrated for one false alarm in a thousand beside the one-class boundary",
        "the weight is the paper's formula, in eighths, not the cut-offs of the shipped evaluation",
        "one request, so there is no earlier adapter to be orthogonal to",
    ),
)

PUBLISHED: Mapping[str, Published] = {
    "ECO, as published": ECO,
    "GUARD, as published": GUARD,
    "O3, as published": O3,
}
