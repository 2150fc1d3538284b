"""What finished runs predict out of fold, as a kernel will blend it: probabilities, values, or scores of identities."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from foldpack.data.runs import Run, gallery_path, read_array
from foldpack.ensemble.neighbours import identity_scores
from foldpack.ensemble.view_merge import merge_view_probs, merge_view_values, merge_view_vectors
from foldpack.models.gallery import read_gallery
from foldpack.search.cells.cells import Cells, dense_cells
from foldpack.search.cells.compact import Stream, compact_cells
from foldpack.search.checks.chance import Reader

RowReader = Callable[[slice | np.ndarray], np.ndarray]  # some rows -> (rows, C) float32, views merged


def run_cells(runs: list[Run], progress: Callable[[str, float], None] | None = None) -> Cells:
    """The runs' predictions; in a compact store where they are too many for memory. Of values each is a row."""
    first = runs[0]
    if first.meta.task == "regress":
        values = [run_reader_of(run)(slice(None)).reshape(-1) for run in runs]
        return dense_cells(np.stack(values), np.asarray(first.targets).reshape(-1))
    report = None if progress is None else lambda share: progress("reading", share)
    return compact_cells([run_stream(run) for run in runs], np.asarray(first.targets), len(first.meta.classes),
                         progress=report)


def cell_folds(run: Run) -> np.ndarray:
    """The fold of each item of `run_cells`."""
    return np.repeat(run.fold, len(run.meta.classes)) if run.meta.task == "regress" else run.fold


def run_stream(run: Run) -> Stream:
    """(first, end) -> the run's predictions of these rows."""
    read = run_reader_of(run)
    return lambda first, end: read(slice(first, end))


def run_reader(runs: list[Run]) -> Reader:
    """(run, items) -> its predictions of these items."""
    return lambda m, items: run_reader_of(runs[m])(items)


def run_reader_of(run: Run) -> RowReader:
    """Reads from the run's file, which is mapped anew each time: pages of a map that stays open count as memory of this
    process."""
    path, meta = run.folder / "oof.npy", run.meta
    if meta.task == "regress":
        return lambda rows: merge_view_values(read_array(path)[:, rows])
    if meta.embed is not None:
        return lambda rows: neighbour_scores(run, rows, merge_view_vectors(read_array(path)[:, rows]))
    return lambda rows: merge_view_probs(read_array(path)[:, rows], meta.task, meta.merge)


def neighbour_scores(run: Run, rows: slice | np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """(rows, C) float32: what each row's own fold finds in its gallery. Raises ModelError for one that does not fit."""
    meta, fold = run.meta, run.fold[rows]
    assert meta.embed is not None
    scores = np.empty((len(vectors), len(meta.classes)), dtype=np.float32)
    for one in meta.folds:
        inside = fold == one.fold
        if inside.any():
            gallery = read_gallery(gallery_path(run.folder, one.fold), one.sha256)
            scores[inside] = identity_scores(vectors[inside], gallery.vectors, gallery.identities, len(meta.classes),
                                             meta.embed.neighbours, meta.none)
    return scores
