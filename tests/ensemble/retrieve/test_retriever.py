"""Scores by identity, compared with brute force and with scikit-learn's exact neighbours."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from foldpack.ensemble.retrieve.nearest import RetrievalError
from foldpack.ensemble.retrieve.retriever import Retriever, identity_scores
from foldpack.metrics.ranking import top_k
from foldpack.settings.retrieve import Calibration, Rerank, Retrieval


def unit(count: int, dim: int, seed: int) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


EVERYTHING = Retrieval(neighbours=2, softmax=0.1, centres=0.3, expand_query=2, expand_gallery=1, alpha=2.0,
                       rerank=Rerank(k1=3, k2=2, own=0.4),
                       calibration=Calibration(kind="sigmoid", scale=9.0, shift=0.6))


def by_hand(queries: np.ndarray, gallery: np.ndarray, labels: np.ndarray, identities: int, count: int) -> np.ndarray:
    scores = np.zeros((len(queries), identities))
    for row, query in enumerate(queries.astype(np.float64)):
        for identity in set(labels.tolist()):
            cosines = sorted((float(query @ item) for item in gallery[labels == identity]), reverse=True)[:count]
            scores[row, identity] = (1 + sum(cosines) / len(cosines)) / 2
    return scores


@pytest.mark.parametrize("neighbours", [1, 2, 3, 100])
@pytest.mark.parametrize("block", [1, 50, 1 << 22])
def test_scores_are_those_of_brute_force_for_any_block(neighbours: int, block: int) -> None:
    queries, gallery = unit(23, 8, 0), unit(41, 8, 1)
    labels = np.random.default_rng(2).integers(0, 7, 41)
    labels[labels == 3] = 4  # an identity that has no item
    labels[7] = 6  # and some that have few
    scores = Retriever(gallery, labels, 8, Retrieval(neighbours=neighbours)).scores(queries, block)
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
    for settings in (Retrieval(neighbours=2), EVERYTHING):
        scores, whole = (identity_scores(each, gallery, labels, 3, settings) for each in (lost, queries[[0, 2]]))
        assert np.isnan(scores[1]).all()
        np.testing.assert_allclose(scores[[0, 2]], whole, atol=1e-6)


def test_the_class_of_none_scores_the_same_for_every_query() -> None:
    queries, gallery, labels = unit(9, 4, 9), unit(6, 4, 10), np.array([0, 0, 1, 1, 2, 2])
    plain, scores = (identity_scores(queries, gallery, labels, 4, none=none) for none in (False, True))
    assert (scores[:, 3] == np.float32(0.25)).all() and (scores[:, :3] == plain[:, :3]).all()


def kin(seed: int, identities: int = 6, pictures: int = 5, dim: int = 12) -> tuple[np.ndarray, ...]:
    """Queries and a gallery of noisy identities, and who they are."""
    rng = np.random.default_rng(seed)
    faces = rng.normal(size=(identities, dim))
    labels = np.repeat(np.arange(identities), pictures)
    made = [faces[who] + 0.9 * rng.normal(size=(len(who), dim)) for who in (np.arange(identities), labels)]
    queries, gallery = ((one / np.linalg.norm(one, axis=1, keepdims=True)).astype(np.float32) for one in made)
    return queries, gallery, labels


def test_softmax_weighs_the_nearest_by_their_cosine() -> None:
    queries, gallery, labels = kin(1)
    scores = identity_scores(queries, gallery, labels, 6, Retrieval(neighbours=3, softmax=0.05))
    for row, query in enumerate(queries.astype(np.float64)):
        for identity in range(6):
            nearest = np.sort(gallery[labels == identity] @ query)[-3:]
            weights = np.exp(nearest / 0.05)
            assert scores[row, identity] == pytest.approx((1 + (weights * nearest).sum() / weights.sum()) / 2, abs=1e-5)
    highest, mean = (identity_scores(queries, gallery, labels, 6, one)
                     for one in (Retrieval(neighbours=1), Retrieval(neighbours=3)))
    cold = identity_scores(queries, gallery, labels, 6, Retrieval(neighbours=3, softmax=1e-4))
    warm = identity_scores(queries, gallery, labels, 6, Retrieval(neighbours=3, softmax=1e4))
    np.testing.assert_allclose(cold, highest, atol=1e-4)
    np.testing.assert_allclose(warm, mean, atol=1e-4)


def test_centres_take_their_share_of_the_score() -> None:
    queries, gallery, labels = kin(2)
    near, both, far = (identity_scores(queries, gallery, labels, 6, Retrieval(centres=share)) for share in (0, 0.25, 1))
    centres = np.stack([gallery[labels == identity].mean(axis=0) for identity in range(6)])
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    np.testing.assert_allclose(far, (1 + queries @ centres.T) / 2, atol=1e-6)
    np.testing.assert_allclose(both, 0.75 * near + 0.25 * far, atol=1e-6)


@pytest.mark.parametrize("how", [Calibration(kind="softmax", scale=20.0),
                                 Calibration(kind="sigmoid", scale=15.0, shift=0.7)])
def test_calibration_is_of_the_identities_that_are_there(how: Calibration) -> None:
    queries, gallery, labels = kin(3)
    plain = identity_scores(queries, gallery, labels, 8, none=True)[:, :6].astype(np.float64)
    scores = identity_scores(queries, gallery, labels, 8, Retrieval(calibration=how), none=True)
    expected = 1 / (1 + np.exp(-how.scale * (plain - how.shift)))
    if how.kind == "softmax":
        expected = np.exp(how.scale * plain) / np.exp(how.scale * plain).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(scores[:, :6], expected, atol=1e-5)
    assert (scores[:, 6] == 0).all() and (scores[:, 7] == np.float32(1 / 8)).all()


@pytest.mark.parametrize("change", [
    {"neighbours": 2}, {"neighbours": 3, "softmax": 0.05}, {"centres": 0.5}, {"expand_query": 2}, {"expand_gallery": 2},
    {"expand_query": 2, "alpha": 1.0}, {"rerank": Rerank(k1=4, k2=2)}, {"rerank": Rerank(k1=3, k2=2)},
    {"rerank": Rerank(k1=4, k2=1)}, {"rerank": Rerank(k1=4, k2=2, own=0.5)},
    {"calibration": Calibration(kind="softmax", scale=5.0)},
    {"calibration": Calibration(kind="sigmoid", scale=5.0)},
    {"calibration": Calibration(kind="sigmoid", scale=5.0, shift=0.2)}])
def test_every_setting_matters(change: dict) -> None:
    queries, gallery, labels = kin(4)
    plain, scores = (identity_scores(queries, gallery, labels, 6, one) for one in (Retrieval(), Retrieval(**change)))
    assert np.abs(plain - scores).max() > 1e-3 and (top_k(scores, 1)[:, 0] == np.arange(6)).mean() > 0.5
    less = [name for name in ("softmax", "alpha") if name in change]
    without = Retrieval(**{name: value for name, value in change.items() if name not in less})
    assert not less or np.abs(identity_scores(queries, gallery, labels, 6, without) - scores).max() > 1e-4


def test_an_identity_with_one_picture_and_one_with_none_are_ranked_with_the_others() -> None:
    queries, gallery, labels = kin(5, pictures=4)
    kept = (labels != 2) & (np.arange(24) % 4 != 0) | (np.arange(24) == 5)  # of 2 none, of 1 two, of the others three
    kept &= (labels != 4) | (np.arange(24) == 18)  # of 4 one
    scores = identity_scores(queries, gallery[kept], labels[kept], 6, Retrieval(neighbours=3))
    assert (scores[:, 2] == 0).all()
    np.testing.assert_allclose(scores[:, 4], (1 + queries @ gallery[18]) / 2, atol=1e-6)
    assert sorted(top_k(scores, 5)[0].tolist()) == sorted(set(range(6)) - {2})  # it comes last


def test_a_copy_of_a_gallery_picture_is_its_own_nearest() -> None:
    """Copies between queries and gallery are not looked for: `foldpack groups` keeps them out of folds."""
    _, gallery, labels = kin(6)
    scores = identity_scores(gallery[7:8], gallery, labels, 6, Retrieval())
    assert scores[0].argmax() == labels[7] and scores[0].max() == pytest.approx(1, abs=1e-6)


def test_what_does_not_fit_is_said() -> None:
    queries, gallery, labels = kin(7)
    with pytest.raises(RetrievalError, match="the gallery is empty, so no identity can be found"):
        identity_scores(queries, gallery[:0], labels[:0], 6)
    with pytest.raises(RetrievalError, match=r"queries of shape \(6, 8\) and a gallery of shape \(30, 12\); needed"):
        identity_scores(queries[:, :8], gallery, labels, 6)
    with pytest.raises(RetrievalError, match="the gallery has identities 0 to 5, and there are 5: 0 to 4"):
        identity_scores(queries, gallery, labels, 6, none=True)
