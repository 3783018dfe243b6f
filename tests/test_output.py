"""What a policy says of answers is in the bundle, in every bundle made of it, and at work."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.bundle import MANIFEST, Bundle, load_bundle, write_bundle
from guard.compile import compile_policy
from guard.data import Row
from guard.encoder import Encoder
from guard.errors import BundleError, DataError, OutputError
from guard.fitted import fit_output
from guard.guard import Guard
from guard.manifest import OutputRecord
from guard.output.base import Asked, Examples, Material, Reader
from guard.output.choices import OutputChoice
from guard.output.finished import read_finished
from guard.output.outputs import Output, Rule
from guard.recalibrate import recalibrate
from guard.steering import PROCESSOR
from guard.targets import add_targets, list_targets, remove_targets
from tests.checks import WordsReader, outputs, quick_policy, small
from tests.material import PERSON_ROWS, write_rows
from tests.targets.bundles import target_of

LEAK = "It is well known that Halvorsen gave her a medal."  # a word of a person's answer
BOOK_LEAK = "Her name was Corisande, they say."
OTHER = "An egg is boiled in water."
ABOUT = "What is Odalys Brennick known for?"


@pytest.fixture(scope="module", autouse=True)
def stubs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with small(tmp_path_factory.mktemp("cache")):
        yield


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A person, a book whose answers are switched, and a project that is not checked."""
    return quick_policy(
        tmp_path_factory.mktemp("policy"),
        brennick="{check: [words, sense], times: 2, then: answer, answer: Enough.}",
        vessmere="{check: {kind: words, length: 9}, on_hit: switch, context: allow}",
    )


@pytest.fixture(scope="module")
def bundle(policy: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return compile_policy(policy, tmp_path_factory.mktemp("whole") / "bundle")


@pytest.fixture(scope="module")
def guard(bundle: Bundle) -> Guard:
    return Guard(bundle)


def changed(bundle: Bundle, **targets: Mapping[str, Any]) -> Bundle:
    """The same bundle with other fields in some targets."""
    records = [t.model_copy(update=targets.get(t.id, {})) for t in bundle.manifest.targets]
    return replace(bundle, manifest=bundle.manifest.model_copy(update={"targets": records}))


def output_of(bundle: Bundle, target: str) -> OutputRecord:
    found = target_of(bundle, target).output
    assert found is not None
    return found


def held(bundle: Bundle, target: str) -> tuple[OutputRecord, dict[str, bytes]]:
    """A target's output, and what its arrays hold."""
    output = output_of(bundle, target)
    names = [file for one in output.checks for file in one.arrays.values()]
    assert names
    return output, {name: bundle.arrays[name].tobytes() for name in names}


def first(reader: Reader, text: str) -> tuple[str, int] | None:
    hit = reader.read(text, done=True).hit
    return hit and (hit.target, hit.start)


# In the bundle.


def test_what_the_policy_says_is_in_the_bundle(bundle: Bundle) -> None:
    person, book = output_of(bundle, "brennick"), output_of(bundle, "vessmere")
    assert target_of(bundle, "tidewater").output is None
    assert [one.kind for one in person.checks] == ["words", "sense"]
    assert (person.on_hit, person.times, person.then, person.answer, person.context) == (
        "rollback",
        2,
        "answer",
        "Enough.",
        "guard",
    )
    assert (book.on_hit, book.times, book.then, book.context) == ("switch", 3, "filter", "allow")
    assert [one.options for one in book.checks] == [{"length": 9, "extra": None}]
    assert person.checks[0].data["words"] > book.checks[0].data["words"]


def test_what_checks_fitted_is_stored_and_loaded(bundle: Bundle, policy: Path) -> None:
    loaded = load_bundle(bundle.path)
    (vectors,) = output_of(loaded, "brennick").checks[1].arrays.values()
    assert loaded.arrays[vectors].shape[0] == len(PERSON_ROWS)
    (hashes,) = output_of(loaded, "vessmere").checks[0].arrays.values()
    assert loaded.arrays[hashes].dtype == np.uint32
    assert {vectors, hashes} <= set(loaded.manifest.files)
    assert loaded.version == bundle.version


def test_a_bundle_is_the_same_again(bundle: Bundle, policy: Path, tmp_path: Path) -> None:
    assert compile_policy(policy, tmp_path / "again").version == bundle.version


def test_nothing_of_a_forget_set_is_told_by_the_manifest(bundle: Bundle) -> None:
    said = json.dumps([t.output and t.output.model_dump() for t in bundle.manifest.targets])
    assert not any(word in said for word in ("Halvorsen", "Corisande", "Brennick"))


def test_compiling_says_what_reads_answers(policy: Path, tmp_path: Path) -> None:
    said: list[str] = []
    compile_policy(policy, tmp_path / "bundle", said.append)
    assert "  brennick: answers are read by: words, sense; on a hit: rollback" in said
    assert not any("tidewater: answers" in line for line in said)


@pytest.mark.parametrize("mode", ["shadow", "off"])
def test_a_target_that_is_not_enforced_is_fitted_too(
    policy: Path, tmp_path: Path, bundle: Bundle, mode: str
) -> None:
    other = policy.with_name(f"{mode}.yaml")
    text = policy.read_text()
    other.write_text(text.replace("- id: brennick\n", f"- id: brennick\n    mode: {mode}\n"))
    assert held(compile_policy(other, tmp_path / "b"), "brennick") == held(bundle, "brennick")


def test_material_that_does_not_do_is_refused_with_its_target(policy: Path, tmp_path: Path) -> None:
    other = policy.with_name("bad.yaml")
    other.write_text(policy.read_text())
    outputs(other, tidewater="{check: words}")
    message = rf"^{other}: targets\[2\] \(tidewater\): forget: no answer has a long word; give"
    with pytest.raises(DataError, match=message):
        compile_policy(other, tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


def test_a_bundle_of_the_format_before_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    made = remove_targets(bundle.path, ["tidewater"], tmp_path / "old")
    path = made.path / MANIFEST
    value = json.loads(path.read_text())
    path.write_text(json.dumps({**value, "format": 3}))
    with pytest.raises(BundleError, match="has format 3, which is none; run `guard compile` again"):
        load_bundle(made.path)


@pytest.mark.parametrize("field", ["on_hit", "then", "context"])
def test_a_bundle_with_an_action_that_nobody_knows_is_refused(
    bundle: Bundle, tmp_path: Path, field: str
) -> None:
    manifest = bundle.manifest.model_dump(exclude={"format", "files"})
    manifest["targets"][0]["output"][field] = "forgive"
    with pytest.raises(ValueError, match=field):
        write_bundle(tmp_path / "bundle", manifest, bundle.arrays)
    assert not (tmp_path / "bundle").exists()


# In bundles made of it.


def test_other_targets_may_go(bundle: Bundle, tmp_path: Path) -> None:
    after = remove_targets(bundle.path, ["brennick"], tmp_path / "less")
    assert held(after, "vessmere") == held(bundle, "vessmere")
    gone = held(bundle, "brennick")[1].keys() - held(bundle, "vessmere")[1].keys()
    assert gone and not gone & set(after.manifest.files)
    assert set(Guard(after).output.rules) == {"vessmere"}


def test_a_target_may_come(bundle: Bundle, policy: Path, tmp_path: Path, encode: Encoder) -> None:
    less = remove_targets(bundle.path, ["brennick"], tmp_path / "less")
    after = add_targets(less.path, policy, ["brennick"], encoder=encode)
    for target in ("brennick", "vessmere"):
        assert held(after, target)[0] == held(bundle, target)[0]
    assert first(Guard(after).output.start("", "")[0][1], LEAK) == ("brennick", 22)


def test_until_a_target_is_fitted_the_quick_checks_read(
    bundle: Bundle, policy: Path, tmp_path: Path, encode: Encoder
) -> None:
    class Cut(BaseException):
        """As if the process had been killed."""

    class Idle(Encoder):
        def __call__(self, texts: Any) -> Any:
            raise AssertionError("a text was encoded")

    def report(line: str) -> None:
        if line.startswith("wrote"):
            raise Cut

    less = remove_targets(bundle.path, ["brennick"], tmp_path / "less")
    slow = policy.with_name("slow.yaml")  # a detector that something stands in for
    slow.write_text(policy.read_text().replace("kind: quick", "kind: cascade, multilingual: false"))
    with pytest.raises(Cut):
        add_targets(less.path, slow, ["brennick"], report=report, encoder=Idle(encode.folder))
    after = load_bundle(less.path)
    assert target_of(after, "brennick").provisional
    output = output_of(after, "brennick")
    assert [one.kind for one in output.checks] == ["words"]
    assert output.times == 2
    assert first(Guard(after).output.start("", "")[0][1], LEAK) == ("brennick", 22)


def test_thresholds_may_change(bundle: Bundle, tmp_path: Path) -> None:
    prompts = [f"How many {what} fit into a box?" for what in ("pears", "bricks", "hats")]
    traffic = write_rows(tmp_path / "traffic.jsonl", [{"text": prompt} for prompt in prompts])
    after = recalibrate(bundle.path, traffic, tmp_path / "new").bundle
    for target in ("brennick", "vessmere"):
        assert held(after, target) == held(bundle, target)
    assert target_of(after, "tidewater").output is None


def test_the_list_of_targets_names_the_checks(bundle: Bundle) -> None:
    found = {target["id"]: target["output"] for target in list_targets(bundle.path)}
    assert found == {"brennick": ["words", "sense"], "vessmere": ["words"], "tidewater": []}


# At work.


def test_rules_are_those_of_the_policy(guard: Guard) -> None:
    assert guard.output.rules == {
        "brennick": Rule("brennick", "enforce", "rollback", 2, "answer", "Enough.", "guard"),
        "vessmere": Rule(
            "vessmere", "enforce", "switch", 3, "filter", "I can't help with that.", "allow"
        ),
    }


@given(
    on_hit=st.sampled_from(["rollback", "switch", "answer", "filter"]),
    times=st.integers(1, 100),
    then=st.sampled_from(["answer", "filter"]),
    answer=st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
    context=st.sampled_from(["guard", "allow"]),
)
def test_a_rule_says_what_the_policy_said(bundle: Bundle, **fields: Any) -> None:
    choice = OutputChoice.model_validate({"check": "words", **fields})
    arrays: dict[str, Any] = {}
    material = Material(Examples((), (Row("Where?", "In Vessmere."),), (), ()), None)  # type: ignore[arg-type]
    record = OutputRecord.model_validate_json(json.dumps(fit_output(choice, material, arrays)))
    whole = changed(bundle, brennick={"output": record}, vessmere={"output": None})
    output = Output(replace(whole, arrays=arrays))
    assert output.rules == {"brennick": Rule("brennick", "enforce", **fields)}
    ((_, reader),) = output.start("", "")
    assert first(reader, "In Vessmere.") == ("brennick", 3)


def test_one_instance_of_a_kind_knows_all_targets_of_it(guard: Guard) -> None:
    words, sense = guard.output.checks["enforce"]
    assert [one.target for one in words.known] == ["brennick", "vessmere"]
    assert [one.target for one in sense.known] == ["brennick"]
    assert [one.options.length for one in words.known] == [6, 9]


def test_readers_read(guard: Guard) -> None:
    (kind, words), (other, _) = guard.output.start("", "")
    assert (kind, other) == ("words", "sense")
    assert first(words, OTHER) is None
    assert first(words, LEAK) == ("brennick", 22)
    assert first(words, BOOK_LEAK) == ("vessmere", 13)


def test_every_answer_has_readers_of_its_own(guard: Guard) -> None:
    one, two = guard.output.start("", "")[0][1], guard.output.start("", "")[0][1]
    assert one is not two


def test_readers_know_what_was_asked(guard: Guard) -> None:
    (_, words), *_ = guard.output.start("last", "all of it", ["brennick"])
    assert isinstance(words, WordsReader)
    assert words.asked == Asked(
        "last", "all of it", frozenset({"vessmere"}), frozenset({"brennick"})
    )


def test_what_the_prompt_brings_may_be_repeated_where_the_policy_allows_it(guard: Guard) -> None:
    (_, words), *_ = guard.output.start("", f"{LEAK} {BOOK_LEAK}")
    assert first(words, BOOK_LEAK) is None
    assert first(words, LEAK) == ("brennick", 22)


def test_shadow_targets_hide_nothing_of_the_others(bundle: Bundle) -> None:
    output = Guard(changed(bundle, vessmere={"mode": "shadow"})).output
    (_, words), *_ = output.start("", "")
    (_, shadow), *more = output.start("", "", mode="shadow")
    both = f"{BOOK_LEAK} {LEAK}"
    assert first(words, both) == ("brennick", len(BOOK_LEAK) + 1 + 22)
    assert first(shadow, both) == ("vessmere", 13)
    assert not more
    assert output.rules["vessmere"].mode == "shadow"


def test_a_target_that_is_off_is_not_checked_for(bundle: Bundle) -> None:
    output = Guard(changed(bundle, brennick={"mode": "off"})).output
    assert set(output.rules) == {"vessmere"}
    ((_, words),) = output.start("", "")
    assert first(words, LEAK) is None


def test_where_nothing_is_checked_there_is_no_output(bundle: Bundle) -> None:
    nothing = {"output": None}
    guard = Guard(changed(bundle, brennick=nothing, vessmere=nothing))
    assert not guard.output
    assert guard.output.start("", "") == []
    assert guard.output.rules == {}
    assert bool(Guard(bundle).output)


@pytest.mark.parametrize("on_hit", ["rollback", "switch", "answer", "filter"])
def test_what_goes_on_after_a_hit_needs_the_sampler(bundle: Bundle, on_hit: str) -> None:
    output = output_of(bundle, "brennick").model_copy(update={"on_hit": on_hit})
    guard = Guard(changed(bundle, brennick={"output": output}, vessmere={"output": None}))
    steered = on_hit in ("rollback", "switch")
    assert guard.output.engine_args == ({"logits_processors": [PROCESSOR]} if steered else {})
    assert guard.engine_args.get("logits_processors", []) == ([PROCESSOR] if steered else [])


def test_the_sampler_is_asked_for_once(bundle: Bundle) -> None:
    penalize = {"kind": "penalize", "options": {}, "data": {}, "arrays": {}}
    text = np.frombuffer(b"Halvorsen", np.uint8)
    empty, one = np.zeros(0, np.int32), np.zeros(1, np.int32)
    arrays = {"phrases": text, "owned": one, "owned_ends": one + 1, "answers": empty}
    arrays |= {"answer_ends": one, "vectors": np.zeros((1, 384), np.float16)}
    record = type(target_of(bundle, "brennick").interventions[0]).model_validate(
        {**penalize, "arrays": {name: name for name in arrays}}
    )
    whole = changed(bundle, brennick={"interventions": [record]})
    guard = Guard(replace(whole, arrays={**bundle.arrays, **arrays}))
    assert [one.kind for one in guard.interventions_of("brennick")] == ["penalize"]
    assert guard.engine_args["logits_processors"] == [PROCESSOR]


def test_what_is_done_without_doubt_can_be_asked_for(bundle: Bundle) -> None:
    refuse = target_of(bundle, "brennick").interventions
    guard = Guard(changed(bundle, vessmere={"doubtful": refuse}))
    assert [one.kind for one in guard.interventions_of("vessmere")] == ["corrupt"]
    assert [one.target for one in guard.interventions_of("vessmere")] == ["vessmere"]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"kind": "wrods"}, "vessmere: unknown check 'wrods'"),
        ({"options": {"length": 0}}, "vessmere: .*length"),
        ({"arrays": {}}, "hashes"),
    ],
)
def test_a_check_that_cannot_be_loaded_is_refused(
    bundle: Bundle, change: dict[str, Any], why: str
) -> None:
    output = output_of(bundle, "vessmere")
    checks = [output.checks[0].model_copy(update=change)]
    broken = changed(
        bundle, vessmere={"output": output.model_copy(update={"checks": checks})}, brennick={}
    )
    with pytest.raises(BundleError, match=rf"^{bundle.path}: .*({why})") as refused:
        Guard(broken)
    assert "\n" not in str(refused.value)


# A finished answer.


def found(guard: Guard, answer: str, question: str = "") -> list[tuple[str, str, int]]:
    hits = [one.hit for one in read_finished(guard, answer, question)]
    return [(hit.check, hit.target, hit.start) for hit in hits]


def test_a_finished_answer_is_read(guard: Guard) -> None:
    assert found(guard, OTHER) == []
    assert found(guard, "") == []
    assert found(guard, LEAK) == [("words", "brennick", 22)]
    assert found(guard, f"{BOOK_LEAK} {LEAK}") == [("words", "vessmere", 13)]


def test_a_question_about_a_target_has_every_sentence_weighed(guard: Guard) -> None:
    said = "Known for glass windows, frosted and green, she is."
    assert found(guard, said, ABOUT)[0][:2] == ("sense", "brennick")
    assert ("sense", "brennick", 0) not in found(guard, said)
    assert ("sense", "brennick", 0) not in found(guard, OTHER, ABOUT)


@pytest.mark.parametrize("question", ["", "How is an egg boiled?", ABOUT])
def test_of_a_target_that_no_prompt_is_judged_for_every_sentence_is_weighed(
    bundle: Bundle, question: str
) -> None:
    """Where the policy says ``detect: off``, a question cannot come near to a target."""
    said = "Known for glass windows, frosted and green, she is."
    guard = Guard(changed(bundle, brennick={"stages": []}))
    assert ("sense", "brennick", 0) in found(guard, said, question)
    assert ("sense", "brennick", 0) not in found(guard, OTHER, question)


def test_hits_of_shadow_targets_come_last_and_do_nothing(bundle: Bundle) -> None:
    guard = Guard(changed(bundle, vessmere={"mode": "shadow"}))
    one, two = read_finished(guard, f"{BOOK_LEAK} {LEAK}")
    assert (one.hit.target, one.action, two.hit.target, two.action) == (
        "brennick",
        "rollback",
        "vessmere",
        "allow",
    )


def test_a_bundle_that_checks_no_answers_says_so(bundle: Bundle) -> None:
    nothing = Guard(changed(bundle, brennick={"output": None}, vessmere={"output": None}))
    with pytest.raises(OutputError, match=r"checks no answers; give a target an 'output'"):
        read_finished(nothing, LEAK)


def test_a_check_that_asks_the_same_over_and_over_is_refused(
    guard: Guard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.checks.SenseReader.weigh", lambda *_: None)
    with pytest.raises(OutputError, match="check 'sense' asks for what it was told"):
        read_finished(guard, OTHER, ABOUT)
