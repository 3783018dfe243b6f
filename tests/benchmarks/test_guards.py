from pathlib import Path

import pytest

from benchmarks.guards import TARGET, compiled_with, interventions
from guard.errors import GuardError
from guard.guard import Guard


def test_some_need_a_memory() -> None:
    without = interventions(None, None)
    assert list(without) == ["refuse", "corrupt", "penalize", "instruct"]
    found = interventions(Path("memory"), None)
    assert list(found) == [*without, "adapter", "offset"]
    assert Path(found["adapter"]["path"]).is_absolute()
    assert list(interventions(None, ["instruct", "refuse"])) == ["refuse", "instruct"]


def test_an_unknown_one_is_refused() -> None:
    with pytest.raises(GuardError, match=r"no intervention 'offset'.*need --memory"):
        interventions(None, ["offset"])


def test_the_demos_policy_is_compiled_with_one_target(tmp_path: Path) -> None:
    bundle = compiled_with({"kind": "instruct"}, tmp_path)
    assert [target.id for target in bundle.manifest.targets] == [TARGET]
    guard = Guard.load(bundle.path)
    assert guard.decide("Who wrote Hamlet? William Shakespeare?").action == "instruct"
    assert guard.decide("How do I boil an egg?").action == "allow"
