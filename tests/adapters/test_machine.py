"""What is computed in, and numbers that are as good as zero."""

import pytest
import torch

from adapters.__main__ import main
from adapters.machine import flushed_denormals

LEAST = 5e-324  # the smallest number above zero; a threshold of a detector may be it


def test_numbers_as_good_as_zero_are_zero_inside_and_theirs_again_outside() -> None:
    if not torch.set_flush_denormal(False):
        pytest.skip("this processor cannot flush them")
    least = float(LEAST)
    with flushed_denormals():
        assert least * 1.0 == 0
    assert least * 1.0 > 0


def test_they_are_whatever_happens() -> None:
    with pytest.raises(RuntimeError, match="broken"), flushed_denormals():
        raise RuntimeError("broken")
    assert LEAST * 1.0 > 0


def test_a_command_leaves_them_as_they_were(tmp_path_factory: pytest.TempPathFactory) -> None:
    nowhere = str(tmp_path_factory.mktemp("none") / "missing")
    words = ["--model", nowhere, "--forget", nowhere, "--out", nowhere]
    assert main(["train", "--objective", "ga", *words]) == 2
    assert LEAST * 1.0 > 0
