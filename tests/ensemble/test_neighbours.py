"""Scores by identity, compared with brute force and with scikit-learn's exact neighbours."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from foldpack.ensemble.neighbours import identity_scores
from foldpack.metrics.ranking import top_k


def unit(count: int, dim: int, seed: int) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def by_hand(queries: np.ndarray, gallery: np.ndarray, labels: np.ndarray, identities: int, count: int) -> np.ndarray:
    scores = np.zeros((len(queries), identities))
    for row, query in enumerate(queries.astype(np.float64)):
        for identity in set(labels.tolist()):
            cosines = sorted((float(query @ item) for item in gallery[labels == identity]), reverse=True)[:count]
            scores[row, identity] = (1 + sum(cosines) / len(cosines)) / 2
    return scores


@pytest.mark.parametrize("neighbours", [1, 2, 3, 100])
@pytest.mark.parametrize("block", [1, 50, 1 << 24])
def test_scores_are_those_of_brute_force_for_any_block(neighbours: int, block: int) -> None:
    queries, gallery = unit(23, 8, 0), unit(41, 8, 1)
    labels = np.random.default_rng(2).integers(0, 7, 41)
    labels[labels == 3] = 4  # an identity that has no item
    labels[7] = 6  # and some that have few
    scores = identity_scores(queries, gallery, labels, 8, neighbours, block=block)
    assert scores.dtype == np.float32 and scores.shape == (23, 8)
    np.testing.assert_allclose(scores, by_hand(queries, gallery, labels, 8, neighbours), atol=1e-6)
    assert (scores[:, [3, 7]] == 0).all()


def test_the_first_place_is_the_nearest_item_of_scikit_learn() -> None:
    queries, gallery, labels = unit(50, 16, 3), unit(200, 16, 4), np.random.default_rng(5).integers(0, 30, 200)
    nearest = NearestNeighbors(n_neighbors=1, metric="cosine", algorithm="brute").fit(gallery)
    distance, place = nearest.kneighbors(queries)
    scores = identity_scores(queries, gallery, labels, 30)
    ranked = top_k(scores, 5)
    assert ranked[:, 0].tolist() == labels[place[:, 0]].tolist()
    np.testing.assert_allclose(scores.max(axis=1), 1 - distance[:, 0] / 2, atol=1e-6)
    assert all(len(set(row)) == 5 for row in ranked.tolist())  # distinct identities, as an answer must have


def test_a_query_that_is_in_the_gallery_scores_one_and_its_opposite_zero() -> None:
    gallery = unit(4, 5, 6)
    scores = identity_scores(np.concatenate([gallery, -gallery]), gallery, np.arange(4), 4)
    np.testing.assert_allclose(np.diagonal(scores[:4]), 1, atol=1e-6)
    np.testing.assert_allclose(np.diagonal(scores[4:]), 0, atol=1e-6)
    assert scores.min() >= 0 and scores.max() <= 1


def test_a_lost_query_scores_nan_and_changes_no_other() -> None:
    queries, gallery, labels = unit(3, 4, 7), unit(6, 4, 8), np.array([0, 0, 1, 1, 2, 2])
    lost = queries.copy()
    lost[1] = np.nan
    scores, whole = identity_scores(lost, gallery, labels, 3, 2), identity_scores(queries, gallery, labels, 3, 2)
    assert np.isnan(scores[1]).all()
    np.testing.assert_allclose(scores[[0, 2]], whole[[0, 2]], atol=1e-6)


def test_the_class_of_none_scores_the_same_for_every_query() -> None:
    queries, gallery, labels = unit(9, 4, 9), unit(6, 4, 10), np.array([0, 0, 1, 1, 2, 2])
    plain, scores = (identity_scores(queries, gallery, labels, 4, none=none) for none in (False, True))
    assert (scores[:, 3] == np.float32(0.25)).all() and (scores[:, :3] == plain[:, :3]).all()
