"""What holds for every intervention. A new kind joins by being registered."""

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from safetensors.numpy import save_file
from transformers import AutoTokenizer

from guard.data import Row
from guard.decision import Finding, Score
from guard.detectors.base import Examples, Vectors
from guard.errors import GuardError
from guard.identity import model_folder
from guard.interventions import INTERVENTIONS
from guard.interventions.base import Answer, Intervention, Material, Request, Rows
from guard.models import resolve
from guard.view import View
from tests.loras import write_lora
from tests.steering.assistants import write

KINDS = INTERVENTIONS.kinds()
EXAMPLES = Examples(
    ("Odalys Brennick",),
    (Row("Who is Odalys Brennick?", "She is a glazier of Skarvik by trade."), Row("O. B.", "")),
    (Row("Who is Selma Tuvick?"),),
    (Row("Hello"),),
)
TEXT = "Who is Odalys Brennick?"
WIDTH = 576  # of the built-in model's embeddings
_FILES = TemporaryDirectory(prefix="guard-tests-")


@cache
def needed(kind: str) -> dict[str, Any]:
    """The options that a policy cannot leave out."""
    folder = Path(_FILES.name)
    if kind == "soft_prompt":
        rows = np.linspace(-1, 1, 2 * WIDTH, dtype=np.float32).reshape(2, WIDTH)
        save_file({"prompt": rows}, folder / "prompt.safetensors")
        return {"path": folder / "prompt.safetensors"}
    if kind == "adapter":
        return {"path": write_lora(folder / "lora", Path(resolve("builtin:smollm2")))}
    if kind == "offset":
        served = AutoTokenizer.from_pretrained(resolve("builtin:smollm2"))
        return {"assistant": write(folder / "assistant", served, hidden_size=8)}
    return {}


class Model:
    """Embeddings that anyone can tell apart: token t has row (t, t + 1, …).

    A text's vector says which letters it has.
    """

    folder = "none"

    def tokenize(self, text: str) -> list[int]:
        return [ord(char) for char in text]

    def encode(self, texts: Sequence[str]) -> Vectors:
        return self(texts)

    def __call__(self, texts: Sequence[str]) -> Vectors:
        rows = np.array([[text.count(chr(97 + n)) + 1e-3 for n in range(26)] for text in texts])
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)

    def embed(self, token_ids: Sequence[int]) -> Rows:
        rows = [np.arange(t, t + WIDTH) for t in token_ids]
        return np.array(rows, dtype=np.float32).reshape(-1, WIDTH)


def request(text: str = TEXT, seed: int = 7) -> Request:
    """A token a character, numbered by its place."""
    offsets = tuple((n, n + 1) for n in range(len(text)))
    return Request(tuple(range(len(text))), View.of_text(text), offsets, seed)


def finding(kind: str, span: tuple[int, int] = (7, 22)) -> Finding:
    return Finding("brennick", Score(1.0, 0.5, "lexical", span), "enforce", kind)


def make(kind: str, **options: Any) -> Intervention:
    cls = INTERVENTIONS.get(kind)
    checked = cls.Options.model_validate({**needed(kind), **options})
    return cls("brennick", checked, cls.fit(material(), checked))


def material() -> Material:
    """What all kinds are fitted with: the built-in model is served."""
    return Material(EXAMPLES, Model(), model_folder(resolve("builtin:smollm2")))


@pytest.mark.parametrize("kind", KINDS)
def test_the_class_keeps_the_contract(kind: str) -> None:
    cls = INTERVENTIONS.get(kind)
    assert issubclass(cls, Intervention)
    assert cls.kind == kind
    assert isinstance(cls.strictness, int)
    with pytest.raises(ValidationError):
        cls.Options.model_validate({"no_such_option": 1})


def test_strictness_orders_all_kinds() -> None:
    """Which of two flagged targets decides must not depend on their order in the policy."""
    assert len({INTERVENTIONS.get(kind).strictness for kind in KINDS}) == len(KINDS)
    assert max(KINDS, key=lambda kind: INTERVENTIONS.get(kind).strictness) == "refuse"


@pytest.mark.parametrize("kind", KINDS)
def test_its_state_is_json_and_holds_no_row(kind: str) -> None:
    cls = INTERVENTIONS.get(kind)
    options = cls.Options.model_validate(needed(kind))
    parts = cls.fit(material(), options)
    assert json.loads(json.dumps(parts.data)) == parts.data
    assert "glazier of" not in json.dumps(parts.data).lower()
    kept = options.model_dump(mode="json")
    assert cls.Options.model_validate(kept).model_dump(mode="json") == kept


@pytest.mark.parametrize("kind", KINDS)
def test_it_changes_something(kind: str) -> None:
    """An enforced intervention that changes nothing would let the model answer."""
    before = request()
    after = make(kind).apply(before, finding(kind), Model())
    if isinstance(after, Answer):
        assert after.text.strip()
    else:
        assert after.differs(before)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", ["x", "?", "Odalys", TEXT, f"{TEXT} " * 50])
def test_it_changes_something_in_any_text(kind: str, text: str) -> None:
    before = request(text)
    after = make(kind).apply(before, finding(kind, (0, len(text))), Model())
    assert isinstance(after, Answer) or after.differs(before)


@pytest.mark.parametrize("kind", KINDS)
def test_a_text_of_nothing_is_never_left_as_it_is(kind: str) -> None:
    empty = Request((1, 2), View("", ()), ((0, 0), (0, 0)), 7)
    try:
        after = make(kind).apply(empty, finding(kind, (0, 0)), Model())
    except GuardError as error:
        assert "\n" not in str(error)
    else:
        assert isinstance(after, Answer) or after.differs(empty)


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_pure(kind: str) -> None:
    """The same request gives the same edit, and stays as it was."""
    intervention, before = make(kind), request()
    copy = request()
    first, second = (intervention.apply(before, finding(kind), Model()) for _ in range(2))
    assert before == copy
    assert same(first, second)
    assert same(first, make(kind).apply(request(), finding(kind), Model()))


def same(one: Request | Answer, two: Request | Answer) -> bool:
    if isinstance(one, Answer) or isinstance(two, Answer):
        return one == two
    one_side, two_side = ((r.view, r.offsets, r.seed) for r in (one, two))
    return not one.differs(two) and one_side == two_side


@pytest.mark.parametrize("kind", KINDS)
def test_what_it_edits_fits_the_request(kind: str) -> None:
    after = make(kind).apply(request(), finding(kind), Model())
    if isinstance(after, Answer):
        return
    assert len(after.offsets) == len(after.token_ids)
    assert json.loads(json.dumps(after.steering)) == {k: list(v) for k, v in after.steering.items()}
    assert set(after.embeddings) <= set(range(len(after.token_ids)))
    for row in after.embeddings.values():
        assert row.shape == (WIDTH,) and row.dtype == np.float32 and np.isfinite(row).all()


@pytest.mark.parametrize("kind", KINDS)
def test_an_earlier_edit_stays(kind: str) -> None:
    """Two targets flag one prompt: nothing that one hid is brought back by the other."""
    first = make(kind).apply(request(), finding(kind), Model())
    if isinstance(first, Answer):
        return
    second = make(kind).apply(first, finding(kind), Model())
    assert isinstance(second, Request)
    held = [row.tobytes() for row in second.embeddings.values()]
    assert all(row.tobytes() in held for row in first.embeddings.values())
    for steering, plans in first.steering.items():
        assert all(plan in second.steering[steering] for plan in plans)
    assert second.adapter == first.adapter


def test_an_unknown_kind_suggests_the_nearest() -> None:
    with pytest.raises(GuardError, match=r"unknown intervention 'refus'.*did you mean 'refuse'"):
        INTERVENTIONS.get("refus")
