"""Alpha query expansion and database-side augmentation: vectors with what lies nearest to them added."""

from __future__ import annotations

import numpy as np

from foldpack.ensemble.retrieve.identities import unit_rows
from foldpack.ensemble.retrieve.nearest import BLOCK_SIMILARITIES, nearest_items, row_parts


def expand_vectors(vectors: np.ndarray, gallery: np.ndarray, count: int, alpha: float,
                   own: np.ndarray | None = None) -> np.ndarray:
    """(n, D) float32: the direction of each vector + the sum of its `count` nearest gallery items, each times its
    cosine (0 where it is below 0) to the power of alpha.

    vectors: (n, D) and gallery: (m, D) float32 of length 1; a vector that is not finite stays. own: the place of each
    in the gallery, which is not added. Of queries: Radenovic et al. 2019, arXiv 1711.02512, where alpha is 3, and 0 is
    the average query expansion of Chum et al. 2007; of the gallery itself: Arandjelovic and Zisserman 2012.
    """
    found = nearest_items(vectors, gallery, count, own)
    expanded = vectors.copy()
    for rows in row_parts(np.flatnonzero(found.places[:, :1] >= 0), count * gallery.shape[1], BLOCK_SIMILARITIES):
        weights = np.maximum(found.cosines[rows], 0) ** np.float32(alpha)
        added = np.einsum("nk,nkd->nd", weights, gallery[found.places[rows]])
        expanded[rows] = unit_rows(vectors[rows] + added)
    return expanded


def expand_gallery(gallery: np.ndarray, count: int, alpha: float) -> np.ndarray:
    """Every item of a gallery with its `count` nearest other ones added. A gallery of one item stays."""
    if len(gallery) < 2:
        return gallery
    return expand_vectors(gallery, gallery, count, alpha, np.arange(len(gallery)))
