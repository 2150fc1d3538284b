"""What finished runs predict out of fold, as a kernel will blend it: probabilities, values, or scores of identities.

A row an answer: of images that are answered together the mean.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from foldpack.data.answer_groups import mean_of_images
from foldpack.data.runs import Run, gallery_path
from foldpack.ensemble.neighbours import identity_scores
from foldpack.ensemble.view_rows import merged_logits, merged_values, merged_vectors
from foldpack.search.cells.cells import Cells, dense_cells
from foldpack.search.cells.compact import Stream, compact_cells
from foldpack.search.checks.chance import Reader
from foldpack.settings.outputs import Classes

RowReader = Callable[[slice | np.ndarray], np.ndarray]  # some answers -> (k, C) float32, views merged


def run_cells(runs: list[Run], progress: Callable[[str, float], None] | None = None) -> Cells:
    """The runs' predictions; in a compact store where they are too many for memory. Of values each is a row."""
    first, targets = runs[0], run_truth(runs[0])
    if first.meta.task == "regress":
        values = [run_reader_of(run)(slice(None)).reshape(-1) for run in runs]
        return dense_cells(np.stack(values), targets.reshape(-1))
    report = None if progress is None else lambda share: progress("reading", share)
    return compact_cells([run_stream(run) for run in runs], targets, len(first.meta.classes), progress=report)


def run_truth(run: Run) -> np.ndarray:
    """The targets of the answers. Raises DataError where images of one answer have different labels."""
    targets = np.asarray(run.targets)
    return targets if run.groups is None else run.groups.truth(targets, run.folder / "targets.npy")


def cell_folds(run: Run) -> np.ndarray:
    """The fold of each item of `run_cells`."""
    fold = run.fold if run.groups is None else run.fold[run.groups.first]
    return np.repeat(fold, len(run.meta.classes)) if run.meta.task == "regress" else fold


def run_stream(run: Run) -> Stream:
    """(first, end) -> the run's predictions of these answers."""
    read = run_reader_of(run)
    return lambda first, end: read(slice(first, end))


def run_reader(runs: list[Run]) -> Reader:
    """(run, answers) -> its predictions of these answers."""
    return lambda m, items: run_reader_of(runs[m])(items)


def run_reader_of(run: Run) -> RowReader:
    """Reads from the run's files."""
    groups = run.groups
    if groups is None:
        return lambda answers: image_rows(run, answers)

    def read(answers: slice | np.ndarray) -> np.ndarray:
        images, starts = groups.part(answers)
        return mean_of_images(image_rows(run, images), starts)

    return read


def image_rows(run: Run, images: slice | np.ndarray) -> np.ndarray:
    """(k, C) float32 of some images, views merged."""
    views, outputs = [view.pick(images) for view in run.views()], run.meta.outputs
    if isinstance(outputs, Classes):
        return merged_logits(views, run.meta.merge, outputs).columns["probs"]
    if run.meta.embed is None:
        return merged_values(views).columns["value"]
    return neighbour_scores(run, images, merged_vectors(views).columns["vector"])


def neighbour_scores(run: Run, rows: slice | np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """(rows, C) float32: what each row's own fold finds in its gallery. Raises ModelError for one that does not fit."""
    from foldpack.models.gallery import read_gallery  # torch takes seconds, and other runs need none

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
