"""Labels of classes: one an item or any number, ordered grades, individuals."""

from __future__ import annotations

import numpy as np

from foldpack.competitions.label_cells import check_cells, check_class_names, check_single, split_labels, twin_words
from foldpack.competitions.labels.truth import Source, Truth
from foldpack.errors import DataError
from foldpack.settings.label_kinds import ClassLabels, GradeLabels, IdentityLabels, JoinedLabels, OneHotLabels

YES = ("1", "1.0", "true", "True")
NO = ("0", "0.0", "false", "False")


def class_truth(labels: ClassLabels, source: Source) -> Truth:
    """One class an item. targets: (n,) int64. Raises DataError."""
    cells, notes = source.cells(labels.column)
    source.require(cells, labels.column)
    words = [labels.map.get(cell, cell) for cell in cells]
    if labels.classes is None:
        check_single(words, source.where)
    classes, told = source.classes(labels.classes, words)
    return Truth(source.places(words, classes, told), classes, {labels.column: words}, notes=notes)


def identity_truth(labels: IdentityLabels, source: Source) -> Truth:
    """One individual an item; the label of those that are like no other comes last. targets: (n,) int64."""
    words, notes = source.cells(labels.column)
    source.require(words, labels.column)
    more = [] if labels.none is None else [labels.none]  # which may be the answer where no training item has it
    classes, told = source.classes(None, [*words, *more], labels.none)
    return Truth(source.places(words, classes, told), classes, {labels.column: words}, labels.none is not None,
                 notes=notes)


def grade_truth(labels: GradeLabels, source: Source) -> Truth:
    """A grade an item. targets: (n,) int64; the classes are "0", "1", and so on."""
    cells, notes = source.cells(labels.column)
    source.require(cells, labels.column)
    classes = [str(grade) for grade in range(labels.grades)]
    words = [cell.removesuffix(".0") for cell in cells]
    for item, word in enumerate(words):
        if word not in classes:
            raise DataError(f"{source.where(item)}: {labels.column} is '{cells[item]}'; allowed: whole numbers from 0 "
                            f"to {labels.grades - 1}, as labels.grades says")
    return Truth(np.array(words, dtype=np.int64), classes, {labels.column: words}, notes=notes)


def one_hot_truth(labels: OneHotLabels, source: Source) -> Truth:
    """A column of 0 and 1 a class. targets: (n,) int64 where each item has exactly one class, else (n, C) bool."""
    matrix = np.zeros((len(source.items.ids), len(labels.columns)), dtype=bool)
    written: dict[str, list[str]] = {}
    notes: list[str] = []
    for place, column in enumerate(labels.columns):
        cells, notes = source.cells(column)
        for item, cell in enumerate(cells):
            if cell not in YES + NO:
                raise DataError(f"{source.where(item)}: {column} is '{cell}'; allowed: 0 and 1; columns of other "
                                "numbers are labels of kind 'values'")
            matrix[item, place] = cell in YES
        written[column] = [str(int(has)) for has in matrix[:, place]]
    if not labels.exclusive:
        return Truth(matrix, labels.columns, written, notes=notes)
    wrong = np.flatnonzero(matrix.sum(axis=1) != 1)
    if len(wrong):
        had = [name for name, has in zip(labels.columns, matrix[wrong[0]], strict=True) if has]
        raise DataError(f"{source.where(int(wrong[0]))}: id '{source.items.ids[wrong[0]]}' has {len(had)} classes "
                        f"({', '.join(had) or 'none'}), and labels.exclusive is true ({len(wrong)} of {len(matrix)} "
                        "items have none or several); set it to false, or mend the row")
    targets = matrix.argmax(axis=1).astype(np.int64)
    return Truth(targets, labels.columns, {"label": [labels.columns[place] for place in targets]}, notes=notes)


def joined_truth(labels: JoinedLabels, source: Source) -> Truth:
    """Any number of classes an item, those of all its rows together. targets: (n, C) bool."""
    table, told = source.items.table, labels.column
    cells = table.column(told, "labels: column")
    listed = None
    if labels.classes is not None:
        listed, where = source.classes(labels.classes, ())
        check_class_names([name for name in listed if name not in labels.map.values()], where, labels.separator)
    check_cells(cells, labels.separator, None if listed is None else [*listed, *labels.map], table.where)
    notes = []
    if labels.separator is None and listed is None and (twins := twin_words(cells)):
        notes.append(f"{table.source}: {twins}")
    words = [[labels.map.get(word, word) for word in split_labels(cell, labels.separator)] for cell in cells]
    classes, where = source.classes(labels.classes, (word for row in words for word in row))
    place = {name: number for number, name in enumerate(classes)}
    matrix = np.zeros((len(source.items.ids), len(classes)), dtype=bool)
    for item, rows in enumerate(source.items.rows):
        for word in (word for row in rows for word in words[row]):
            if word not in place:
                raise DataError(source.strange(item, word, classes, where))
            matrix[item, place[word]] = True
    joint = " " if labels.separator is None else labels.separator
    joined = [joint.join(name for name, has in zip(classes, row, strict=True) if has) for row in matrix]
    return Truth(matrix, classes, {told: joined}, notes=notes)
