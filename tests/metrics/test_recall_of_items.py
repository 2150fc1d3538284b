"""Recall@k of retrieval, against pytorch-metric-learning's calculator and brute force; MAP@5 directly."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
from pytorch_metric_learning.utils.inference import CustomKNN

from foldpack.ensemble.retrieve.nearest import nearest_items
from foldpack.ensemble.retrieve.retriever import identity_scores
from foldpack.metrics.ranking import map_at_k, recall_of_items, top_k

pytestmark = pytest.mark.filterwarnings("ignore")


def embeddings(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Noisy pictures of 12 identities, some of which have one picture only."""
    rng = np.random.default_rng(seed)
    y = np.concatenate([rng.integers(0, 8, 60), np.arange(8, 12)])
    vectors = rng.normal(size=(12, 10))[y] + 1.1 * rng.normal(size=(64, 10))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), y


def calculated(queries: np.ndarray, y: np.ndarray, gallery: np.ndarray, identities: np.ndarray, same: bool) -> float:
    from pytorch_metric_learning.distances import CosineSimilarity

    made = AccuracyCalculator(include=("precision_at_1",), k=5, knn_func=CustomKNN(CosineSimilarity()))
    tensors = [torch.from_numpy(one) for one in (queries, y, gallery, identities)]
    return made.get_accuracy(*tensors, ref_includes_query=same)["precision_at_1"]


@pytest.mark.parametrize("seed", [0, 1])
def test_recall_at_one_is_that_of_pytorch_metric_learning(seed: int) -> None:
    """Of a query set and a gallery, and of one set against itself, without the matches of items with themselves.

    Both leave out queries whose identity is not there to be found.
    """
    vectors, y = embeddings(seed)
    queries, asked, gallery, known = vectors[:20], y[:20], vectors[20:50], y[20:50]
    found = known[nearest_items(queries, gallery, 1).places]
    shares = recall_of_items(asked, found, known, [1])[1]
    assert shares == pytest.approx(calculated(queries, asked, gallery, known, False))
    own = y[nearest_items(vectors, vectors, 1, np.arange(64)).places]
    several = np.bincount(y)[y] > 1
    shares = recall_of_items(y[several], own[several], y, [1])[1]
    assert shares == pytest.approx(calculated(vectors, y, vectors, y, True))


def test_every_recall_is_that_of_brute_force() -> None:
    vectors, y = embeddings(2)
    queries, asked, gallery, known = vectors[:20], y[:20], vectors[20:], y[20:]
    asked[0] = 77  # of no identity of the gallery
    found = known[nearest_items(queries, gallery, 32).places]
    recall = recall_of_items(asked, found, known, (1, 2, 4, 8, 16, 32))
    order = np.argsort(-(queries @ gallery.T), axis=1, kind="stable")
    for k, share in recall.items():
        hits = [asked[row] in known[order[row, :k]] for row in range(20) if asked[row] in known]
        assert share == pytest.approx(np.mean(hits))
    assert list(recall.values()) == sorted(recall.values()) and recall[1] < recall[32]
    assert np.isnan(recall_of_items(np.array([99]), found[:1], known, [1])[1])


def test_map_at_five_of_identities_is_that_of_the_order_of_their_nearest_pictures() -> None:
    vectors, y = embeddings(3)
    queries, asked, gallery, known = vectors[:20], y[:20], vectors[20:], y[20:]
    ranked = top_k(identity_scores(queries, gallery, known, 12), 5)
    order, total = np.argsort(-(queries @ gallery.T), axis=1, kind="stable"), 0.0
    for row in range(20):
        distinct = list(dict.fromkeys(known[order[row]].tolist()))[:5]
        assert ranked[row].tolist() == distinct
        total += 1 / (distinct.index(asked[row]) + 1) if asked[row] in distinct else 0.0
    assert map_at_k(asked, ranked, 5) == pytest.approx(total / 20)
