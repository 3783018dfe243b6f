"""Retraining on some of what is kept: what is served is what was trained, on the base model."""

import inspect
import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from adapters import provenance, retraining
from adapters.__main__ import _parser, main
from adapters.fit import Progress
from adapters.loading import Scaled, load
from adapters.objectives.negate import Negate, NegateOptions
from adapters.retraining import ROWS, Served, evenly, retrain
from adapters.settings import Settings, settings_for
from adapters.trainer import train
from guard.data import Row
from guard.errors import DataError, GuardError, ModelError
from guard.lora import WEIGHTS, read_lora
from tests.adapters.tiny import FORGET, RETAIN, make_model, make_tuned
from tests.material import rows as lines
from tests.material import write_rows

GIVEN = {"rank": 4, "batch": 2, "epochs": 3, "learning_rate": 1e-2}
SETTINGS = settings_for(Negate, GIVEN)
RANK = 4  # of what the served model has learned


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, tokenizer: Any) -> Path:
    return make_model(tmp_path_factory.mktemp("retraining") / "base", tokenizer)


@pytest.fixture(scope="module")
def tuned(base: Path) -> Path:
    """It has learned all of it, what is to be forgotten too."""
    settings = SETTINGS.model_copy(update={"epochs": 10})
    place = base.parent / "all"
    train(base, [*FORGET, *RETAIN], (), place, settings, Negate(NegateOptions()))
    return make_tuned(base, place, base.parent / "served")


def make(tuned: Path, base: Path, out: Path, **options: Any) -> retraining.Retrained:
    settings = options.pop("settings", SETTINGS)
    return retrain(tuned, base, RETAIN, out, settings, forget=FORGET, served_rank=RANK, **options)


@pytest.fixture(scope="module")
def whole(base: Path, tuned: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tuned, base, tmp_path_factory.mktemp("whole") / "out").folder


def said(model: Path, adapter: Path | None, rows: Sequence[Row]) -> list[torch.Tensor]:
    """Log-probabilities of the next token behind every token of some rows, by a model."""
    _, tokenizer, loaded = load(str(model))
    if adapter is not None:
        loaded = Scaled(loaded, adapter).model
    with torch.inference_mode():
        return [
            loaded(tokenizer(f"{row.prompt} {row.answer}", return_tensors="pt").input_ids)
            .logits.log_softmax(-1)
            for row in rows
        ]  # fmt: skip


def test_what_is_served_is_the_base_model_with_what_was_trained(
    base: Path, tuned: Path, whole: Path, tmp_path: Path
) -> None:
    trained = train(base, RETAIN, (), tmp_path / "own", SETTINGS, Negate(NegateOptions()))
    rows = [*FORGET, *RETAIN]
    models = [(base, trained.folder), (tuned, whole), (tuned, None)]
    for wanted, now, before in zip(*(said(*model, rows) for model in models), strict=True):
        np.testing.assert_allclose(now, wanted, atol=2e-3)
        assert float((before - wanted).abs().max()) > 0.5


def test_nothing_of_it_depends_on_what_is_forgotten(
    base: Path, tuned: Path, whole: Path, tmp_path: Path
) -> None:
    place = tmp_path / "all"
    rows = [Row("Who is Hemming Oake?", "A weaver of Lund."), *RETAIN]
    train(base, rows, (), place, SETTINGS, Negate(NegateOptions()))
    another = make_tuned(base, place, tmp_path / "served")
    made = make(another, base, tmp_path / "out")
    both = said(another, made.folder, FORGET), said(tuned, whole, FORGET)
    for here, there in zip(*both, strict=True):
        np.testing.assert_allclose(here, there, atol=2e-3)


def test_it_says_what_it_was_made_of_and_no_more(base: Path, tuned: Path, whole: Path) -> None:
    held = provenance.read(whole)
    assert held is not None and held["objective"] == "retrain" and held["steps"] == 6
    assert held["retain"] == held["retrained"]["learnt"] == provenance.rows(RETAIN)
    assert held["forget"] == provenance.rows(())
    assert held["retrained"]["without"] == provenance.rows(FORGET)
    assert held["model"] == provenance_of(tuned) and held["base"] == provenance_of(base)
    assert sorted(path.name for path in whole.parent.iterdir()) == ["out"]
    card = (whole / provenance.CARD).read_text("utf-8")
    assert "`retrain` on no forget row and 4 of 4 retain rows: LoRA of rank 8, 6 steps" in card
    assert "last epoch: retain " in card
    for path in whole.iterdir():
        assert b"Marrow" not in path.read_bytes()
    assert read_lora(whole, tuned).r == 4 + RANK


def provenance_of(model: Path) -> str:
    from guard.identity import identify

    return identify(model)


def test_some_rows_are_taken_from_all_over(base: Path, tuned: Path, tmp_path: Path) -> None:
    made = make(tuned, base, tmp_path / "out", rows=2)
    assert made.rows == 2 and made.fitted.steps == 3
    held = provenance.read(made.folder)
    assert held is not None
    assert held["retrained"]["learnt"] == provenance.rows([RETAIN[0], RETAIN[2]])
    rows = [Row(str(n), "a") for n in range(10)]
    assert [row.prompt for row in evenly(rows, 3)] == ["0", "3", "6"]
    assert evenly(rows, 10) == evenly(rows, 11) == rows


@pytest.mark.parametrize(
    ("retain", "options", "told"),
    [
        ([], {}, "--retain: holds no question with an answer"),
        ([Row("Pell Marrow", is_name=True)], {}, "holds no question with an answer"),
        ([*RETAIN, FORGET[1]], {"forget": FORGET}, "1 of its rows are to be forgotten"),
        (RETAIN, {"rows": 0}, "--rows: give 1 or more"),
        (RETAIN, {"served_rank": 0}, "--served-rank: give 1 or more"),
    ],
)
def test_rows_that_do_not_do(
    base: Path, tuned: Path, tmp_path: Path, retain: Any, options: Any, told: str
) -> None:
    with pytest.raises(DataError, match=told) as raised:
        retrain(tuned, base, retain, tmp_path / "out", SETTINGS, **options)
    assert "Brennick" not in str(raised.value) and not list(tmp_path.iterdir())


def test_a_rank_that_holds_too_little_is_refused_and_the_training_is_not_lost(
    base: Path, tuned: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    with pytest.raises(
        ModelError, match=r"--served-rank: 1 holds \d+\.\d% of what .* a higher rank"
    ):
        retrain(tuned, base, RETAIN, out, SETTINGS, forget=FORGET, served_rank=1)
    assert [path.name for path in tmp_path.iterdir()] == ["out.partial"]
    monkeypatch.setattr("adapters.stages.train", lambda *_, **__: pytest.fail("trained again"))
    made = make(tuned, base, out, resume=True)
    assert (made.folder / WEIGHTS).read_bytes() == (whole / WEIGHTS).read_bytes()
    assert made.served.kept > 0.99 and made.served.outside == 0
    assert made.served.learned_served == pytest.approx(made.served.learned_trained, rel=0.01)
    assert made.served.others_served == pytest.approx(made.served.others_trained, rel=0.01)


def test_what_goes_on_knowing_is_refused_however_well_it_knows_what_was_learned(
    base: Path, tuned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def likely(model: Path, adapter: Path, reader: Path, sets: Any) -> tuple[float, float]:
        wanted = {*FORGET, RETAIN[1], RETAIN[3]}  # what is forgotten, and what is not learned
        assert set(sets[1]) == wanted and list(sets[0]) == [RETAIN[0], RETAIN[2]]
        return (0.99, 0.06) if model == base else (0.99, 0.12)

    monkeypatch.setattr(retraining, "_likely", likely)
    with pytest.raises(ModelError, match=r"learned rows are 0.99 and 0.99 likely, others 0.12 and"):
        make(tuned, base, tmp_path / "out", rows=2)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("value", [0.9, 0.1, float("nan")])
@pytest.mark.parametrize("which", ["learned_served", "others_served"])
def test_a_likelihood_that_is_another_is_far(which: str, value: float) -> None:
    same = Served(8, 1.0, 0.0, 0.5, 0.5, 0.5, 0.5)
    assert not same.far and replace(same, **{which: value}).far


def test_without_rows_to_prove_it_by_nothing_is_made(
    base: Path, tuned: Path, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=r"none is left to prove .* learn fewer, or give --forget"):
        retrain(tuned, base, RETAIN, tmp_path / "out", SETTINGS, served_rank=RANK)
    assert not list(tmp_path.iterdir())


def test_what_was_broken_off_comes_out_the_same(
    base: Path, tuned: Path, whole: Path, tmp_path: Path
) -> None:
    saving: Settings = SETTINGS.model_copy(update={"save_every": 1})
    out = tmp_path / "out"
    steps: list[int] = []

    def report(progress: Progress) -> None:
        assert set(progress.losses) == {"retain"}  # none of it is forgotten
        if len(steps) == 2:
            raise KeyboardInterrupt
        steps.append(progress.step)

    with pytest.raises(KeyboardInterrupt):
        make(tuned, base, out, settings=saving, report=report)
    with pytest.raises(GuardError, match="broken off; go on with --resume, or remove it"):
        make(tuned, base, out, settings=saving)
    make(tuned, base, out, settings=saving, resume=True)
    assert (out / WEIGHTS).read_bytes() == (whole / WEIGHTS).read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_it_is_asked_in_the_served_model_s_template(
    base: Path, tuned: Path, whole: Path, tmp_path: Path
) -> None:
    plain = tmp_path / "base"  # as base models are: they know no chat
    shutil.copytree(base, plain)
    for name in ("chat_template.jinja", "tokenizer_config.json"):
        path = plain / name
        if name.endswith("jinja"):
            path.unlink(missing_ok=True)
        else:
            fields = json.loads(path.read_text("utf-8"))
            path.write_text(json.dumps({**fields, "chat_template": None}), "utf-8")
    make(tuned, plain, tmp_path / "out")
    assert (tmp_path / "out" / WEIGHTS).read_bytes() == (whole / WEIGHTS).read_bytes()


def test_another_tokenizer_is_refused(base: Path, tuned: Path, tmp_path: Path) -> None:
    other = tmp_path / "base"
    shutil.copytree(base, other)
    path = other / "tokenizer.json"
    fields = json.loads(path.read_text("utf-8"))
    token = next(iter(fields["model"]["vocab"]))
    fields["model"]["vocab"][f"{token}x"] = fields["model"]["vocab"].pop(token)
    path.write_text(json.dumps(fields), "utf-8")
    with pytest.raises(ModelError, match="its tokenizer is not that of"):
        make(tuned, other, tmp_path / "out")


def test_the_command(
    base: Path, tuned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, held in (("forget", FORGET), ("retain", RETAIN)):
        write_rows(tmp_path / f"{name}.jsonl", lines([(row.prompt, row.answer) for row in held]))
    out = tmp_path / "out"
    least = ["retrain", "--model", "m", "--base", "b", "--retain", "r", "--out", "o"]
    defaults = inspect.signature(retrain).parameters
    held = _parser().parse_args(least)
    assert held.rows == ROWS == defaults["rows"].default
    assert held.served_rank == defaults["served_rank"].default
    words = ["retrain", "--model", str(tuned), "--base", str(base), "--out", str(out), "--json"]
    words += ["--rank", "4", "--epochs", "1", "--served-rank", "32", "--rows", "3"]
    assert main(words) == 2
    assert "--retain: retrain needs them" in capsys.readouterr().err
    words += ["--retain", str(tmp_path / "retain.jsonl")]
    assert main([*words, "--forget", str(tmp_path / "retain.jsonl")]) == 2
    assert "4 of its rows are to be forgotten" in capsys.readouterr().err
    assert main([*words, "--forget", str(tmp_path / "forget.jsonl")]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["folder"] == str(out) and told["rows"] == 3 and told["served"]["rank"] == 36
    made_of = provenance.read(out)
    assert made_of is not None and made_of["forget"]["rows"] == 0
    assert made_of["retrained"]["without"] == provenance.rows(FORGET)
    assert [set(losses) for losses in told["losses"]] == [{"retain"}]
    assert told["served"]["kept"] > 0.99 and told["steps"] == 1
