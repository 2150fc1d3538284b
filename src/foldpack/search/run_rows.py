"""What finished runs predict out of fold, as a kernel will blend it: probabilities, values, or scores of identities.

A row an answer: of images that are answered together the mean.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from foldpack.data.answer_groups import mean_of_images
from foldpack.data.rows import Rows
from foldpack.data.runs import Run
from foldpack.ensemble.view_rows import merged_logits, merged_values
from foldpack.search.cells.cells import Cells, dense_cells
from foldpack.search.cells.compact import Stream, compact_cells
from foldpack.search.checks.chance import Reader
from foldpack.search.retrieval.galleries import RunGalleries
from foldpack.settings.outputs import Classes, Vectors

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
    groups, by_image = run.groups, image_reader_of(run)
    if groups is None:
        return by_image

    def read(answers: slice | np.ndarray) -> np.ndarray:
        images, starts = groups.part(answers)
        return mean_of_images(by_image(images), starts)

    return read


def image_reader_of(run: Run) -> RowReader:
    """Some images -> (k, C) float32, views merged."""
    outputs = run.meta.outputs
    if isinstance(outputs, Vectors):
        return RunGalleries(run).scores
    if isinstance(outputs, Classes):
        return lambda images: merged_logits(views_of(run, images), run.meta.merge, outputs).columns["probs"]
    return lambda images: merged_values(views_of(run, images)).columns["value"]


def views_of(run: Run, images: slice | np.ndarray) -> list[Rows]:
    """What is predicted of some images, by view."""
    return [view.pick(images) for view in run.views()]
