"""The nearest items, compared with a full sort: equal ones by place, in blocks, with a query left out of its own."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foldpack.ensemble.retrieve import nearest
from foldpack.ensemble.retrieve.expand import expand_gallery, expand_vectors
from foldpack.ensemble.retrieve.nearest import nearest_items


def unit(count: int, dim: int, seed: int) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.parametrize(("items", "count", "block"), [(9000, 10, 1 << 22), (9000, 10, 5000), (4100, 3, 1 << 22),
                                                       (300, 40, 1 << 22), (5, 10, 3)])
def test_they_are_those_of_a_full_sort(items: int, count: int, block: int) -> None:
    queries, gallery = unit(7, 8, 0), unit(items, 8, 1)
    found = nearest_items(queries, gallery, count, farthest=True, block=block)
    exact = queries @ gallery.T
    order = np.argsort(-exact, axis=1, kind="stable")[:, :count]
    assert found.places.shape == (7, min(count, items))  # k above the gallery: all of it
    assert (found.places == order).all()
    np.testing.assert_allclose(found.cosines, np.take_along_axis(exact, order, axis=1), atol=1e-6)
    np.testing.assert_allclose(found.lowest, exact.min(axis=1), atol=1e-6)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 200), st.integers(1, 12), st.integers(1, 4))
def test_equal_cosines_go_by_place_whatever_the_blocks(seed: int, items: int, count: int, kinds: int) -> None:
    """Whole numbers: every product is exact, and many are equal."""
    rng = np.random.default_rng(seed)
    queries, gallery = (rng.integers(-kinds, kinds + 1, (n, 2)).astype(np.float32) for n in (3, items))
    order = np.argsort(-(queries @ gallery.T), axis=1, kind="stable")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nearest, "BLOCK_ITEMS", int(rng.integers(20, 300)))
        patch.setattr(nearest, "GROUP_ITEMS", int(rng.integers(1, 4)))
        found = nearest_items(queries, gallery, count, block=int(rng.integers(1, 900)))
        own = rng.integers(0, items, 3)
        others = nearest_items(queries, gallery, count, own)
    assert (found.places == order[:, :count]).all()
    for row in range(3):
        assert others.places[row].tolist() == [place for place in order[row] if place != own[row]][:count]


def test_a_lost_query_has_no_neighbour() -> None:
    queries = unit(3, 4, 2)
    queries[1, 2] = np.nan
    found = nearest_items(queries, unit(6, 4, 3), 2)
    assert (found.places[1] == -1).all() and np.isnan(found.cosines[1]).all()
    assert (found.places[[0, 2]] >= 0).all()


@pytest.mark.parametrize("alpha", [0.0, 1.0, 3.0])
def test_expansion_adds_the_nearest_by_a_power_of_their_cosine(alpha: float) -> None:
    queries, gallery = unit(4, 5, 4), unit(30, 5, 5)
    queries[2] = -gallery.mean(axis=0) / np.linalg.norm(gallery.mean(axis=0))
    expanded = expand_vectors(queries, gallery, 6, alpha)
    for row, query in enumerate(queries.astype(np.float64)):
        cosines = gallery @ query
        nearest_six = np.argsort(-cosines, kind="stable")[:6]
        summed = query + (np.maximum(cosines[nearest_six], 0)[:, None] ** alpha * gallery[nearest_six]).sum(axis=0)
        np.testing.assert_allclose(expanded[row], summed / np.linalg.norm(summed), atol=1e-5)


def test_an_item_of_a_gallery_is_expanded_by_others_alone() -> None:
    gallery = unit(12, 6, 6)
    gallery[3] = gallery[8]  # a copy is another item
    expanded = expand_gallery(gallery, 2, 3.0)
    for row in range(12):
        others = np.delete(np.arange(12), row)
        cosines = gallery[others] @ gallery[row]
        two = np.argsort(-cosines, kind="stable")[:2]
        summed = gallery[row] + (np.maximum(cosines[two], 0)[:, None] ** 3 * gallery[others[two]]).sum(axis=0)
        np.testing.assert_allclose(expanded[row], summed / np.linalg.norm(summed), atol=1e-5)
    assert (expand_gallery(gallery[:1], 2, 3.0) == gallery[:1]).all()
