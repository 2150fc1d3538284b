"""Labels of one class an item: names, a column a class, grades, individuals."""

from __future__ import annotations

from foldpack.competitions.label_cells import check_single
from foldpack.competitions.labels.truth import Source, Truth
from foldpack.settings.label_kinds import ClassLabels


def class_truth(labels: ClassLabels, source: Source) -> Truth:
    """One class an item. targets: (n,) int64. Raises DataError."""
    cells, notes = source.cells(labels.column)
    source.require(cells, labels.column)
    words = [labels.map.get(cell, cell) for cell in cells]
    if labels.classes is None:
        check_single(words)
    classes, told = source.classes(labels.classes, words)
    return Truth(source.places(words, classes, told), classes, {labels.column: words}, notes=notes)
