from pathlib import Path

import pytest

from benchmarks.guards import TARGET, compiled_with, policies
from guard.errors import GuardError
from guard.guard import Guard


def test_some_need_a_memory() -> None:
    without = policies(None, None)
    assert list(without) == ["refuse", "corrupt", "penalize", "instruct", "output check"]
    found = policies(Path("memory"), None)
    assert list(found) == [*without, "adapter", "offset"]
    assert Path(found["adapter"]["intervene"]["path"]).is_absolute()
    assert list(policies(None, ["instruct", "refuse"])) == ["refuse", "instruct"]


def test_an_unknown_one_is_refused() -> None:
    with pytest.raises(GuardError, match=r"no policy 'offset'.*need --memory"):
        policies(None, ["offset"])


def test_the_demos_policy_is_compiled_with_one_target(tmp_path: Path) -> None:
    bundle = compiled_with({"intervene": {"kind": "instruct"}}, tmp_path)
    assert [target.id for target in bundle.manifest.targets] == [TARGET]
    guard = Guard.load(bundle.path)
    assert guard.decide("Who wrote Hamlet? William Shakespeare?").action == "instruct"
    assert guard.decide("How do I boil an egg?").action == "allow"


def test_one_has_its_answers_read(tmp_path: Path) -> None:
    (fields,) = policies(None, ["output check"]).values()
    guard = Guard(compiled_with(fields, tmp_path))
    assert {one.kind for one in guard.output.checks["enforce"]} == {"exact", "verbatim", "semantic"}
