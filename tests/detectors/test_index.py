"""Nearest neighbours: the kind that a size calls for, and what each of them finds."""

import sys

import numpy as np
import pytest

from guard.detectors import index as module
from guard.detectors.base import Vectors
from guard.detectors.index import NearestIndex
from guard.errors import ModelError

DIMENSIONS = 48


def units(vectors: "np.typing.NDArray[np.float64]") -> Vectors:
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / lengths, dtype=np.float32)


@pytest.fixture(scope="module")
def vectors() -> Vectors:
    """Rows about two hundred subjects, a handful of each: forget sets are no even cloud."""
    random = np.random.default_rng(7)
    subjects = random.normal(size=(200, DIMENSIONS))
    return units(subjects.repeat(20, axis=0) + 0.6 * random.normal(size=(4000, DIMENSIONS)))


@pytest.fixture(scope="module")
def queries(vectors: Vectors) -> Vectors:
    """Paraphrases of some rows, and texts about nothing of it."""
    random = np.random.default_rng(8)
    near = vectors[::10] + 0.05 * random.normal(size=(400, DIMENSIONS))
    return units(np.concatenate([near, random.normal(size=(100, DIMENSIONS))]))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits that these tests can pass."""
    monkeypatch.setattr(module, "EXACT", 1000)
    monkeypatch.setattr(module, "GRAPH", 3000)


@pytest.mark.parametrize(
    ("count", "kind"),
    [(1, "exact"), (1000, "exact"), (1001, "hnsw"), (3000, "hnsw"), (3001, "ivf"), (4000, "ivf")],
)
def test_the_kind_is_chosen_by_size(small: None, vectors: Vectors, count: int, kind: str) -> None:
    index = NearestIndex(vectors[:count])
    assert index.kind == kind
    assert index.nearest(vectors[:5]).shape == (5,)


def test_the_limits_are_those_that_were_measured() -> None:
    assert NearestIndex(np.eye(3, dtype=np.float32)).kind == "exact"
    assert 0 < module.EXACT < module.GRAPH


def test_an_exact_search_is_exact(vectors: Vectors, queries: Vectors) -> None:
    found = NearestIndex(vectors).nearest(queries)
    assert found.dtype == np.float32
    assert found == pytest.approx((queries @ vectors.T).max(axis=1), abs=1e-5)


@pytest.mark.parametrize("count", [3000, 4000])
def test_the_others_find_nearly_all_of_it(
    small: None, vectors: Vectors, queries: Vectors, count: int
) -> None:
    known = vectors[:count]
    found = NearestIndex(known).nearest(queries)
    best = (queries @ known.T).max(axis=1)
    assert (found <= best + 1e-5).all()
    near = best > 0.7  # what could be flagged; of what is far away, how far is no matter
    assert near.sum() > 250
    assert np.mean(found[near] >= best[near] - 1e-5) >= 0.95


def test_a_query_is_searched_for_itself(vectors: Vectors, queries: Vectors) -> None:
    index = NearestIndex(vectors)
    alone = np.concatenate([index.nearest(query[None]) for query in queries])
    assert alone == pytest.approx(index.nearest(queries), abs=1e-6)


def test_vectors_of_any_layout(vectors: Vectors) -> None:
    turned = np.asfortranarray(vectors[:50])
    half = vectors[:50].astype(np.float16)
    queries = np.asfortranarray(vectors[60:70])
    expected = NearestIndex(vectors[:50]).nearest(vectors[60:70])
    assert NearestIndex(turned).nearest(queries) == pytest.approx(expected, abs=1e-6)
    assert NearestIndex(half).nearest(queries) == pytest.approx(expected, abs=1e-2)


def test_without_a_gpu_to_be_seen_it_searches_here(vectors: Vectors) -> None:
    import faiss

    if getattr(faiss, "get_num_gpus", lambda: 0)():
        pytest.skip("FAISS sees a GPU")
    assert NearestIndex(vectors[:9], gpu=True).nearest(vectors[:1]) == pytest.approx([1.0])


def test_no_graph_on_a_gpu(small: None) -> None:
    assert [module._kind(count, True) for count in (1000, 1001, 4000)] == ["exact", "ivf", "ivf"]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_vector_that_is_not_finite_is_refused(vectors: Vectors, value: float) -> None:
    """FAISS would say that it is far from everything, and the guard that it is harmless."""
    query = vectors[:3].copy()
    query[1, 2] = value
    with pytest.raises(ValueError, match="not finite"):
        NearestIndex(vectors[:9]).nearest(query)


def test_a_missing_faiss_is_named(monkeypatch: pytest.MonkeyPatch, vectors: Vectors) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(ModelError, match=r"faiss is not installed; pip install .*faiss-cpu"):
        NearestIndex(vectors)
