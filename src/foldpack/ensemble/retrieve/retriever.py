"""Retrieval: how near a query is to every identity of a gallery, by exact cosine similarity, in bounded memory."""

from __future__ import annotations

import numpy as np
import torch

from foldpack.ensemble.retrieve.calibrate import calibrate_scores
from foldpack.ensemble.retrieve.expand import expand_gallery, expand_vectors
from foldpack.ensemble.retrieve.identities import IdentityOrder, identity_centres, pool_block
from foldpack.ensemble.retrieve.nearest import (
    BLOCK_SIMILARITIES,
    RetrievalError,
    block_sizes,
    check_vectors,
    finite_rows_of,
    row_parts,
)
from foldpack.ensemble.retrieve.rerank import Reranked
from foldpack.settings.retrieve import Retrieval


class Retriever:
    """A gallery that queries can be compared with, by some settings."""

    def __init__(self, gallery: np.ndarray, labels: np.ndarray, classes: int, settings: Retrieval,
                 none: bool = False) -> None:
        """gallery: (m, D) float32 of length 1; labels: (m,) int, the identity of each of its items, below `classes`;
        none: the last class is no identity. Raises RetrievalError."""
        check_vectors(gallery[:0], gallery)
        if not 0 <= labels.min() <= labels.max() < classes - none:
            raise RetrievalError(f"the gallery has identities {labels.min()} to {labels.max()}, and there are "
                                 f"{classes - none}: 0 to {classes - none - 1}; take the gallery of this very run")
        self.classes, self.settings, self.none = classes, settings, none
        if settings.expand_gallery:
            gallery = expand_gallery(gallery, settings.expand_gallery, settings.alpha)
        self.order = IdentityOrder(labels)
        self.gallery = gallery
        self.items = gallery[self.order.order]  # side by side where they are of one identity
        self.centres = identity_centres(gallery, self.order, labels) if settings.centres else None

    def ask(self, queries: np.ndarray) -> Asked:
        """Queries that are compared with the gallery, and with one another where they are ranked again.

        queries: (n, D) float32 of length 1; one of NaN is lost. Raises RetrievalError for another D.
        """
        check_vectors(queries, self.gallery)
        if self.settings.expand_query:
            queries = expand_vectors(queries, self.gallery, self.settings.expand_query, self.settings.alpha)
        return Asked(self, queries)

    def scores(self, queries: np.ndarray, block: int = BLOCK_SIMILARITIES) -> np.ndarray:
        """(n, classes) float32 in [0, 1] of all queries: see `Asked.scores`."""
        return self.ask(queries).scores(np.arange(len(queries)), block)


class Asked:
    """Queries and a gallery."""

    def __init__(self, retriever: Retriever, queries: np.ndarray) -> None:
        self.retriever, self.queries = retriever, queries
        finite = finite_rows_of(queries)
        self.place = np.where(finite, np.cumsum(finite) - 1, -1)  # among those that are not lost
        rerank = retriever.settings.rerank
        self.reranked = None
        if rerank is not None and finite.any():
            self.reranked = Reranked(queries[finite], retriever.items, rerank)

    def scores(self, rows: np.ndarray, block: int = BLOCK_SIMILARITIES) -> np.ndarray:
        """(r, classes) float32 in [0, 1]: (1 + s) / 2, s the mean cosine of an identity's nearest gallery items, of
        some queries; ranked again, the same of 1 - distance; then calibrated.

        An identity without any item scores 0, a lost query NaN. Of `none` the last class is no identity: all queries
        score the same there, so that a blend does not see it. rows: (r,) int; block: similarities in memory at a time.
        """
        scores = np.empty((len(rows), self.retriever.classes), dtype=np.float32)
        for part in row_parts(np.arange(len(rows)), self.retriever.classes, block):
            scores[part[0] : part[-1] + 1] = self.part_scores(rows[part], block)
        return scores

    def part_scores(self, rows: np.ndarray, block: int) -> np.ndarray:
        """The same of so few rows that their scores are no larger than a block."""
        made, present = self.retriever, self.retriever.order.present
        scores = np.zeros((len(rows), made.classes), dtype=np.float32)
        there = np.flatnonzero(self.place[rows] >= 0)
        near = np.full((len(rows), len(present)), np.nan, dtype=np.float32)
        near[there] = self.near_scores(rows[there], block)
        if made.centres is not None:
            share = np.float32(made.settings.centres)
            near = (1 - share) * near + share * (1 + self.queries[rows] @ made.centres.T) / 2
        scores[:, present] = calibrate_scores(np.clip(near, 0, 1), made.settings.calibration)
        if made.none:
            scores[:, -1] = 1 / made.classes
        return scores

    def near_scores(self, rows: np.ndarray, block: int) -> np.ndarray:
        """(r, P) float32: by the nearest items of each identity that has any. rows: of queries that are not lost."""
        made, items = self.retriever, self.retriever.items
        near = np.empty((len(rows), len(made.order.present)), dtype=np.float32)
        if self.reranked is not None:
            whole = next(made.order.blocks(len(items)))
            for part in row_parts(np.arange(len(rows)), len(items), block):
                similar = torch.from_numpy(self.reranked.similarities(self.place[rows[part]]))
                near[np.ix_(part, whole.columns)] = pool_block(similar, whole, made.settings)
            return near
        blocks = block_sizes(len(rows) * items.size, block)
        for some in made.order.blocks(blocks.items):
            there = blocks.load(items[some.first : some.end])
            for part in row_parts(np.arange(len(rows)), len(there), blocks.similarities):
                similar = blocks.multiply(self.queries[rows[part]], there)
                near[np.ix_(part, some.columns)] = (1 + pool_block(similar, some, made.settings)) / 2
        return near


def identity_scores(queries: np.ndarray, gallery: np.ndarray, labels: np.ndarray, classes: int,
                    settings: Retrieval | None = None, none: bool = False) -> np.ndarray:
    """(n, classes) float32 in [0, 1]: see `Asked.scores`. gallery: (m, D) float32; labels: (m,) int."""
    return Retriever(gallery, labels, classes, settings or Retrieval(), none).scores(queries)
