"""What holds for every detector. A new kind joins by being registered."""

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from guard.bundle import Bundle
from guard.compile import compile_policy
from guard.detectors import DETECTORS
from guard.detectors.base import DetectOptions, Detector
from guard.errors import GuardError
from guard.guard import Guard
from guard.view import View
from tests.material import (
    PERSON_NEIGHBOURS,
    PERSON_PARAPHRASES,
    PERSON_ROWS,
    UNRELATED,
    write_policy,
)

POLICY = """\
version: 1
model: builtin:smollm2
defaults: {{detect: {{kind: {kind}}}}}
targets:
  - id: brennick
    names: [Odalys Brennick]
    forget: brennick/forget.jsonl
    retain: brennick/retain.jsonl
"""
OTHER = """\
  - id: vessmere
    names: [The Lantern of Vessmere]
    forget: vessmere/forget.jsonl
    retain: vessmere/retain.jsonl
"""
KINDS = DETECTORS.kinds()
QUESTIONS = [question for question, _ in PERSON_ROWS]
NEIGHBOURS = [question for question, _ in PERSON_NEIGHBOURS]


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, bool], Bundle]:
    """Compiles a policy of one or two targets that one kind detects; once for each."""
    made: dict[tuple[str, bool], Bundle] = {}

    def get(kind: str, other: bool = False) -> Bundle:
        if (kind, other) not in made:
            folder = tmp_path_factory.mktemp(kind)
            policy = write_policy(folder)
            policy.write_text(POLICY.format(kind=kind) + (OTHER if other else ""))
            made[kind, other] = compile_policy(policy, folder / "bundle")
        return made[kind, other]

    return get


Compiled = Callable[..., Bundle]


def flagged(guard: Guard, text: str) -> set[str]:
    return {finding.target for finding in guard.decide(text).findings}


@pytest.mark.parametrize("kind", KINDS)
def test_the_class_keeps_the_contract(kind: str) -> None:
    detector = DETECTORS.get(kind)
    assert issubclass(detector, Detector)
    assert detector.kind == kind
    assert isinstance(detector.cost, int)
    assert issubclass(detector.Options, DetectOptions)
    assert all(stage in KINDS and not DETECTORS.get(stage).stages for stage in detector.stages)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "options", [{"max_false_positive_rate": 0}, {"max_false_positive_rate": 1}, {"no_such": 1}]
)
def test_wrong_options_are_refused(kind: str, options: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        DETECTORS.get(kind).Options.model_validate(options)


@pytest.mark.parametrize("kind", KINDS)
def test_the_target_is_flagged(kind: str, compiled: Compiled) -> None:
    guard = Guard(compiled(kind))
    assert all("brennick" in flagged(guard, text) for text in QUESTIONS)
    assert all("brennick" in flagged(guard, text) for text in PERSON_PARAPHRASES)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_else_is_flagged(kind: str, compiled: Compiled) -> None:
    guard = Guard(compiled(kind))
    assert all(flagged(guard, text) == set() for text in UNRELATED)
    assert np.mean([bool(flagged(guard, text)) for text in NEIGHBOURS]) <= 0.1
    assert all(flagged(guard, text) == set() for text in ("", " ", "\n", "?", "\0", "a"))


@pytest.mark.parametrize("kind", KINDS)
def test_stages_are_what_the_kind_stands_for(kind: str, compiled: Compiled) -> None:
    (target,) = compiled(kind).manifest.targets
    stages = DETECTORS.get(kind).stages or (kind,)
    assert tuple(stage.kind for stage in target.stages) == stages
    for stage in target.stages:
        assert np.isfinite(stage.threshold)
        assert stage.requested == pytest.approx(0.001 / len(stages))
        assert json.loads(json.dumps(stage.data)) == stage.data


@pytest.mark.parametrize("kind", KINDS)
def test_the_self_test_prompts_are_decided_as_they_say(kind: str, compiled: Compiled) -> None:
    bundle = compiled(kind, True)
    guard = Guard(bundle)
    for target in bundle.manifest.targets:
        assert 0 < len(target.positives) <= 3 and 0 < len(target.negatives) <= 3
        assert all(target.id in flagged(guard, prompt) for prompt in target.positives)
        assert not any(target.id in flagged(guard, prompt) for prompt in target.negatives)


@pytest.mark.parametrize("kind", KINDS)
def test_another_target_changes_nothing(kind: str, compiled: Compiled) -> None:
    alone, both = Guard(compiled(kind)), Guard(compiled(kind, True))
    for text in [*QUESTIONS, *NEIGHBOURS, *UNRELATED]:
        one, two = dict(alone.decide(text).scores), dict(both.decide(text).scores)
        if "brennick" in two:
            assert two["brennick"].value == pytest.approx(one["brennick"].value, abs=1e-5)
            assert two["brennick"].threshold == one["brennick"].threshold
        else:
            assert "brennick" not in one or not one["brennick"].flags


@pytest.mark.parametrize("kind", KINDS)
def test_the_evidence_is_in_the_text(kind: str, compiled: Compiled) -> None:
    guard = Guard(compiled(kind))
    text = " ".join([*UNRELATED, QUESTIONS[6], *UNRELATED])
    (finding,) = guard.decide(text).findings
    assert finding.score.span is not None
    start, end = finding.score.span
    assert 0 <= start < end <= len(text)
    assert "Brennick" in text[start:end]


@pytest.mark.parametrize("kind", KINDS)
def test_padding_hides_nothing(kind: str, compiled: Compiled) -> None:
    guard = Guard(compiled(kind))
    for count in (1, 30, 300):
        padding = " ".join(["It rained a little on the way to town."] * count)
        assert flagged(guard, f"{padding} {QUESTIONS[6]} {padding}") == {"brennick"}


@pytest.mark.parametrize("kind", KINDS)
def test_every_role_is_read(kind: str, compiled: Compiled) -> None:
    guard = Guard(compiled(kind))
    for role in ("system", "user", "assistant", "tool", "critic"):
        view = View.of_pieces([("user", "Hello."), (role, QUESTIONS[6]), ("user", "And now?")])
        assert [finding.target for finding in guard.decide(view).findings] == ["brennick"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_text_has_the_same_score(kind: str, compiled: Compiled) -> None:
    one, two = Guard(compiled(kind)), Guard(compiled(kind))
    for text in [*QUESTIONS[:5], *UNRELATED]:
        first = one.decide(text)
        assert one.decide(text) == first
        second = two.decide(text)
        assert [f.target for f in second.findings] == [f.target for f in first.findings]
        for (_, a), (_, b) in zip(first.scores, second.scores, strict=True):
            assert a.value == pytest.approx(b.value, abs=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_threads_decide_alike(kind: str, compiled: Compiled) -> None:
    guard = Guard(compiled(kind, True))
    texts = [*QUESTIONS[:8], *UNRELATED, *NEIGHBOURS[:8]]
    expected = {text: flagged(Guard(compiled(kind, True)), text) for text in texts}
    wrong: list[str] = []

    def work(number: int) -> None:
        for text in texts[number:] + texts[:number]:
            try:
                if flagged(guard, text) != expected[text]:
                    wrong.append(text)
            except Exception as error:  # a thread's error would be lost
                wrong.append(repr(error))

    threads = [threading.Thread(target=work, args=(4 * n,)) for n in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert wrong == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_target_that_is_off_is_not_looked_for(
    kind: str, tmp_path: Path, compiled: Compiled
) -> None:
    policy = write_policy(tmp_path)
    policy.write_text(POLICY.format(kind=kind) + "    mode: off\n" + OTHER)
    guard = Guard(compile_policy(policy, tmp_path / "bundle"))
    decision = guard.decide(QUESTIONS[0])
    assert not decision.flagged
    assert "brennick" not in dict(decision.scores)


# Kinds from other distributions.

PLUGIN = """\
from guard.detectors.base import Detector, Fitted, Parts
from guard.decision import Score

class Shouting(Detector):
    kind = "shouting"
    cost = 5

    @classmethod
    def fit(cls, examples, options, encode):
        return Fitted(Parts(), [1.0], [0.0] * 9, [0.0] * 9)

    def score(self, view, targets):
        return {t: Score(float(view.text.isupper()), 0.5, "shouting") for t in targets}
"""


def test_a_kind_may_come_from_elsewhere_but_replaces_none(tmp_path: Path) -> None:
    info = tmp_path / "shouting-1.0.dist-info"
    info.mkdir()
    (tmp_path / "shouting.py").write_text(PLUGIN)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: shouting\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[guard.detectors]\nshouting = shouting:Shouting\nlexical = shouting:Shouting\n"
    )
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from guard.detectors import DETECTORS\n"
        "print(DETECTORS.get('shouting').__name__, DETECTORS.get('lexical').__name__)\n"
        "print(DETECTORS.kinds())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    names, kinds = done.stdout.splitlines()
    assert names == "Shouting Lexical"
    assert "shouting" in kinds and kinds.count("lexical") == 1


def test_an_unknown_kind_suggests_the_nearest() -> None:
    with pytest.raises(GuardError, match=r"unknown detector 'lexcal'.*did you mean 'lexical'"):
        DETECTORS.get("lexcal")
    with pytest.raises(GuardError, match=r"known: .*cascade, .*lexical"):
        DETECTORS.get("zzz")
