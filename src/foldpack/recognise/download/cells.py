"""What cells of text look like: numbers, run lengths, boxes, several labels. Pure functions over columns."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Literal

NUMBER = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?")
WHOLE = re.compile(r"[-+]?\d+")
DATE = re.compile(r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}([ T].*)?")
LABEL_SEPARATORS = (None, ",", "|", ";")  # None: white space
BOX_ORDERS = {
    4: [["x", "y", "width", "height"]],
    5: [["label", "x", "y", "width", "height"]],
    6: [["label", "score", "x", "y", "width", "height"]],
}
CORNERS = {"x": "x_min", "y": "y_min", "width": "x_max", "height": "y_max"}


def filled(cells: Iterable[str]) -> list[str]:
    """Those that are not empty."""
    return [cell for cell in cells if cell.strip()]


def are_numbers(cells: Iterable[str]) -> bool:
    """Whether there are cells, and each that is filled is a number."""
    given = filled(cells)
    return bool(given) and all(NUMBER.fullmatch(cell.strip()) for cell in given)


def are_whole(cells: Iterable[str]) -> bool:
    """Whether there are cells, and each that is filled is a whole number, as `3` or `3.0`."""
    given = filled(cells)
    return are_numbers(given) and all(float(cell) == int(float(cell)) for cell in given)


def are_zeros_and_ones(cells: Iterable[str]) -> bool:
    """Whether only 0 and 1 stand there."""
    return set(cells) <= {"0", "1", "0.0", "1.0"} and bool(cells)


def are_run_lengths(cells: Iterable[str]) -> bool:
    """Whether the filled cells are pairs of start and length, in order and not overlapping, of more than one pair."""
    given = filled(cells)[:2000]
    if not given or max(len(cell.split()) for cell in given) < 4:
        return False
    for cell in given:
        words = cell.split()
        if len(words) % 2 or not all(WHOLE.fullmatch(word) for word in words):
            return False
        starts, lengths = [int(word) for word in words[::2]], [int(word) for word in words[1::2]]
        ends = [start + length for start, length in zip(starts, lengths, strict=True)]
        if min(lengths) < 1 or any(end > start for end, start in zip(ends, starts[1:], strict=False)):
            return False
    return True


def first_pixel(cells: Iterable[str]) -> Literal[0, 1]:
    """0 where some run begins at pixel 0, else 1."""
    return 0 if any(cell.split()[0] == "0" for cell in filled(cells)) else 1


def box_order(cells: Iterable[str]) -> list[str] | None:
    """The words of one box, where cells are boxes as text; None where they are not."""
    given = [cell.split() for cell in filled(cells)[:2000]]
    if not given:
        return None
    for count, orders in BOX_ORDERS.items():
        if any(len(words) % count for words in given):
            continue
        boxes = [words[place : place + count] for words in given for place in range(0, len(words), count)]
        for order in orders:
            if fits_order(boxes, order):
                return order if not are_corners(boxes, order) else [CORNERS.get(word, word) for word in order]
    return None


def fits_order(boxes: list[list[str]], order: list[str]) -> bool:
    """Whether numbers stand where they belong, scores lie in 0 to 1, and a first word that is a number is whole."""
    columns = dict(zip(order, zip(*boxes, strict=True), strict=True))
    if not all(are_numbers(columns[word]) for word in order if word != "label"):
        return False
    if "score" in columns and not all(0 <= float(cell) <= 1 for cell in columns["score"]):
        return False
    if "label" in columns and are_numbers(columns["label"]) and not are_whole(columns["label"]):
        return False
    return True


def are_corners(boxes: list[list[str]], order: list[str]) -> bool:
    """Whether the last two numbers of every box lie beyond the two before, as a far corner does."""
    places = [order.index(word) for word in ("x", "y", "width", "height")]
    return all(float(box[places[2]]) > float(box[places[0]]) and float(box[places[3]]) > float(box[places[1]])
               for box in boxes)


def label_separator(cells: Iterable[str]) -> tuple[str | None] | None:
    """(what parts the labels of a cell,), where cells hold several; None where each is one label.

    A label with a space in it is told from two labels by its words: those come again in other cells.
    """
    given = set(filled(cells))
    for separator in LABEL_SEPARATORS:
        parts = {cell: cell.split(separator) for cell in given}
        if all(len(words) == 1 for words in parts.values()):
            continue
        cells_of = Counter(word for words in parts.values() for word in set(words))
        joined = [cell for cell, words in parts.items() if len(words) > 1]
        again = sum(all(cells_of[word] > 1 for word in parts[cell]) for cell in joined)
        lengths = {len(words) for words in parts.values()}
        if len(lengths) > 1 and len(cells_of) <= len(given) and again > 0.6 * len(joined) or any_order(parts.values()):
            return (separator,)
    return None


def are_ranked(answers: Iterable[str], labels: Iterable[str]) -> bool:
    """Whether each answer has the same number of words, more than one, and words are labels, or numbers as they are."""
    given, known = filled(answers)[:200], set(labels)
    if len({len(cell.split()) for cell in given}) != 1 or any(" " in label for label in known):
        return False
    words = given[0].split()
    return len(words) > 1 and (set(words) <= known or are_whole(words) and are_whole(known))


def may_be_ranked(answers: Iterable[str], labels: Iterable[str]) -> bool:
    """Whether each answer has the same number of different words, more than one, though labels are single words."""
    given = [cell.split() for cell in filled(answers)[:200]]
    if not given or any(" " in label for label in labels):
        return False
    return {len(words) for words in given} == {len(set(given[0]))} != {1} and all(
        len(set(words)) == len(words) for words in given)


def any_order(cells: Iterable[list[str]]) -> bool:
    """Whether most words of cells with several stand alone in some cell, too."""
    listed = list(cells)
    alone = {words[0] for words in listed if len(words) == 1}
    several = {word for words in listed if len(words) > 1 for word in words}
    return bool(several) and len(several & alone) > 0.6 * len(several)
