"""The cells of a label column: how several classes stand in one, and which cells look joined in another way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

from foldpack.errors import DataError

JOINTS = "|,;"  # what usually joins classes where it is not white space
RARE_JOINTS = "/+&"  # stand in names too: a cell looks joined by them only where its parts are classes
LIST_SIGNS = ("[]", "{}", "()")
Where = Callable[[int], str]


def split_labels(text: str, separator: str | None) -> list[str]:
    """The classes of one cell, without spaces around them. separator: None: white space stands between them."""
    if separator is None or separator == " ":
        return text.split()
    return [word.strip() for word in text.split(separator.strip() or separator) if word.strip()]


def check_cells(cells: list[str], separator: str | None, names: list[str] | None, where: Where) -> None:
    """Refuse the first cell of several classes that looks joined by something else, with DataError.

    separator: that of the settings, None where they name none; names: the classes, where they are listed; where: row ->
    its place, for messages. With a separator of the settings, others may stand in names: then a cell is refused only
    where that separator is in no cell.
    """
    if separator is not None and separator.isspace():
        return  # the settings say so, whatever it looks like
    if separator is not None and names is None:
        if not any(separator.strip() in cell for cell in cells):
            check_unused(cells, separator, where)
        return
    classes = set(names) if names is not None else {word for cell in cells for word in cell.split()}
    for row, cell in enumerate(cells):
        for word in split_labels(cell, separator):
            if names is not None and word in classes:
                continue
            if any(cell.strip().startswith(sign[0]) and cell.strip().endswith(sign[1]) for sign in LIST_SIGNS):
                raise DataError(f"{where(row)}: label '{cell}' is a list in brackets; write its classes with one "
                                "separator between them and nothing else")
            if joint := joint_of(word, classes):
                raise strange_cell(where(row), cell, word, joint, separator)


def joint_of(word: str, classes: set[str]) -> str:
    """What joins classes in a word, "" where it looks like one class."""
    rare = (sign for sign in RARE_JOINTS if sign in word and classes.issuperset(word.split(sign)))
    return next((sign for sign in JOINTS if sign in word), next(rare, ""))


def twin_words(cells: list[str]) -> str:
    """A line on two words that are never apart, such as `No Finding`, where white space separates classes; else ""."""
    after: dict[str, set[str]] = {}
    before: dict[str, set[str]] = {}
    for words in (cell.split() for cell in cells):
        for one, other in zip(["", *words], [*words, ""], strict=True):
            after.setdefault(one, set()).add(other)
            before.setdefault(other, set()).add(one)
    for one, others in after.items():
        other = next(iter(others))
        if one and other and len(others) == 1 and before[other] == {one} and not one.isdecimal():
            return (f"'{one}' and '{other}' are two classes, as white space separates them, but never stand apart; if "
                    f"'{one} {other}' is one class, set labels.separator")
    return ""


def check_unused(cells: list[str], separator: str, where: Where) -> None:
    """Raises DataError for a cell whose parts, at another joint, are those of other cells too."""
    for joint in JOINTS:
        rows = [[part.strip() for part in cell.split(joint)] for cell in cells]
        count = Counter(part for parts in rows for part in set(parts))
        for row, parts in enumerate(rows):
            if len(parts) > 1 and all(count[part] > 1 for part in parts):
                raise strange_cell(where(row), cells[row], cells[row], joint, separator)


def strange_cell(where: str, cell: str, word: str, joint: str, separator: str | None) -> DataError:
    """What to say of a cell that looks joined by `joint`."""
    now = "white space" if separator is None else f"'{separator}'"
    return DataError(f"{where}: label '{cell}' looks joined by '{joint}', but labels are split at {now}; set "
                     f"labels.separator to '{joint}' (or to ' ', if '{word}' is one class)")


def check_single(cells: list[str], where: Where) -> None:
    """Raises DataError for a cell of one class that joins classes which stand alone in other cells."""
    classes = set(cells)
    for row, cell in enumerate(cells):
        for joint in (*JOINTS, " "):
            parts = [part.strip() for part in cell.split(joint)]
            if len(parts) < 2 or not classes.issuperset(parts) or joint == " " and not "".join(parts).isdecimal():
                continue
            raise DataError(f"{where(row)}: label '{cell}' joins classes of other rows by '{joint}', and labels of "
                            f"kind 'class' have one a row; make it kind 'labels' with separator '{joint}', or list the "
                            f"classes in labels.classes if '{cell}' is one of them")


def check_class_names(names: list[str], source: str, separator: str | None) -> None:
    """Raises DataError for a class that could not be read from a cell of several."""
    for name in names:
        if split_labels(name, separator) != [name]:
            shown = "white space" if separator is None or separator == " " else f"'{separator}'"
            raise DataError(f"{source}: class '{name}' cannot be read from labels, where {shown} separates classes; "
                            "set labels.separator to what no class has in it")


def number_cells(columns: dict[str, list[str]], ids: list[str], source: Path) -> np.ndarray:
    """Cells by column -> (n, T) float64. source: where they are from. Raises DataError for one that is no number."""
    table = np.empty((len(ids), len(columns)))
    for place, (name, cells) in enumerate(columns.items()):
        for row, cell in enumerate(cells):
            try:
                table[row, place] = float(cell)
            except ValueError:
                table[row, place] = np.nan
            if not np.isfinite(table[row, place]):
                raise DataError(f"{source}: {name} of id '{ids[row]}' is '{cell}'; needed: a finite number")
    return table
