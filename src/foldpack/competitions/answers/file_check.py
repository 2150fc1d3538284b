"""What is looked at in a submission that anyone made, with the competition's folder or without it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from foldpack.competitions.adapters import find_adapter
from foldpack.competitions.answer_table import read_sample
from foldpack.competitions.answers.check import read_submission, submission_faults
from foldpack.competitions.answers.form import Known
from foldpack.competitions.training_items import TrainableCompetition
from foldpack.data.items import Items
from foldpack.errors import DataError
from foldpack.settings.label_kinds import BoxLabels, GradeLabels, LabelsConfig, ValueLabels

PLACED = ("boxes", "points", "masks")  # kinds of answers that lie in an image


@dataclass(frozen=True)
class Checked:
    """What was seen."""

    said: str  # what the file has
    faults: list[str] = field(default_factory=list)  # a line each
    notes: list[str] = field(default_factory=list)  # what could not be looked at


def check_file(path: Path, name: str, data: Path | None) -> Checked:
    """Look at a submission. data: the competition's folder; None: then only at what can be said without its sample.

    Raises DataError for a file that is not there, for a competition that no file tells of, and for a sample submission
    that cannot be read.
    """
    if path.is_dir():
        raise DataError(f"{path}: it is a folder; name the submission in it that is to be checked")
    if not path.is_file():
        raise DataError(f"{path}: there is no such file; name the submission that is to be checked")
    adapter = find_adapter(name)
    if not isinstance(adapter, TrainableCompetition):
        raise DataError(f"competition '{name}': its own code says what it wants as an answer, which this command does "
                        "not ask; give a competition.yml")
    form, notes = adapter.form, []
    if data is None:
        sample, known = None, Known(listed_classes(adapter.config.labels), grades_in(adapter.config.labels))
        notes.append("without --data ids are not compared with those of the sample submission")
    else:
        sample = read_sample(data / form.answer.sample, form.answer.id).named()
        known, notes = known_of_folder(adapter, data)
    try:
        table = read_submission(path, form, known)
    except DataError as failure:
        return Checked("", [str(failure)], notes)
    faults = [fault.line(path) for fault in submission_faults(table, form, sample, known)]
    notes += form.notes(table, known)
    ids, answered = len(set(table.ids)), form.columns_of(table, known.classes)
    shown = ", ".join(answered[:5]) + (f" and {len(answered) - 5} more" if len(answered) > 5 else "")
    return Checked(f"{path}: {len(table.rows)} rows of {ids} ids, answered in {shown}", faults, notes)


def known_of_folder(adapter: TrainableCompetition, data: Path) -> tuple[Known, list[str]]:
    """What the competition's folder says, and a line on each part that it does not."""
    labels, notes = adapter.config.labels, []
    try:
        labelled = adapter.train(data)
        classes = [] if isinstance(labels, ValueLabels) else labelled.classes
    except DataError as failure:
        classes = listed_classes(labels)
        notes.append(f"names of classes are {'those listed in its file' if classes else 'not looked at'}, as the "
                     f"training items cannot be read: {failure}")
    if classes and isinstance(labels, BoxLabels) and labels.none is not None:
        classes = [*classes, labels.none]
    sizes: dict[str, tuple[int, int]] = {}
    if adapter.form.answer.kind in PLACED:
        items = adapter.test(data)
        sizes = image_sizes(items)
        if len(sizes) < len(items.answer_ids):
            notes.append(f"the size of {len(items.answer_ids) - len(sizes)} of {len(items.answer_ids)} images is not "
                         "known: what lies outside of them is not told")
    return Known(classes, grades_in(labels), sizes), notes


def listed_classes(labels: LabelsConfig) -> list[str]:
    """The classes that `competition.yml` lists itself; none where another file does."""
    listed = getattr(labels, "classes", None)
    return listed if isinstance(listed, list) else []


def grades_in(labels: LabelsConfig) -> int | None:
    """How many grades there are, where labels are such."""
    return labels.grades if isinstance(labels, GradeLabels) else None


def image_sizes(items: Items) -> dict[str, tuple[int, int]]:
    """Height and width of the image of each answer, as far as Pillow can tell them without decoding."""
    sizes = {}
    for answer, path in zip(items.answer or items.ids, items.images, strict=True):
        try:
            with Image.open(path) as image:
                sizes[answer] = (image.height, image.width)
        except (OSError, Image.DecompressionBombError):  # missing, broken, or of another reader
            continue
    return sizes
