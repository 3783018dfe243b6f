"""Where a prompt speaks of somebody or something by name.

What is known of a target by name is found however it is written. Other names are what a named
entity recogniser of spaCy finds, where one is chosen, or else the runs of capitalised words.
"""

import importlib
import threading
from collections.abc import Callable, Iterable, Sequence

from guard.data import Row
from guard.detectors.base import Examples
from guard.errors import InterventionError
from guard.matching import PhraseMatcher
from guard.names import distinctive, proper_phrases, variants

Spans = list[tuple[int, int]]
Recognise = Callable[[str], Spans]


def entity_phrases(examples: Examples) -> list[str]:
    """Returns a target's names, and the proper names that its forget set alone holds, folded."""
    names = [*examples.names, *(row.prompt for row in examples.forget if row.is_name)]
    known = list(dict.fromkeys(phrase for name in names for phrase in variants(name)))
    others: Sequence[Row] = (*examples.retain, *examples.background)
    rows = [row for row in examples.forget if not row.is_name]
    return [*known, *distinctive(rows, others, skip=known)]


class Entities:
    """Finds entities in texts.

    Args:
        phrases: What is known of the target by name, folded.
        pipeline: The spaCy pipeline that finds other names; capitalised words without.

    Raises:
        InterventionError: The pipeline is not there, or recognises no entities.
    """

    def __init__(self, phrases: Iterable[str], pipeline: str | None = None) -> None:
        self._known = PhraseMatcher(dict.fromkeys(phrases))
        self._recognise = spacy_entities(pipeline) if pipeline else capitalised

    def known(self, text: str) -> Spans:
        """Returns where the target itself is named, in characters."""
        return [(start, end) for start, end, _ in self._known.find(text)]

    def named(self, text: str) -> Spans:
        """Returns where anybody or anything is named, in characters."""
        return self._recognise(text)


def capitalised(text: str) -> Spans:
    """Returns where the capitalised phrases of a text stand, wherever they stand."""
    phrases = PhraseMatcher(dict.fromkeys(proper_phrases(text)))
    return [(start, end) for start, end, _ in phrases.find(text)]


def spacy_entities(pipeline: str) -> Recognise:
    """Returns what finds entities by a spaCy pipeline: an installed package, or a folder.

    Raises:
        InterventionError: It cannot be loaded, or recognises no entities.
    """
    try:
        model = importlib.import_module("spacy").load(pipeline)
    except ImportError:
        raise InterventionError(f"ner: {pipeline!r} needs spaCy; pip install spacy") from None
    except (OSError, ValueError):
        raise InterventionError(
            f"ner: spaCy finds no pipeline {pipeline!r}; pip install the package of that name"
        ) from None
    if not {"ner", "entity_ruler", "span_ruler"} & set(model.pipe_names):
        raise InterventionError(f"ner: the spaCy pipeline {pipeline!r} recognises no entities")
    lock = threading.Lock()  # a pipeline keeps what it has seen, which threads must not do at once

    def recognise(text: str) -> Spans:
        spans: Spans = []
        for start in range(0, len(text), model.max_length):  # it takes no longer text at a time
            with lock:
                document = model(text[start : start + model.max_length])
            spans += [(start + e.start_char, start + e.end_char) for e in document.ents]
        return spans

    return recognise
