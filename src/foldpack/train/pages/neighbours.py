"""What lies nearest to a query in the gallery of the fold that did not learn from it."""

from __future__ import annotations

import numpy as np

from foldpack.data.runs import Run, gallery_path
from foldpack.ensemble.view_rows import merged_vectors
from foldpack.models.gallery import Gallery, read_gallery

SHOWN = 3  # nearest items of a query


class Neighbours:
    """The galleries of a run of task embed. A gallery does not name its items: they are the run's own images of the
    other folds, in order, where all folds were trained; `note` says where they are not known."""

    def __init__(self, run: Run) -> None:
        """Raises ModelError for a gallery that is missing or of other weights."""
        self.run = run
        self.vectors = merged_vectors(run.views()).columns["vector"]
        self.galleries: dict[int, tuple[Gallery, np.ndarray | None]] = {}
        identities = np.asarray(run.targets)
        for one in run.meta.folds:
            gallery = read_gallery(gallery_path(run.folder, one.fold), one.sha256)
            rows = np.flatnonzero((run.fold != one.fold) & (identities < len(run.meta.classes) - run.meta.none))
            known = np.array_equal(identities[rows], gallery.identities)
            self.galleries[one.fold] = gallery, rows if known else None
        unknown = sorted(fold for fold, (_, rows) in self.galleries.items() if rows is None)
        self.note = (f"the gallery of fold {unknown[0]} has items that this run does not predict, so its neighbours "
                     "have no pictures; train all folds") if unknown else ""

    def of(self, row: int) -> list[tuple[int | None, int, float]]:
        """(row of the run or None, identity, cosine) of the nearest gallery items of an image, the nearest first."""
        gallery, rows = self.galleries[int(self.run.fold[row])]
        cosines = gallery.vectors @ self.vectors[row]
        return [(None if rows is None else int(rows[place]), int(gallery.identities[place]), float(cosines[place]))
                for place in np.argsort(-cosines, kind="stable")[:SHOWN].tolist()]
