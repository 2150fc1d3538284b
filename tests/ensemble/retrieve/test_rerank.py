"""k-reciprocal re-ranking against the dense loops of its published form, and that it puts right what cosines do not."""

from __future__ import annotations

import numpy as np
import pytest

from foldpack.ensemble.retrieve.rerank import Reranked
from foldpack.ensemble.retrieve.retriever import identity_scores
from foldpack.settings.retrieve import Rerank, Retrieval


def published(queries: np.ndarray, gallery: np.ndarray, k1: int, k2: int, own: float) -> np.ndarray:
    """(n, m) final distances, step by step as in the paper (arXiv 1701.08398) and its numpy code, dense."""
    everyone = np.concatenate([queries, gallery]).astype(np.float64)
    squared = ((everyone[:, None] - everyone[None]) ** 2).sum(axis=2)
    distance = squared / squared.max(axis=1, keepdims=True)
    rank = np.argsort(distance, axis=1, kind="stable")
    count = len(everyone)

    def reciprocal(item: int, k: int) -> list[int]:
        return [other for other in rank[item, : k + 1] if item in rank[other, : k + 1]]

    shares = np.zeros((count, count))
    for item in range(count):
        mine = reciprocal(item, k1)
        grown = set(mine)
        for candidate in mine:
            theirs = reciprocal(candidate, int(np.around(k1 / 2)))
            if len(set(theirs) & set(mine)) > 2 / 3 * len(theirs):
                grown |= set(theirs)
        members = sorted(grown)
        weights = np.exp(-distance[item, members])
        shares[item, members] = weights / weights.sum()
    if k2 != 1:
        shares = np.stack([shares[rank[item, :k2]].mean(axis=0) for item in range(count)])
    n = len(queries)
    smaller = np.minimum(shares[:n, None], shares[None, n:]).sum(axis=2)
    return (1 - smaller / (2 - smaller)) * (1 - own) + distance[:n, n:] * own


def crowd(seed: int, queries: int = 11, items: int = 60, dim: int = 6, kinds: int = 7) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    faces, who = rng.normal(size=(kinds, dim)), rng.integers(0, kinds, queries + items)
    made = faces[who] + 0.7 * rng.normal(size=(len(who), dim))
    made = (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)
    return made[:queries], made[queries:], who[:queries], who[queries:]


@pytest.mark.parametrize(("k1", "k2", "own"), [(20, 6, 0.3), (8, 3, 0.0), (5, 1, 0.5), (1, 1, 0.3), (7, 9, 0.2),
                                               (200, 4, 0.3)])
@pytest.mark.parametrize("seed", [0, 1])
def test_distances_are_those_of_the_published_form(k1: int, k2: int, own: float, seed: int,
                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("foldpack.ensemble.retrieve.rerank.BLOCK_ROWS", 13)
    queries, gallery, _, _ = crowd(seed)
    made = Reranked(queries, gallery, Rerank(k1=k1, k2=k2, own=own))
    similar = made.similarities(np.arange(len(queries)))
    np.testing.assert_allclose(1 - similar, published(queries, gallery, k1, k2, own), atol=2e-6)
    np.testing.assert_allclose(made.similarities(np.array([4, 2])), similar[[4, 2]], atol=1e-6)


def test_identities_are_scored_by_the_new_distances() -> None:
    queries, gallery, _, who = crowd(2)
    scores = identity_scores(queries, gallery, who, 7, Retrieval(neighbours=2, rerank=Rerank(k1=8, k2=3)))
    distances = published(queries, gallery, 8, 3, 0.3)
    for identity in range(7):
        nearest = np.sort(distances[:, who == identity], axis=1)[:, :2]
        np.testing.assert_allclose(scores[:, identity], 1 - nearest.mean(axis=1), atol=5e-6)


def test_it_finds_more_than_cosines_do() -> None:
    right = np.zeros(2)
    for seed in range(6):
        queries, gallery, asked, who = crowd(seed + 10, queries=60, items=140, dim=8, kinds=10)
        for place, settings in enumerate((Retrieval(), Retrieval(rerank=Rerank(k1=12, k2=4)))):
            right[place] += (identity_scores(queries, gallery, who, 10, settings).argmax(axis=1) == asked).mean()
    assert right[1] > right[0] + 0.1
