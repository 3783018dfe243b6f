"""Published settings: that the guard can hold to them.

A file of its own, since systems elsewhere are compiled with few everyday prompts.
"""

import pytest

from benchmarks.leakage.systems.published import PUBLISHED
from guard.detectors.calibration import needed
from guard.detectors.classifier import _trained
from guard.everyday import everyday


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_shipped_prompts_can_vouch_for_a_published_threshold(name: str) -> None:
    """Of those that a tuned encoder was trained on no score is held out."""
    detect = PUBLISHED[name].detect
    prompts = everyday(None)
    left = [row for row in prompts if not (detect.get("tune") and _trained(row))]
    rate = detect.get("max_false_positive_rate", 0.001)
    assert len(left) >= needed(rate), f"{len(left)} of {len(prompts)}"
