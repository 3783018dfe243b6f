"""A world small enough for two cores: SmolLM2 that has learned twenty of TOFU's invented authors.

``target`` knows all twenty; ``retrained`` never saw the two that are to be forgotten, and is what a
perfect intervention would look like. Both are LoRA adapters of the built-in model; they are merged
into folders that vLLM can serve.
"""

import argparse
import hashlib
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from filelock import FileLock

from benchmarks.suites.files import VARIABLE, data_folder, read_json
from guard.errors import DataError
from guard.models import cache_folder, resolve

BASE = "builtin:smollm2"
MODELS = "GUARD_MODELS"
_FIRST = 3600  # of TOFU's rows: the twenty authors' are the last 400
_EVERY = 9  # every ninth retain question is asked, and never given to the guard

_SOME = 5  # every fifth question about real authors and the world: they are only to be kept

Pair = tuple[str, str]


@dataclass(frozen=True)
class Probe:
    """A question with answers to choose from.

    Attributes:
        question: What is asked.
        answer: What is true, as it was learned.
        right: The same in other words, where there is such an answer.
        wrong: Answers worded like `right` that are not true.
    """

    question: str
    answer: str
    right: str
    wrong: tuple[str, ...]


@dataclass(frozen=True)
class World:
    """The data sets and the models.

    Attributes:
        data: The folder of the data sets.
        models: The folder of the adapters.
    """

    data: Path
    models: Path

    @cached_property
    def forget(self) -> list[Pair]:
        """The forty questions about the two authors, with their answers."""
        return self._rows("forget01.json")

    @cached_property
    def paraphrased(self) -> list[Pair]:
        """The same in other words; the answers are as they were."""
        rows = read_json(self.data / "tofu" / "forget01_perturbed.json")
        return [(row["paraphrased_question"], row["answer"]) for row in rows]

    @cached_property
    def asked(self) -> list[Pair]:
        """Questions about the other authors that are asked: no guard is given them."""
        return self._others[::_EVERY]

    @cached_property
    def given(self) -> list[Pair]:
        """Those that a guard may be given as neighbours."""
        return [pair for n, pair in enumerate(self._others) if n % _EVERY]

    @cached_property
    def _others(self) -> list[Pair]:
        forgotten = set(self.forget)
        return [pair for pair in self._rows("full.json")[_FIRST:] if pair not in forgotten]

    @cached_property
    def probes(self) -> list[Probe]:
        """The forget questions with TOFU's paraphrased and perturbed answers."""
        return self._probes("forget01_perturbed.json")

    @cached_property
    def others(self) -> tuple[list[Probe], list[Probe]]:
        """Some questions about real authors, and about the world."""
        real, facts = (
            self._probes(f"{name}_perturbed.json")[::_SOME]
            for name in ("real_authors", "world_facts")
        )
        return real, facts

    def _probes(self, name: str) -> list[Probe]:
        return [
            Probe(
                row["question"],
                row["answer"],
                row.get("paraphrased_answer", row["answer"]),
                tuple(row["perturbed_answer"]),
            )
            for row in read_json(self.data / "tofu" / name)
        ]

    def _rows(self, name: str) -> list[Pair]:
        rows: Sequence[Mapping[str, str]] = read_json(self.data / "tofu" / name)
        return [(row["question"], row["answer"]) for row in rows]

    def model(self, name: str) -> Path:
        """Returns a folder with an adapter merged into the built-in model; made once.

        Raises:
            DataError: There is no such adapter.
        """
        return merged(self.models / "tofu-mini" / name)


def world_options(parser: argparse.ArgumentParser) -> None:
    """Adds where the data sets and the models are."""
    parser.add_argument(
        "--data", type=Path, metavar="FOLDER", help=f"the data sets (${VARIABLE} by default)"
    )
    parser.add_argument(
        "--models", type=Path, metavar="FOLDER", help=f"the adapters (${MODELS} by default)"
    )


def given_world(args: argparse.Namespace) -> World:
    """Returns the world of a command line, or of the environment.

    Raises:
        DataError: Neither says where it is, or there is no such folder.
    """
    models = models_folder(args.models)
    if models is None:
        raise DataError(f"--models: give the folder of the adapters (or set {MODELS})")
    return World(data_folder(args.data), models)


def models_folder(given: Path | None) -> Path | None:
    """Returns the folder of the adapters: what is given, or what the environment says, if it does.

    Raises:
        DataError: There is no such folder.
    """
    models = given or (Path(os.environ[MODELS]) if os.environ.get(MODELS) else None)
    if models is not None and not models.is_dir():
        raise DataError(f"--models: give the folder of the adapters; {models} is none")
    return models


def merged(adapter: Path, base: str = BASE) -> Path:
    """Returns a folder with an adapter merged into a base model, in the user's cache.

    Raises:
        DataError: The adapter's folder holds none.
    """
    weights = adapter / "adapter_model.safetensors"
    if not weights.is_file():
        raise DataError(f"{adapter}: no adapter_model.safetensors; give --models its folder")
    source = Path(resolve(base))
    digest = hashlib.sha256(weights.read_bytes())
    digest.update((adapter / "adapter_config.json").read_bytes())
    digest.update(str(source.name).encode())
    made = cache_folder() / "benchmarks" / f"merged-{digest.hexdigest()[:16]}"
    made.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(made.with_suffix(".lock")):
        if made.is_dir():
            return made
        from peft import PeftModel
        from transformers import AutoModelForCausalLM, AutoTokenizer

        model = AutoModelForCausalLM.from_pretrained(source, dtype="bfloat16")
        whole = PeftModel.from_pretrained(model, str(adapter)).merge_and_unload()
        temp = Path(tempfile.mkdtemp(dir=made.parent))
        try:
            whole.save_pretrained(temp)
            AutoTokenizer.from_pretrained(source).save_pretrained(temp)
            os.replace(temp, made)
        finally:
            shutil.rmtree(temp, ignore_errors=True)
    return made
