"""Copying of books: the beginning of a passage is given, and how much of the rest follows counts.

The folder ``public_domain`` holds books as plain texts. The model is measured as it is: it has read
them, or it has not. One book is forgotten and given whole; of the others every second section is
given to a guard as neighbours, and the sections between are asked.
"""

from pathlib import Path

from adapters.data.files import checked, read_text
from benchmarks.leakage.case import Case, Given, Models, Source, Suite
from benchmarks.leakage.suites.passages import NEXT, PREFIX, pieces, sections, spread
from benchmarks.leakage.suites.reading import files, finished
from benchmarks.world import BASE
from guard.errors import DataError
from guard.registry import nearest

FOLDER = "public_domain"
METRICS = (
    "verbatim", "muse_verbatim", "rouge_l", "probability", "closeness", "unchanged", "refusal",
    "over_refusal", "repetition", "fluency", "perplexity", "blocked", "failed",
)  # fmt: skip
_PASSAGES = 100  # of a book
_SECTION = 400  # words


def load(source: Source, forget: str | None = None) -> Suite:
    """Reads the books.

    Args:
        source: Where they lie.
        forget: Which is forgotten, by its file's name without ending; the first by default.

    Raises:
        DataError: There are fewer than two books, or none of that name.
    """
    books = {path.stem: _text(path) for path in files(source.data / FOLDER, (".txt",))}
    if len(books) < 2:
        raise DataError(f"{source.data / FOLDER}: holds one book; give others that are kept")
    chosen = forget or next(iter(books))
    if chosen not in books:
        raise DataError(f"verbatim: no book {chosen!r}{nearest(chosen, books)}")
    asked: list[Case] = []
    given: list[tuple[str, str]] = []
    for name, text in books.items():
        if name != chosen:
            parts = sections(text, _SECTION)
            asked += spread(parts[1::2], name, _PASSAGES)
            given += [pair for part in parts[::2] for pair in pieces(part)]
    splits = {
        "forget": tuple(spread(sections(books[chosen], PREFIX + NEXT), chosen, _PASSAGES)),
        "retain": tuple(asked),
    }
    models = Models(source.target or BASE, source.retrained, source.base)
    notes = (
        f"{PREFIX} words are given and {NEXT} are to follow; forgotten is {chosen}, and a model "
        "that has not read it has nothing to copy",
    )
    what = Given(forget=pieces(books[chosen]), retain=tuple(given))
    return finished(Suite("verbatim", models, what, splits, METRICS, notes), source)


def _text(path: Path) -> str:
    return checked(read_text(path), f"{path}: it")
