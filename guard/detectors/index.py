"""Nearest neighbours by FAISS: exact where that is quick, a graph or cells where it is not."""

from typing import Any

import numpy as np

from guard.detectors.base import Vectors
from guard.errors import ModelError

EXACT = 50_000  # vectors; a search through as many takes 6 ms on one core
GRAPH = 1_000_000  # beyond, a graph takes more memory than the vectors themselves

_LINKS, _BUILD, _LOOK = 32, 80, 128  # HNSW: found all of 200 neighbours among 50,000


class NearestIndex:
    """The cosine of a vector to the nearest of many unit vectors.

    The kind is chosen by size: exact, HNSW (Malkov and Yashunin, 2016), IVF. On a machine where
    FAISS sees GPUs and `gpu` is asked for, exact and IVF indexes are searched there; HNSW has no
    GPU form and gives way to IVF.

    Args:
        vectors: Unit vectors, float32 [n, d].
        gpu: Whether to search on the first GPU.

    Raises:
        ModelError: FAISS is not installed.
    """

    def __init__(self, vectors: Vectors, gpu: bool = False) -> None:
        self._faiss = _faiss()
        gpu = gpu and getattr(self._faiss, "get_num_gpus", lambda: 0)() > 0
        self.kind = _kind(len(vectors), gpu)
        self._index = self._build(np.ascontiguousarray(vectors, dtype=np.float32))
        if gpu:
            resources = self._faiss.StandardGpuResources()
            self._index = self._faiss.index_cpu_to_gpu(resources, 0, self._index)

    def nearest(self, vectors: Vectors) -> Vectors:
        """Returns each vector's cosine to its nearest neighbour, float32 [m].

        Raises:
            ValueError: A vector is not finite; FAISS would call it far from everything.
        """
        if not np.isfinite(vectors).all():
            raise ValueError("a vector is not finite")
        cosines, _ = self._index.search(np.ascontiguousarray(vectors, dtype=np.float32), 1)
        return np.asarray(cosines[:, 0], dtype=np.float32)

    def _build(self, vectors: Vectors) -> Any:
        faiss, dimensions = self._faiss, vectors.shape[1]
        if self.kind == "exact":
            index = faiss.IndexFlatIP(dimensions)
        elif self.kind == "hnsw":
            index = faiss.IndexHNSWFlat(dimensions, _LINKS, faiss.METRIC_INNER_PRODUCT)
            index.hnsw.efConstruction = _BUILD
            index.hnsw.efSearch = _LOOK
        else:
            cells = int(4 * np.sqrt(len(vectors)))
            index = faiss.IndexIVFFlat(
                faiss.IndexFlatIP(dimensions), dimensions, cells, faiss.METRIC_INNER_PRODUCT
            )
            index.train(vectors)
            index.nprobe = max(cells // 16, 1)
        index.add(vectors)
        return index


def _kind(count: int, gpu: bool) -> str:
    if count <= EXACT:
        return "exact"
    return "hnsw" if count <= GRAPH and not gpu else "ivf"


def _faiss() -> Any:
    try:
        import faiss
    except ImportError:
        raise ModelError(
            "faiss is not installed; pip install 'unlearn-guard[faiss-cpu]' (or [faiss-gpu])"
        ) from None
    return faiss
