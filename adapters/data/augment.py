"""More rows out of few: the same asked and answered in other words, and answered wrongly.

ULD needs both (arXiv 2406.08607, section 3.3), ReLearn answers that say something else, and a
truth ratio that chooses a strength needs a right answer in other words beside several wrong ones.
None of it may come from the rows that an evaluation uses; all of this is made of the training rows,
by rules or by a model that is given. The same arguments give the same rows (a model's writing is as
repeatable as the model).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random

from adapters.data import paraphrase
from adapters.data.alternatives import said
from adapters.data.perturb import Perturb
from adapters.data.row import TrainingRow
from adapters.data.writer import Writer
from guard.data import Row
from guard.errors import DataError

_ASK = (
    "Rewrite this question in other words. Keep its meaning and every name, date and number. "
    "Write the question only.\n\n{question}"
)
_SAY = (
    "Here are a question and its answer. Say the answer in other words, of about the same length. "
    "Keep its meaning and every name, date and number. Write the answer only.\n\n"
    "Question: {question}\nAnswer: {answer}"
)
_ERR = (
    "Here are a question and its answer. Write an answer that is worded almost alike but is false: "
    "put other names, places, dates or numbers where the facts stand. Keep what the question says. "
    "Write the answer only.\n\nQuestion: {question}\nAnswer: {answer}"
)
_TRANSLATE = "Translate this into {language}. Write the translation only.\n\n{text}"
_LABEL = re.compile(r"^(?:(?:question|answer|translation)\s*:\s*)", re.IGNORECASE)


@dataclass(frozen=True)
class Probe:
    """A row, and what a truth ratio is made of.

    Attributes:
        row: The question with its right answer.
        paraphrase: The right answer in other words.
        perturbed: Wrong ones, worded like the paraphrase.
    """

    row: Row
    paraphrase: str
    perturbed: tuple[str, ...]


def paraphrased(
    rows: Sequence[Row], seed: int = 0, count: int = 4, writer: Writer | None = None
) -> list[Row]:
    """Returns each question in other words, with its own answer.

    Args:
        rows: Questions with answers; others are left out.
        seed: Of what is drawn.
        count: Of each at most; there may be fewer, and without a writer there are none of what is
            not English.
        writer: Who writes them; rules without, which also make up for what a writer repeats.

    Raises:
        ModelError: The writer fails.
    """
    asked = _questions(rows)
    told = _written(asked, writer, _ASK, count)
    found: list[Row] = []
    for row, texts in zip(asked, told, strict=True):
        ruled = paraphrase.questions(row.prompt, _random(seed, row), count)
        for text in _different(row.prompt, [*texts, *ruled])[:count]:
            found.append(replace(row, prompt=text))
    return found


def perturbed(
    rows: Sequence[Row],
    seed: int = 0,
    count: int = 4,
    pool: Sequence[Row] = (),
    writer: Writer | None = None,
) -> list[Row]:
    """Returns each question with wrong answers in the manner of its own.

    Args:
        rows: Questions with answers; others are left out.
        seed: Of what is drawn.
        count: Of each at most.
        pool: Further rows to take facts from: the retain rows.
        writer: Who writes them; rules without.

    Raises:
        DataError: There is a row to which no wrong answer can be made.
        ModelError: The writer fails.
    """
    asked = _questions(rows)
    told = _written(asked, writer, _ERR, count)
    perturb = Perturb([*asked, *pool])
    found: list[Row] = []
    for n, (row, texts) in enumerate(zip(asked, told, strict=True)):
        ruled = perturb(row, _random(seed, row), count)
        wrong = _different(row.answer, [*texts, *ruled])[:count]
        if not wrong:
            raise _too_few(n, len(asked))
        found += [replace(row, answer=text) for text in wrong]
    return found


def probes(
    rows: Sequence[Row],
    seed: int = 0,
    count: int = 5,
    pool: Sequence[Row] = (),
    writer: Writer | None = None,
) -> list[Probe]:
    """Returns what truth ratios of rows need; arguments and errors are as of `perturbed`.

    Rows of which no right answer in other words can be made are left out, and so are those without
    an answer; `Probe.row` says which are there.
    """
    asked = _questions(rows)
    right = _written(asked, writer, _SAY, 1)
    wrong = _written(asked, writer, _ERR, count)
    perturb = Perturb([*asked, *pool])
    found: list[Probe] = []
    for n, row in enumerate(asked):
        random = _random(seed, row)
        said_so = _different(row.answer, [*right[n], *paraphrase.answers(row.answer, random, 1)])
        if not said_so:
            continue
        ruled = perturb(row, random, count, said_so[0])
        other = _different(row.answer, [*wrong[n], *ruled], said_so[0])[:count]
        if not other:
            raise _too_few(n, len(asked))
        found.append(Probe(row, said_so[0], tuple(other)))
    return found


def counterparts(rows: Sequence[Row], pool: Sequence[Row], seed: int = 0) -> list[Row]:
    """Returns each question with what others' rows answer to the like, said of its own subject.

    What they teach is how such questions are answered, and nothing of the subject.

    Args:
        rows: Questions with answers; others are left out.
        pool: Whose answers are given: retain rows.
        seed: Of what is drawn.

    Raises:
        DataError: There is a row to which none of them can be said.
    """
    asked = _questions(rows)
    perturb = Perturb(pool)
    found: list[Row] = []
    for n, row in enumerate(asked):
        random = _random(seed, row)
        told = _different(row.answer, [*perturb.transplanted(row, random)])
        told = told or perturb(row, random, 1)
        if not told:
            raise _too_few(n, len(asked))
        found.append(replace(row, answer=told[0]))
    return found


def with_alternatives(
    rows: Sequence[Row], seed: int = 0, pool: Sequence[Row] = (), writer: Writer | None = None
) -> list[Row]:
    """Returns rows in which each question has an alternative answer, made where none was written.

    For `adapters.data.alternatives.written`; arguments and errors are as of `perturbed`. Names and
    passages stay as they are.
    """
    lacking = [row for row in _questions(rows) if not getattr(row, "alternative", "")]
    made = iter(perturbed(lacking, seed, 1, [*rows, *pool], writer))
    found: list[Row] = []
    for row in rows:
        if row.answer and not row.is_name and not getattr(row, "alternative", ""):
            before = row.before if isinstance(row, TrainingRow) else ()
            other = next(made).answer
            row = TrainingRow(row.prompt, row.answer, before=before, alternative=other)
        found.append(row)
    return found


def back_translated(
    texts: Sequence[str], out: Writer, home: Writer, language: str = "German", own: str = "English"
) -> list[str]:
    """Returns texts translated into another language and back: what differs then is the wording.

    Args:
        texts: In `own`.
        out: Who translates into `language`.
        home: Who translates back; it may be the same.
        language: The other language.
        own: The texts' language.

    Raises:
        ModelError: A writer fails.
    """
    there = _asked(out, [_TRANSLATE.format(language=language, text=text) for text in texts])
    return _asked(home, [_TRANSLATE.format(language=own, text=text) for text in there])


def _questions(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if row.answer and not row.is_name]


def _random(seed: int, row: Row) -> Random:
    """Each row has its own, so that one row more does not change what the others are given."""
    return Random(f"{seed} {row.prompt} {row.answer}")


def _written(
    rows: Sequence[Row], writer: Writer | None, instruction: str, count: int
) -> list[list[str]]:
    """Asks a writer for each row's texts, [rows][count]; for none without a writer."""
    if writer is None:
        return [[] for _ in rows]
    prompts = [
        instruction.format(question=row.prompt, answer=row.answer)
        for row in rows
        for _ in range(count)
    ]
    texts = _asked(writer, prompts)
    return [texts[at : at + count] for at in range(0, len(texts), count)]


def _asked(writer: Writer, prompts: Sequence[str]) -> list[str]:
    texts = writer.generate(prompts)
    if len(texts) != len(prompts):
        raise DataError(f"a writer gave {len(texts)} texts for {len(prompts)} prompts")
    return [_LABEL.sub("", text.strip()).strip().strip('"“”').strip() for text in texts]


def _different(original: str, texts: Sequence[str], *others: str) -> list[str]:
    """Returns the texts that say neither the original nor what another of them says."""
    known = {said(text) for text in (original, *others)}
    found = []
    for text in texts:
        if text and said(text) not in known:
            known.add(said(text))
            found.append(text)
    return found


def _too_few(number: int, count: int) -> DataError:
    return DataError(
        f"row {number + 1} of {count}: no wrong answer can be made of so few rows; give retain "
        "rows too, or a model that writes them"
    )
