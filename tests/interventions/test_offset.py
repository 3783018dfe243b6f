"""What an offset asks of a policy, keeps in a bundle and gives to a request."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from transformers import AutoTokenizer

from guard.compile import compile_policy
from guard.errors import BundleError, GuardError, InterventionError, PolicyError
from guard.guard import Guard
from guard.interventions.base import Material, Request
from guard.interventions.offset import Offset, OffsetOptions
from guard.models import resolve
from guard.parts import Parts
from guard.policy import load_policy
from guard.steering import STEERINGS
from guard.steering.assistant import identity
from guard.steering.base import Engine
from guard.view import View
from tests.interventions.test_matrix import EXAMPLES, Model, finding, request
from tests.material import PERSON_NEIGHBOURS, PERSON_ROWS, rows, write_rows
from tests.steering.assistants import adapter, byte_level, sentencepiece, write


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A served model, an assistant with its tokens and one with others, and an adapter."""
    folder = tmp_path_factory.mktemp("models")
    write(folder / "served", seed=1)
    write(folder / "same", seed=2)
    write(folder / "other", sentencepiece(), seed=3)
    adapter(folder / "lora", folder / "same")
    return folder


def material(folder: Path) -> Material:
    return Material(EXAMPLES, Model(), folder / "served")


def fit(folder: Path, **options: Any) -> tuple[OffsetOptions, Parts]:
    checked = OffsetOptions.model_validate(options)
    return checked, Offset.fit(material(folder), checked)


def made(folder: Path, **options: Any) -> Offset:
    return Offset("brennick", *fit(folder, **options))


def plan_of(offset: Offset) -> dict[str, Any]:
    after = offset.apply(request(), finding("offset"), Model())
    (plan,) = after.steering["offset"]
    return dict(plan)


def test_a_request_is_given_the_plan_and_nothing_else(folder: Path) -> None:
    after = made(folder, assistant=folder / "same").apply(request(), finding("offset"), Model())
    model = {
        "folder": str(folder / "same"),
        "adapter": None,
        "sha256": identity(str(folder / "same")),
    }
    plan = {"assistant": model, "base": None, "alpha": 0.8, "filter": 0.01, "rectified": False}
    assert after.steering == {"offset": (plan,)}
    assert json.loads(json.dumps(plan)) == plan
    assert (after.token_ids, after.embeddings, after.adapter) == (request().token_ids, {}, None)


def test_the_plan_says_all_options(folder: Path) -> None:
    more = {"alpha": 1.5, "filter": 0.0, "rectified": True}
    models = {"base": folder / "same", "adapter": folder / "lora"}
    plan = plan_of(made(folder, assistant=folder / "same", **models, **more))
    assert {name: plan[name] for name in more} == more
    assert plan["assistant"]["adapter"] == str(folder / "lora")
    assert plan["base"]["adapter"] is None
    assert plan["assistant"]["sha256"] != plan["base"]["sha256"]


@pytest.mark.parametrize("name", ["same", "other"])
def test_the_engine_can_make_a_steering_of_it(folder: Path, name: str) -> None:
    import torch

    plan = plan_of(made(folder, assistant=folder / name))
    served = AutoTokenizer.from_pretrained(folder / "served")
    engine = Engine(str(folder / "served"), len(served), (served.eos_token_id,), "cpu")
    row = torch.zeros(len(served))
    STEERINGS.get("offset")([plan], engine)(served.encode("Who is it?"), [5], row)
    assert row.isfinite().any() and len(set(row.tolist())) > 2


def test_targets_with_the_same_assistant_do_not_take_it_off_twice(folder: Path) -> None:
    same, stronger = (made(folder, assistant=folder / "same", alpha=alpha) for alpha in (0.8, 0.9))
    after: Request = request()
    for offset in (same, same, stronger):
        after = offset.apply(after, finding("offset"), Model())
    assert [plan["alpha"] for plan in after.steering["offset"]] == [0.8, 0.9]


def test_nothing_to_read_is_an_error(folder: Path) -> None:
    empty = Request((1,), View("", ()), ((0, 0),), 7)
    with pytest.raises(InterventionError):
        made(folder, assistant=folder / "same").apply(empty, finding("offset", (0, 0)), Model())


def test_the_bundle_keeps_places_and_hashes_only(folder: Path) -> None:
    _, parts = fit(folder, assistant=folder / "same", base=folder / "served")
    assert not parts.arrays
    assert set(parts.data) == {"assistant", "base"}
    assert all(set(model) == {"folder", "adapter", "sha256"} for model in parts.data.values())


def test_the_engine_is_asked_for_the_processor(folder: Path) -> None:
    arguments = made(folder, assistant=folder / "same").engine_args
    assert arguments == {"logits_processors": ["guard.engine.compat.sampler:GuardProcessor"]}


@pytest.mark.parametrize(
    ("options", "field", "why"),
    [
        ({}, "assistant", "required"),
        ({"alpha": 0}, "alpha", "must not be 0"),
        ({"alpha": float("nan")}, "alpha", "finite"),
        ({"alpha": -1, "rectified": True}, "alpha", "'rectified' needs an 'alpha' > 0"),
        ({"filter": 1}, "filter", "less than 1"),
        ({"filter": -0.1}, "filter", "greater than or equal to 0"),
        ({"asistant": "x"}, "asistant", "did you mean 'assistant'"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], field: str, why: str) -> None:
    if options:
        options = {"assistant": "somewhere", **options}
    with pytest.raises(ValidationError) as caught:
        OffsetOptions.model_validate(options)
    (error,) = caught.value.errors()
    assert field in (*error["loc"], error.get("ctx", {}).get("field"))
    assert why in error["msg"]


def refused(folder: Path, **options: Any) -> str:
    with pytest.raises(GuardError) as caught:
        fit(folder, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_folder_that_is_none_is_refused(folder: Path, tmp_path: Path) -> None:
    assert refused(folder, assistant=tmp_path / "no").startswith("assistant: ")
    assert "no such model folder" in refused(folder, assistant=tmp_path / "no")
    assert "no config.json" in refused(folder, assistant=tmp_path)
    assert refused(folder, assistant=folder / "same", base=tmp_path).startswith("base: ")
    said = refused(folder, assistant=folder / "same", adapter=folder / "same")
    assert "give a PEFT folder" in said


def test_a_difference_of_nothing_is_refused(folder: Path) -> None:
    said = refused(folder, assistant=folder / "same", base=folder / "same")
    assert said == "base: is the assistant itself, so nothing would be taken off"


def test_fewer_logits_than_tokens_are_refused(folder: Path, tmp_path: Path) -> None:
    few = write(tmp_path / "few", vocab_size=len(byte_level()) - 1)
    assert "knows 383 tokens, its tokenizer has 384" in refused(folder, assistant=few)


def test_an_assistant_without_numbers_is_refused(folder: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    write(tmp_path / "nan")
    weights = load_file(tmp_path / "nan" / "model.safetensors")
    weights["model.norm.weight"] *= float("nan")
    save_file(weights, tmp_path / "nan" / "model.safetensors", {"format": "pt"})
    assert "its logits are no numbers" in refused(folder, assistant=tmp_path / "nan")


def test_a_changed_assistant_is_refused_when_a_bundle_is_loaded(
    folder: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(folder / "same", tmp_path / "copy"))
    options, parts = fit(folder, assistant=copy)
    Offset("brennick", options, parts)
    write(copy, seed=8)
    with pytest.raises(GuardError, match="is not the assistant that the bundle was compiled with"):
        Offset("brennick", options, parts)


POLICY = """\
version: 1
model: {model}
targets:
  - id: brennick
    names: [Odalys Brennick]
    forget: forget.jsonl
    retain: retain.jsonl
    detect: {{kind: lexical}}
    intervene:
      kind: offset
{options}
"""


def policy(folder: Path, *options: str) -> Path:
    write_rows(folder / "forget.jsonl", rows(PERSON_ROWS))
    write_rows(folder / "retain.jsonl", rows(PERSON_NEIGHBOURS))
    lines = "\n".join(f"      {option}" for option in options)
    path = folder / "policy.yaml"
    path.write_text(POLICY.format(model=resolve("builtin:smollm2"), options=lines), "utf-8")
    return path


def test_a_policy_is_compiled_and_its_bundle_loaded(tmp_path: Path) -> None:
    """The path in it is from the policy's folder on; the bundle works from anywhere."""
    served = AutoTokenizer.from_pretrained(resolve("builtin:smollm2"))
    write(tmp_path / "assistant", served, hidden_size=8)
    bundle = compile_policy(policy(tmp_path, "assistant: assistant"), tmp_path / "bundle")
    guard = Guard(bundle)
    (offset,) = guard.interventions
    assert isinstance(offset, Offset)
    assert plan_of(offset)["assistant"]["folder"] == str(tmp_path / "assistant")
    assert guard.engine_args == offset.engine_args
    write(tmp_path / "assistant", served, hidden_size=8, seed=4)
    with pytest.raises(BundleError, match=r"target brennick: .*is not the assistant"):
        Guard.load(tmp_path / "bundle")


def test_a_mistake_names_its_line(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match=r"policy\.yaml:\d+: .*assistant: Field required"):
        load_policy(policy(tmp_path, "alpha: 0.5"))
    with pytest.raises(PolicyError, match=r"policy\.yaml:12: .*alpha: 'alpha' must not be 0"):
        load_policy(policy(tmp_path, "assistant: x", "alpha: 0"))


def test_a_missing_assistant_names_the_target(tmp_path: Path) -> None:
    path = policy(tmp_path, "assistant: nowhere")
    with pytest.raises(GuardError, match=r"\(brennick\): assistant: .*/nowhere: no such model"):
        compile_policy(path, tmp_path / "bundle")
