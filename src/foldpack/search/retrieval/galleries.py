"""Out-of-fold scores of identities: what each query finds in the gallery of its own fold, which never holds itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from foldpack.data.runs import FoldMeta, Run, gallery_path
from foldpack.ensemble.view_rows import merged_vectors
from foldpack.settings.retrieve import Retrieval

if TYPE_CHECKING:
    from foldpack.ensemble.retrieve.retriever import Asked, Retriever

KEPT_BYTES = 1 << 30  # of galleries in memory; of larger ones that of one fold


class RunGalleries:
    """The galleries of a run, opened when a query of their fold comes. settings: how queries are compared with them."""

    def __init__(self, run: Run, settings: Retrieval | None = None) -> None:
        assert run.meta.embed is not None  # as every run of vectors has
        self.run, self.settings = run, settings or run.meta.embed.retrieval
        self._retrievers: dict[int, Retriever] = {}
        self._asked: dict[int, Asked] = {}

    def scores(self, images: slice | np.ndarray) -> np.ndarray:
        """(k, classes) float32 of some images. Raises ModelError for a gallery that does not belong to the run."""
        places = np.arange(len(self.run.ids))[images]
        fold = self.run.fold[places]
        scores = np.empty((len(places), len(self.run.meta.classes)), dtype=np.float32)
        for one in self.run.meta.folds:
            inside = np.flatnonzero(fold == one.fold)
            if len(inside):
                scores[inside] = self.fold_scores(one, places[inside])
        return scores

    def fold_scores(self, fold: FoldMeta, places: np.ndarray) -> np.ndarray:
        """The same of images of one fold. Ranked again, the fold's queries are looked at together."""
        retriever = self.retriever(fold)
        if self.settings.rerank is None:
            return retriever.scores(self.vectors(places))
        every = np.flatnonzero(self.run.fold == fold.fold)
        if fold.fold not in self._asked:
            self._asked[fold.fold] = retriever.ask(self.vectors(every))
        return self._asked[fold.fold].scores(np.searchsorted(every, places))

    def vectors(self, places: np.ndarray) -> np.ndarray:
        """(k, D) float32, views merged."""
        return merged_vectors([view.pick(places) for view in self.run.views()]).columns["vector"]

    def retriever(self, fold: FoldMeta) -> Retriever:
        """The gallery of a fold."""
        from foldpack.ensemble.retrieve.retriever import Retriever  # torch takes seconds, and other runs need none
        from foldpack.models.gallery import read_gallery

        if fold.fold not in self._retrievers:
            gallery = read_gallery(gallery_path(self.run.folder, fold.fold), fold.sha256)
            if gallery.vectors.nbytes * len(self.run.meta.folds) > KEPT_BYTES:
                self._retrievers.clear()
                self._asked.clear()
            self._retrievers[fold.fold] = Retriever(gallery.vectors, gallery.identities, len(self.run.meta.classes),
                                                    self.settings, self.run.meta.none)
        return self._retrievers[fold.fold]
