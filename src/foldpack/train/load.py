"""The training set of a run: folds.csv joined with images and truth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from foldpack.competitions.adapters import answer_form
from foldpack.competitions.protocol import Competition, require_images
from foldpack.data.decode import PILLOW
from foldpack.data.depth import depth_warning
from foldpack.data.folds import read_folds
from foldpack.data.geometry import canvas_kind
from foldpack.data.items import Items
from foldpack.data.readers.protocol import reader_record
from foldpack.errors import DataError
from foldpack.search.decide.queries import queries_of
from foldpack.settings.label_kinds import QueriesConfig
from foldpack.settings.run import RunConfig
from foldpack.train.dataset import TrainingSet
from foldpack.train.extra_labels.attach import attach_labels
from foldpack.train.images.picked import TrainingPixels
from foldpack.train.images.source import TrainingImages, open_images, unseen_images
from foldpack.train.loop.states import sizes_digest
from foldpack.train.targets import number_columns, training_targets, training_task

Say = Callable[[str], None]
CACHE = ".decoded"  # beside the runs: decoded images, which they share


@dataclass(frozen=True)
class Where:
    """Where a run is trained, and what it is trained on."""

    data: Path  # the competition's folder
    folds_csv: Path
    runs: Path
    cache: Path | None = None  # folder for decoded images; None: beside the runs
    shared: bool = False  # several processes of this machine train on the same images
    here: bool = True  # False: elsewhere; then no image is looked at, and no GPU is asked for


def load_training_set(
    config: RunConfig, competition: Competition, root: Path, folds_csv: Path, say: Say = print,
    cache: Path = Path(CACHE), shared: bool = False, here: bool = True
) -> TrainingSet:
    """Join folds.csv (ids and folds) with images and truth; says which were damaged and repaired.

    cache: folder for decoded images that are kept on the disk; shared: as of `open_images`; here: whether images are
    looked at. Broken ones are an error, or left out, as the configuration says. Raises DataError.
    """
    table = read_folds(folds_csv)
    if not len(table):
        raise DataError(f"{folds_csv}: the table has no rows; make the folds with `foldpack folds`")
    whole = competition.train(root)
    labelled = whole.take(table["id"].tolist(), folds_csv)
    if (form := answer_form(competition)) is not None:
        form.check_names(labelled.classes)  # hours before the kernel would say so
    items = labelled.items
    require_images(items, folds_csv)
    for note in items.notes:
        say(f"warning: {note}")
    task = training_task(config, competition.task)
    targets, classes = training_targets(task, labelled)
    none, fold = labelled.none and task == "embed", table["fold"].to_numpy()
    require_whole_answers(items, targets, fold, folds_csv)
    kind = canvas_kind(config.net)

    def opened(asked: Items) -> TrainingImages:
        return open_images(asked, kind, config.images, cache, say, shared) if here else unseen_images(asked, kind)

    images = opened(items)
    tell_images(config, images, folds_csv, say)
    data = TrainingSet(items.ids, images.pixels, targets, fold, classes, task, none, items.answer,
                       reader_record(items.reader, PILLOW), number_columns(config, labelled, whole.source),
                       queries=queries_of(competition) if task == "embed" else QueriesConfig(),
                       images_sha256=sizes_digest(items.images))
    data = data.without(images.report.fallback) if images.broken else data
    return attach_labels(config, data, competition, root, folds_csv, lambda asked: whole_pixels(opened(asked)), say)


def whole_pixels(images: TrainingImages) -> TrainingPixels:
    """Those of images that all have some. Raises DataError for others."""
    if images.broken:
        raise DataError(f"{images.broken[0]}; it had pixels when it was predicted: bring the image back")
    return images.pixels


def tell_images(config: RunConfig, images: TrainingImages, folds_csv: Path, say: Say) -> None:
    """Says what was wrong with images. Raises DataError for broken ones that are not to be left out."""
    broken, repaired = images.broken, images.repaired
    if broken and config.broken == "error":
        raise DataError(f"{broken[0]}; {len(broken)} training images are broken: mend them, or set `broken: skip` "
                        f"in the YAML of the run, which leaves them out; without their rows in {folds_csv} it also "
                        "goes on, but a recipe writes that file anew")
    if broken:
        say(f"warning: {len(broken)} training images are broken; they are left out of the training and of the "
            f"out-of-fold predictions: {broken[0]}")
    if repaired:
        say(f"warning: {len(repaired)} training images are damaged and were repaired, such as {repaired[0]}")
    if warning := depth_warning(images.report.largest.values()):
        say(f"warning: {warning}")


def require_whole_answers(items: Items, targets: np.ndarray, fold: np.ndarray, folds_csv: Path) -> None:
    """Raises DataError for images that are answered together and lie in several folds, or have several labels."""
    if items.groups is None:
        return
    if parted := items.groups.parted(fold):
        raise DataError(f"{folds_csv}: the images of answer '{parted}' lie in several folds; make the folds again with "
                        "`foldpack folds`, which keeps them together")
    items.groups.truth(targets, folds_csv)
