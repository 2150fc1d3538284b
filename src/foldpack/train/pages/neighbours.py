"""Out-of-fold queries, the galleries that they are compared with, which never hold them, and what lies nearest."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from foldpack.data.runs import Run, gallery_path
from foldpack.ensemble.view_rows import merged_vectors
from foldpack.errors import DataError
from foldpack.models.gallery import Gallery, read_gallery

SHOWN = 3  # nearest items of a query


@dataclass(frozen=True, eq=False)
class FoldSpace:
    """What the networks of one fold make of the items that they did not learn from, and of those that they did.

    queries: (q,) int, rows of the run; vectors: (q, D) and gallery: (m, D) float32 of length 1; identities: (m,) int;
    items: (m,) int, the gallery's rows of the run; None where it has items that the run does not predict.
    """

    fold: int
    queries: np.ndarray
    vectors: np.ndarray
    gallery: np.ndarray
    identities: np.ndarray
    items: np.ndarray | None


def run_spaces(run: Run, labels: np.ndarray) -> list[FoldSpace]:
    """Of a run of task embed, fold by fold. labels: (n,) int, as `gallery_rows` takes them.

    Raises ModelError for a gallery that is missing or of other weights.
    """
    vectors, spaces = merged_vectors(run.views()).columns["vector"], []
    for one in run.meta.folds:
        gallery = read_gallery(gallery_path(run.folder, one.fold), one.sha256)
        rows = np.flatnonzero(run.fold == one.fold)
        spaces.append(FoldSpace(one.fold, rows, np.asarray(vectors[rows], dtype=np.float32), gallery.vectors,
                                gallery.identities, gallery_rows(run, labels, one.fold, gallery)))
    return spaces


def gallery_rows(run: Run, labels: np.ndarray, fold: int, gallery: Gallery) -> np.ndarray | None:
    """(m,) int: the rows of the run that the items of a gallery are; None where they are not known.

    A gallery does not name its items: they are the run's own images of the other folds, in order, where all folds were
    trained. labels: (n,) int, the identities of the run's images by the competition; its `targets` count one that only
    the image's own fold has as none.
    """
    rows = np.flatnonzero((run.fold != fold) & (labels < len(run.meta.classes) - run.meta.none))
    return rows if np.array_equal(labels[rows], gallery.identities) else None


def joined_spaces(members: list[list[FoldSpace]], weights: list[float], source: str) -> list[FoldSpace]:
    """Several runs as one: a cosine is the mean of theirs by weight, as that of vectors side by side is.

    Raises DataError where their galleries have other items. source: what names the runs.
    """
    shares = np.sqrt(np.asarray(weights, dtype=np.float32) / np.float32(sum(weights)))
    joined = []
    for spaces in zip(*members, strict=True):
        first = spaces[0]
        if any(not np.array_equal(first.identities, other.identities) for other in spaces):
            raise DataError(f"{source}: the galleries of fold {first.fold} have other items by run; train the runs "
                            "again, on the same labels")
        vectors, gallery = (np.concatenate([share * part for share, part in zip(shares, parts, strict=True)], axis=1)
                            for parts in ([one.vectors for one in spaces], [one.gallery for one in spaces]))
        joined.append(replace(first, vectors=vectors, gallery=gallery))
    return joined


def unknown_note(spaces: list[FoldSpace]) -> str:
    """Why neighbours have no pictures; "" where they have."""
    unknown = sorted(space.fold for space in spaces if space.items is None)
    return (f"the gallery of fold {unknown[0]} has items that this run does not predict, so its neighbours have no "
            "pictures; train all folds") if unknown else ""


class Neighbours:
    """What lies nearest to each query of a run. note: why neighbours have no pictures."""

    def __init__(self, run: Run, labels: np.ndarray) -> None:
        """labels: (n,) int, as `gallery_rows` takes them. Raises ModelError for a gallery that is missing or of other
        weights."""
        spaces = run_spaces(run, labels)
        self.note = unknown_note(spaces)
        self._spaces = {space.fold: space for space in spaces}
        self._fold = run.fold

    def of(self, row: int) -> list[tuple[int | None, int, float]]:
        """(row of the run or None, identity, cosine) of the nearest gallery items of an image, the nearest first."""
        space = self._spaces[int(self._fold[row])]
        cosines = space.gallery @ space.vectors[np.searchsorted(space.queries, row)]
        return [(None if space.items is None else int(space.items[place]), int(space.identities[place]),
                 float(cosines[place])) for place in np.argsort(-cosines, kind="stable")[:SHOWN].tolist()]
