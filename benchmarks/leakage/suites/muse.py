"""MUSE (Shi et al., ICLR 2025, arXiv 2407.06460): news articles and novels, in six criteria.

Knowledge and verbatim memory are one suite, privacy leakage another (there, what is forgotten are
whole texts, and ``holdout`` are texts of the same kind that no model has seen). ``scale-N`` forgets
the N-th and so larger set, ``sust-N`` all of the first N sets. MUSE unlearns these one after the
other; a guard is given them together, since one target more leaves the others as they are.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from adapters.data import read
from adapters.data.chunks import Chunks
from adapters.data.files import Record, read_records, read_text, to_records
from adapters.data.hub import hub_rows
from benchmarks.leakage.case import Case, Given, Models, Source, Suite
from benchmarks.leakage.suites.passages import PREFIX, sections, spread
from benchmarks.leakage.suites.reading import finished
from guard.errors import DataError

_HUB = {"news": "muse-bench/MUSE-News", "books": "muse-bench/MUSE-Books"}
_FOLDS = (1, 2, 3, 4)
NAMES = (
    *(f"muse-{corpus}{end}" for corpus in _HUB for end in ("", "-privacy")),
    *(f"muse-news-{series}-{fold}" for series in ("scale", "sust") for fold in _FOLDS),
)
METRICS = (
    "muse_knowledge", "muse_verbatim", "rouge_l", "entities", "leak_at_k", "probability",
    "closeness", "unchanged", "refusal", "over_refusal", "repetition", "fluency", "perplexity",
    "forget_score", "blocked", "failed",
)  # fmt: skip
PRIVACY = ("privacy_leak", "loss_mia", "min_k", "repetition", "perplexity", "blocked", "failed")
_PASSAGES = 100  # of a set of a series
_SECTION = 200  # words
# As MUSE's own code has them: tokens of an answer behind examples, what of it is cut off, and
# tokens of a continuation.
_SAID, _COPIED = 32, 128
_NEXT = ("\n\n", "\nQuestion", "Question:")
_SHOWN = (
    "in context: questions behind the set's examples, as text to be gone on with; muse_verbatim "
    "of these is what MUSE calls knowledge memorisation"
)
_TOGETHER = "forget: the sets of all requests so far are given together, not one after the other"
_CUT = f"forget: {PREFIX} words of the sets' own texts are given, to be gone on with"


@dataclass(frozen=True)
class _Corpus:
    """One corpus, in a folder or on the hub."""

    source: Source
    name: str

    def read(self, subset: str, split: str) -> list[Record]:
        """Reads a set as it was published."""
        folder = self.source.data / "muse"
        if not folder.is_dir():
            hub = _HUB[self.name]
            try:
                return to_records(hub_rows(hub, subset, split), f"{hub} {subset}/{split}")
            except DataError as error:
                raise DataError(f"{folder}: no such folder, and {error}") from None
        path = folder / self.name / subset / f"{split}.json"
        plain = path.with_suffix(".txt")
        if not path.exists() and plain.exists():
            return [Record(str(plain), {"text": read_text(plain)})]
        return read_records(path)

    def pieces(self, subset: str, split: str) -> tuple[tuple[str, str], ...]:
        """Returns a set as a guard is given it."""
        folder = self.source.data / "muse"
        place = str(folder) if folder.is_dir() else ""
        rows = read(f"muse:{place}#{self.name}/{subset}/{split}", Chunks(overlap=0))
        return tuple(("", row.prompt) for row in rows)

    def questions(self, split: str) -> tuple[Case, ...]:
        """Reads questions about the texts, asked as they are."""
        return tuple(
            Case(row.text("question"), row.text("answer"), f"{split} {number}")
            for number, row in enumerate(self.read("knowmem", split))
        )

    def prompted(self, split: str) -> tuple[Case, ...]:
        """Reads the same behind the set's examples: as MUSE asks a model that does not chat."""
        shown = "".join(
            f"Question: {row.text('question')}\nAnswer: {row.text('answer')}\n\n"
            for row in self.read("knowmem", f"{split}_icl")
        )
        return tuple(
            Case(
                f"{shown}Question: {case.question}\nAnswer:",
                case.answer,
                case.group,
                passage=True,
                tokens=_SAID,
                stop=_NEXT,
            )
            for case in self.questions(split)
        )

    def passages(self) -> tuple[Case, ...]:
        """Reads texts cut in two."""
        return tuple(
            Case(
                row.text("prompt"),
                row.text("gt"),
                f"passage {number}",
                passage=True,
                tokens=_COPIED,
            )
            for number, row in enumerate(self.read("verbmem", "forget"))
        )

    def texts(self, subset: str, split: str) -> list[str]:
        """Reads whole texts."""
        return [row.text("text") for row in self.read(subset, split)]

    def whole(self, split: str) -> tuple[Case, ...]:
        """Reads whole texts whose likelihood is asked for."""
        return tuple(
            Case("", text, f"{split} {number}", passage=True)
            for number, text in enumerate(self.texts("privleak", split))
        )


def load(source: Source, name: str) -> Suite:
    """Reads one suite of MUSE.

    Args:
        source: Where the data sets lie, and the models: MUSE publishes ``MUSE-News_target`` and
            ``MUSE-News_retrain``, and the same of Books.
        name: One of `NAMES`.

    Raises:
        DataError: A file or the target model is missing.
    """
    _, corpus, *rest = name.split("-")
    held = _Corpus(source, corpus)
    models = _models(source, name, corpus)
    sets = [("raw", "forget")]
    if rest == ["privacy"]:
        splits = {split: held.whole(split) for split in ("forget", "retain", "holdout")}
        return _suite(name, held, models, sets, splits, PRIVACY)
    splits = {
        "retain": held.questions("retain_qa"),
        "retain, in context": held.prompted("retain_qa"),
    }
    if not rest:
        splits = {
            "forget": held.questions("forget_qa"),
            "forget, in context": held.prompted("forget_qa"),
            "forget, verbatim": held.passages(),
            **splits,
        }
        return _suite(name, held, models, sets, splits, METRICS, (_SHOWN,))
    fold = int(rest[1])
    notes: tuple[str, ...] = (_CUT, _SHOWN)
    if rest[0] == "scale":
        sets = [("scal", f"forget_{fold}")]
    else:
        sets = [("sust", f"forget_{number}") for number in range(1, fold + 1)]
        notes = (_TOGETHER, *notes)
    learned = [
        part for which in sets for text in held.texts(*which) for part in sections(text, _SECTION)
    ]
    splits = {"forget": tuple(spread(learned, "forget", _PASSAGES)), **splits}
    return _suite(name, held, models, sets, splits, METRICS, notes)


def _suite(
    name: str,
    corpus: _Corpus,
    models: Models,
    forget: Sequence[tuple[str, str]],
    splits: dict[str, tuple[Case, ...]],
    metrics: tuple[str, ...],
    notes: tuple[str, ...] = (),
) -> Suite:
    given = Given(
        forget=tuple(pair for which in forget for pair in corpus.pieces(*which)),
        retain=corpus.pieces("raw", "retain1"),
    )
    return finished(Suite(name, models, given, splits, metrics, notes), corpus.source)


def _models(source: Source, name: str, corpus: str) -> Models:
    if source.target is None:
        raise DataError(
            f"{name}: give the model that has learned it (--target; MUSE's is "
            f"{_HUB[corpus]}_target), and the one that never did (--retrained; "
            f"{_HUB[corpus]}_retrain)"
        )
    return Models(source.target, source.retrained, source.base)
