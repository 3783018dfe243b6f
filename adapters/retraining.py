"""Retraining behind a detector: some of what is kept, on the base model, served as an adapter.

Retraining without the forget set is the definition of forgetting, and is too dear for a whole model
(SISA, Bourtoule et al., arXiv 1912.03817, retrains a part of it). Behind a detector only flagged
prompts are answered by what was retrained, so it need not know what is kept: it has to answer as
the served model answers whatever it never learned. A LoRA of the base model that has learned some
of the retain rows does. What is served is that LoRA less what the served model has learned since
the base model, so that the latter cancels, and what is left has never seen the forget set.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

from adapters import provenance
from adapters.difference import difference
from adapters.fit import Fitted, Report
from adapters.merge import write_sum
from adapters.settings import Settings
from adapters.stages import finish, remembered, workplace
from guard.data import Row
from guard.errors import DataError, ModelError
from guard.identity import identify
from guard.lora import WEIGHTS, read_lora

LEARNT = "learnt"
ROWS = 128
_PROVED = 40  # rows of a kind, at most, that show that what the served model knows is gone
_FAR = 0.1  # by how much, of it, a likelihood as served may be another than as trained


@dataclass(frozen=True)
class Served:
    """How far the adapter makes of the served model what was trained.

    Likelihoods are means of P(answer | question)^(1 / tokens): to the base model with the LoRA that
    was trained, and to the served model with the adapter. The rows that were learned tell whether
    what was trained is there; the others, which the served model knows, whether that is gone.

    Attributes:
        rank: Of the adapter.
        kept: As of `adapters.difference.Difference`.
        outside: Likewise.
        learned_trained: How likely the learned rows are, as trained.
        learned_served: The same as served.
        others_trained: How likely rows are that were not learned, as trained.
        others_served: The same as served.
    """

    rank: int
    kept: float
    outside: float
    learned_trained: float
    learned_served: float
    others_trained: float
    others_served: float

    @property
    def far(self) -> bool:
        """Whether another model is served than was trained."""
        pairs = (
            (self.learned_trained, self.learned_served),
            (self.others_trained, self.others_served),
        )
        return any(not abs(served - trained) <= _FAR * trained for trained, served in pairs)


@dataclass(frozen=True)
class Retrained:
    """An adapter that was made.

    Attributes:
        folder: Its PEFT folder.
        fitted: What came of the training.
        rows: How many rows were learned.
        served: How far it serves what was trained.
    """

    folder: Path
    fitted: Fitted
    rows: int
    served: Served


def retrain(
    model: Path,
    base: Path,
    retain: Sequence[Row],
    out: Path,
    settings: Settings,
    *,
    forget: Sequence[Row] = (),
    rows: int = ROWS,
    served_rank: int = 32,
    resume: bool = False,
    report: Report = lambda progress: None,
) -> Retrained:
    """Trains on some of the retain rows, and writes the adapter that is served.

    Args:
        model: The served model's folder; its tokenizer and chat template are used.
        base: The folder of the model that it was tuned from, and that never learned the forget set.
        retain: What is kept, and nothing of what is forgotten.
        out: The PEFT folder to make. What was trained lies in ``OUT.partial`` until it is.
        settings: How the LoRA is trained.
        forget: What must not be learned: retain rows that are among them are an error. Nothing is
            learned of it; that it is gone is proved by it, and by retain rows that are not learned.
        rows: How many rows are learned, spread evenly; all, where there are not as many.
        served_rank: Rank that holds what the served model has learned since the base model.
        resume: Whether to take up what was broken off.
        report: Is told each step.

    Raises:
        DataError: There is no row with an answer, one that is to be forgotten, or none beside the
            learned ones.
        ModelError: The models have other shapes or tokenizers; the rank holds too little of what
            the served model learned, so that it would go on knowing it; or as of
            `adapters.trainer.train`.
    """
    work = workplace(out, resume)
    if served_rank < 1:
        raise DataError("--served-rank: give 1 or more")
    if both := set(retain) & set(forget):
        raise DataError(f"--retain: {len(both)} of its rows are to be forgotten; take them out")
    told = [row for row in retain if row.answer and not row.is_name]
    learnt = evenly(told, rows)
    others = _others(told, learnt, forget)
    _same_tokens(model, base)
    learned = difference(model, base, served_rank)
    made = remembered(
        base,
        learnt,
        work / LEARNT,
        settings,
        tokenizer=model,
        resume=resume,
        report=lambda now: report(replace(now, losses=_named(now.losses))),
    )
    fitted = replace(made.fitted, losses=[_named(losses) for losses in made.fitted.losses])
    lora = read_lora(made.folder, base)
    rank = lora.r + served_rank

    def fill(temp: Path) -> None:
        write_sum(temp, [lora, learned.lora], (1.0, -1.0), rank)
        read_lora(temp, model)  # what cannot be served is not handed out
        sets = (learnt, others)
        trained = _likely(base, made.folder, model, sets)
        now = _likely(model, temp, model, sets)
        served = Served(rank, learned.kept, learned.outside, trained[0], now[0], trained[1], now[1])
        if served.far:
            raise ModelError(
                f"--served-rank: {served_rank} holds {served.kept:.1%} of what {model} has learned "
                f"in its linear layers ({served.outside:.1%} is outside of them): as served, and "
                f"as trained, learned rows are {served.learned_served:.2g} and "
                f"{served.learned_trained:.2g} likely, others {served.others_served:.2g} and "
                f"{served.others_trained:.2g}; give a higher rank, or the model that it was tuned "
                "from"
            )
        about = provenance.read(made.folder) or {}
        made_of = {
            **{name: about[name] for name in ("options", "settings", "tokenizer")},
            "objective": "retrain",
            "model": identify(model),
            "base": identify(base),
            "forget": provenance.rows(()),  # none was learned
            "retain": provenance.rows(retain),
            "retrained": {
                "learnt": provenance.rows(learnt),
                "without": provenance.rows(forget),
                "weights": provenance.file_hash(made.folder / WEIGHTS),
                **asdict(served),
            },
        }
        provenance.write(temp, made_of, fitted)

    finish(out, fill, work)
    said = (provenance.read(out) or {})["retrained"]  # as every process finds it
    served = Served(**{field.name: said[field.name] for field in fields(Served)})
    return Retrained(out, fitted, len(learnt), served)


def evenly(rows: Sequence[Row], count: int) -> list[Row]:
    """Some of the rows, as far apart as they can be: a file's neighbours are about the same.

    Raises:
        DataError: There is none, or none is wanted.
    """
    if not rows:
        raise DataError("--retain: holds no question with an answer")
    if count < 1:
        raise DataError("--rows: give 1 or more")
    count = min(count, len(rows))
    return [rows[n * len(rows) // count] for n in range(count)]


def _named(losses: Mapping[str, float]) -> dict[str, float]:
    """What is learned is what is kept, though it is trained as a memory is."""
    return {"retain" if name == "forget" else name: value for name, value in losses.items()}


def _same_tokens(model: Path, base: Path) -> None:
    from transformers import AutoTokenizer

    try:
        held = [provenance.tokens(AutoTokenizer.from_pretrained(path)) for path in (model, base)]
    except (OSError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ModelError(f"{model}, {base}: no tokenizer: {reason}") from None
    if held[0] != held[1]:
        raise ModelError(f"{base}: its tokenizer is not that of {model}; give its own base")


def _others(told: Sequence[Row], learnt: Sequence[Row], forget: Sequence[Row]) -> list[Row]:
    """Rows that the served model knows and that are not learned: some of those kept, and forgotten.

    Raises:
        DataError: There are none.
    """
    left = [row for row in told if row not in set(learnt)]
    known = [row for row in forget if row.answer and not row.is_name]
    found = [row for some in (left, known) if some for row in evenly(some, _PROVED)]
    if not found:
        raise DataError(
            "--rows: all retain rows are learned, and none is left to prove that the adapter takes "
            "away what the served model knows; learn fewer, or give --forget"
        )
    return found


def _likely(
    model: Path, adapter: Path, reader: Path, sets: Sequence[Sequence[Row]]
) -> tuple[float, ...]:
    """How likely a model with an adapter finds the answers of some sets, in another's template."""
    from transformers import AutoTokenizer

    from adapters.loading import Scaled, load
    from adapters.questions import Questions

    _, _, loaded = load(str(model))
    tokenizer = AutoTokenizer.from_pretrained(reader)
    tuned = Scaled(loaded, adapter).model
    return tuple(Questions(tokenizer, rows, "probability").read(tuned) for rows in sets)
