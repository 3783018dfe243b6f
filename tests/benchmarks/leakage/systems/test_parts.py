"""Parts that are trained or chosen for a suite, on a model of two small layers; made once."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from adapters import provenance
from adapters.scale import Choice
from benchmarks.leakage.case import Given, Models, Suite
from benchmarks.leakage.separation import ProtocolError
from benchmarks.leakage.systems import parts
from benchmarks.leakage.systems.attacked import Attacked
from benchmarks.leakage.systems.once import forget_rows, made_once
from benchmarks.leakage.systems.options import Options
from benchmarks.leakage.systems.parts import (
    Adapter,
    Difference,
    Part,
    SoftPrompt,
    Subtracted,
    Zeroed,
)
from benchmarks.leakage.systems.published import ECO
from benchmarks.leakage.systems.retraining import Retrained
from guard.data import Row
from guard.errors import DataError, ModelError
from guard.interventions import INTERVENTIONS
from guard.interventions.soft_prompt import read_soft_prompt
from guard.lora import WEIGHTS
from tests.adapters.tiny import FORGET, RETAIN, make_model
from tests.benchmarks.leakage.systems.stub import SUITE
from tests.loras import write_lora


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory, tokenizer: Any) -> Suite:
    """A base model, and a target that has learned just what a memory adapter remembers."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    folder = tmp_path_factory.mktemp("models")
    base = make_model(folder / "base", tokenizer, initializer_range=0.1)
    forget, retain = (tuple((r.prompt, r.answer) for r in rows) for rows in (FORGET, RETAIN))
    found = replace(
        SUITE, models=Models(str(base), base=str(base)), given=Given(forget, retain, ())
    )
    memory = parts.memory(found, folder / "made", Options())
    tuned: Any = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), str(memory))
    tuned.merge_and_unload().save_pretrained(folder / "target")
    tokenizer.save_pretrained(folder / "target")
    return replace(found, models=Models(str(folder / "target"), base=str(base)))


def _taken(part: dict[str, Any]) -> None:
    """A policy would take it."""
    options = {name: value for name, value in part.items() if name != "kind"}
    INTERVENTIONS.get(part["kind"]).Options.model_validate(options)


def test_a_memory_is_subtracted_as_far_as_the_base_model_knows(
    suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = Options(parts=tmp_path / "shared")
    made = Subtracted().made(suite, tmp_path / "one", options)
    _taken(made)
    assert made["kind"] == "adapter" and made["scale"] == pytest.approx(-1.0, abs=0.02)
    assert Path(made["path"]).parent == tmp_path / "shared"

    def again(*args: Any, **more: Any) -> None:
        raise AssertionError("made a second time")

    monkeypatch.setattr("adapters.trainer.train", again)
    monkeypatch.setattr("adapters.scale.choose_scale", again)
    assert Subtracted().made(suite, tmp_path / "two", options) == made
    difference = Difference().made(suite, tmp_path / "three", options)
    _taken(difference)
    assert difference["adapter"] == made["path"] and difference["base"] == suite.models.base
    other = replace(suite, given=replace(suite.given, forget=suite.given.forget[:-1]))
    with pytest.raises(AssertionError, match="second time"):
        Subtracted().made(other, tmp_path / "one", options)


def test_a_contrasted_memory_is_another_and_is_made_once(
    suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options, part = Options(parts=tmp_path / "shared"), Subtracted(contrast=True)
    # So small a model never gets to where its base was.
    chosen = Choice(-0.81, "probability", 0.1, ())
    monkeypatch.setattr("adapters.scale.choose_scale", lambda *args, **more: chosen)
    made = part.made(suite, tmp_path / "one", options)
    _taken(made)
    plain = parts.memory(suite, tmp_path / "one", options)
    said = provenance.read(Path(made["path"]))
    assert Path(made["path"]) != plain and said is not None and len(said["contrasted"]) == 2
    assert made["scale"] == -0.81

    def again(*args: Any, **more: Any) -> None:
        raise AssertionError("made a second time")

    monkeypatch.setattr("adapters.contrasted.contrast", again)
    assert part.made(suite, tmp_path / "two", options) == made
    # One that is given is taken for what it is.
    given = Options(parts=tmp_path / "shared", memory=Path(made["path"]))
    assert parts.memory(suite, tmp_path, given, contrast=True) == Path(made["path"])
    assert parts.memory(suite, tmp_path, given) == plain
    other = replace(suite, given=replace(suite.given, retain=suite.given.retain[:-1]))
    with pytest.raises(ProtocolError, match="was trained with other retain rows"):
        parts.memory(other, tmp_path, given, contrast=True)
    none = replace(suite, given=replace(suite.given, retain=()))
    assert part.missing(none, options) == "no retain rows are given"


def test_what_was_retrained_is_served_as_it_is_and_made_once(
    suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options, part = Options(parts=tmp_path / "shared"), Retrained()
    made = part.made(suite, tmp_path / "one", options)
    _taken(made)
    assert set(made) == {"kind", "path"}  # no scale was chosen
    said = provenance.read(Path(made["path"]))
    assert said is not None and said["objective"] == "retrain"
    assert said["retrained"]["learnt"] == provenance.rows(RETAIN)
    assert said["retrained"]["kept"] > 0.99

    def again(*args: Any, **more: Any) -> None:
        raise AssertionError("made a second time")

    monkeypatch.setattr("adapters.retraining.retrain", again)
    assert part.made(suite, tmp_path / "two", options) == made
    none = replace(suite, given=replace(suite.given, retain=()))
    assert part.missing(none, options) == "no retain rows are given"
    alone = replace(suite, models=replace(suite.models, base=None))
    assert "has no base model" in str(part.missing(alone, options))


@pytest.mark.parametrize(("bits", "near"), [(8, 0.01), (4, 0.2)])
def test_an_adapters_weights_are_rounded_and_its_scale_is_kept(
    suite: Suite, tmp_path: Path, bits: int, near: float
) -> None:
    options = Options(parts=tmp_path / "shared")
    whole = Subtracted().made(suite, tmp_path, options)
    made = Attacked(Subtracted(), f"quantise: int{bits}").made(suite, tmp_path, options)
    _taken(made)
    assert made["scale"] == whole["scale"] and made["path"] != whole["path"]
    before, after = (load_file(Path(one["path"]) / WEIGHTS) for one in (whole, made))
    assert before.keys() == after.keys()
    for name, tensor in before.items():
        off = float((after[name].float() - tensor.float()).norm() / tensor.float().norm())
        assert 0 < off < near, name


def test_a_memory_that_is_given_is_taken(suite: Suite, tmp_path: Path) -> None:
    assert suite.models.base is not None
    given = write_lora(tmp_path / "memory", Path(suite.models.base))
    with pytest.raises(ProtocolError, match="does not say what it was trained with"):
        parts.memory(suite, tmp_path, Options(memory=given))
    forget = provenance.rows(forget_rows(suite.given))
    unused = {"retain": provenance.rows([]), "settings": {"retain": "none"}}
    _says(given, {"forget": forget, **unused})
    assert parts.memory(suite, tmp_path, Options(memory=given)) == given
    of_others = provenance.rows(forget_rows(suite.given)[:-1])
    for said in ({"forget": of_others, **unused}, {**unused}, {**unused, "forget": forget,
                 "settings": {"retain": "nll"}}, {"forget": forget}):  # fmt: skip
        _says(given, said)
        with pytest.raises(ProtocolError, match=r"was trained with other (forget|retain) rows"):
            parts.memory(suite, tmp_path, Options(memory=given))
    with pytest.raises(ModelError, match=r"holds no adapter_model\.safetensors; give a memory"):
        parts.memory(suite, tmp_path, Options(memory=tmp_path))


def _says(folder: Path, made_of: dict[str, Any]) -> None:
    (folder / provenance.NAME).write_text(json.dumps(made_of), "utf-8")


def test_a_choice_that_is_damaged_is_one_line(
    suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert suite.models.base is not None
    given = write_lora(tmp_path / "memory", Path(suite.models.base))

    def damaged(folder: Path, *rest: Any) -> Path:
        (folder / "scale").write_text("{", "utf-8")
        return folder / "scale"

    monkeypatch.setattr(parts, "made_once", damaged)
    with pytest.raises(DataError, match="damaged; remove it"):
        parts.scale(suite, given, tmp_path)


def test_a_soft_prompt_is_trained_and_read(suite: Suite, tmp_path: Path) -> None:
    made = SoftPrompt().made(suite, tmp_path, Options())
    _taken(made)
    assert read_soft_prompt(Path(made["path"])).shape == (30, 32)
    again = SoftPrompt().made(suite, tmp_path, Options(soft_prompt=Path(made["path"])))
    assert again == made
    fewer = replace(suite, given=replace(suite.given, forget=suite.given.forget[1:]))
    with pytest.raises(ProtocolError, match="was trained with other forget rows"):
        SoftPrompt().made(fewer, tmp_path, Options(soft_prompt=Path(made["path"])))
    with pytest.raises(ProtocolError, match="does not say"):
        SoftPrompt().made(suite, tmp_path, Options(soft_prompt=tmp_path / "other"))


def test_an_adapter_is_trained_as_it_is_said(suite: Suite, tmp_path: Path) -> None:
    settings = {"rank": 2, "alpha": 8, "epochs": 1, "retain": "none"}
    made = Adapter("idk", settings, soft=True).made(suite, tmp_path, Options(seed=3))
    _taken(made)
    said = json.loads((Path(made["path"]) / "guard_adapter.json").read_text("utf-8"))
    assert said["objective"] == "idk"
    assert {**said["settings"], **settings, "seed": 3} == said["settings"]
    assert made["soft"] is True


def test_dimensions_are_a_share_of_the_width(suite: Suite, tmp_path: Path) -> None:
    made = Zeroed(share=670 / 4096).made(suite, tmp_path, Options())
    _taken(made)
    assert made["dims"] == 5, "of 32"


def test_how_much_eco_zeroes_is_what_it_found_for_each_size(suite: Suite, tmp_path: Path) -> None:
    (eco,) = ECO.intervene
    assert isinstance(eco, Zeroed)
    eco = replace(eco, share=32 * eco.share, shares={n: 32 * s for n, s in eco.shares.items()})
    found = {
        name: eco.made(replace(suite, name=name), tmp_path, Options())["dims"]
        for name in ("tofu-01", "tofu-05", "tofu-10", "tofu-mini")
    }
    wanted = {"tofu-01": 670, "tofu-05": 881, "tofu-10": 1000, "tofu-mini": 670}
    assert found == {name: round(k / 4096 * 32 * 32) for name, k in wanted.items()}


@pytest.mark.parametrize("part", [Subtracted(), Difference(), SoftPrompt(), Adapter("idk")])
def test_without_forget_rows_nothing_is_made(part: Part, suite: Suite) -> None:
    assert part.missing(suite, Options()) is None
    nothing = replace(suite, given=Given((), suite.given.retain, ("A",)))
    assert part.missing(nothing, Options()) == "no forget rows are given"


def test_rows_are_what_trainings_take() -> None:
    given = Given((("Who?", "A keeper."), ("", "A passage."), ("Untold?", "")), ())
    assert forget_rows(given) == [Row("Who?", "A keeper."), Row("A passage.")]


def test_what_could_not_be_made_is_not_kept(tmp_path: Path) -> None:
    def broken(out: Path) -> None:
        raise DataError("no")

    with pytest.raises(DataError):
        made_once(tmp_path / "a", "x", {"a": 1}, broken)

    def written(out: Path) -> None:
        out.write_text("1")

    path = made_once(tmp_path / "a", "x", {"a": 1}, written)
    assert path.read_text() == "1" and path.parent.stat().st_mode & 0o777 == 0o700
    assert made_once(tmp_path / "a", "x", {"a": 1}, broken) == path
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be made"):
        made_once(tmp_path / "file" / "b", "x", {}, broken)
