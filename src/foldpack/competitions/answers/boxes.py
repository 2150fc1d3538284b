"""Answers that are boxes or points, as text in one cell: the words of one after those of another."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from foldpack.competitions.answer_table import AnswerTable
from foldpack.competitions.answers.form import (
    NUMBER_TEXT,
    CellRule,
    Fault,
    Form,
    Known,
    allowed_names,
    objects_of,
)
from foldpack.competitions.answers.names import check_joinable, told_names
from foldpack.data.answers import Answers
from foldpack.data.rows import Rows
from foldpack.errors import DataError
from foldpack.settings.answer_forms import BoxesAnswer

BOX_WORDS = ("label", "score", "x", "y", "width", "height", "x_min", "y_min", "x_max", "y_max")


class BoxesForm(Form):
    """Boxes of an image, best first where they have scores, in one column; of kind "points" their centres."""

    answer: BoxesAnswer
    decisions = ("pages",)

    def columns(self, names: Sequence[str]) -> list[str]:
        """See `Form`."""
        return [self.answer.column]

    def cells(self, answers: Answers) -> dict[str, list[str]]:
        """See `Form`."""
        told = {name: self.answer.map.get(name, name) for name in answers.columns}
        said = [self.cell(boxes, scores, [told[answers.columns[label]] for label in labels])
                for boxes, scores, labels in boxes_by_image(objects_of(self, answers), self.answer.most)]
        return {self.answer.column: said}

    def cell(self, boxes: np.ndarray, scores: np.ndarray, labels: Sequence[str]) -> str:
        """The text of the boxes of one image: (N, 4) xyxy, (N,) scores, N labels."""
        words = []
        for box, score, label in zip(boxes.astype(np.float64).tolist(), scores.tolist(), labels, strict=True):
            named = {"label": label, "score": f"{score:.9g}", **self.places(box)}
            words += [named[word] for word in self.answer.text]
        return " ".join(words) or self.answer.empty

    def places(self, box: Sequence[float]) -> dict[str, str]:
        """The numbers of a box as text. Whole ones: corners are rounded, of a centre it is the pixel that has it."""
        if self.answer.kind == "points":
            centre = {"x": (box[0] + box[2]) / 2, "y": (box[1] + box[3]) / 2}
            return {name: str(math.floor(value)) if self.answer.whole else f"{value:.9g}"
                    for name, value in centre.items()}
        left, top, right, bottom = (round(value) for value in box) if self.answer.whole else box
        values = {"x": left, "y": top, "width": right - left, "height": bottom - top,
                  "x_min": left, "y_min": top, "x_max": right, "y_max": bottom}
        return {name: f"{value:.9g}" for name, value in values.items()}

    def check_names(self, names: Sequence[str]) -> None:
        """See `Form`. Raises DataError for an order of words that is none, too."""
        if strange := [word for word in self.answer.text if word not in BOX_WORDS]:
            raise DataError(f"answer.text: '{strange[0]}' is no word of a box; allowed: {', '.join(BOX_WORDS)}")
        if "label" in self.answer.text:
            check_joinable(told_names(names, self.answer.map), " ", "a space stands between the words of a box")

    def rule(self, known: Known) -> CellRule:
        """See `Form`."""
        classes = self.told(known)
        return lambda cell: self.problem(cell, classes, None)

    def faults(self, table: AnswerTable, known: Known) -> Iterator[Fault]:
        """See `Form`."""
        classes = self.told(known)
        for number, (item, cell) in enumerate(zip(table.ids, table.column(self.answer.column), strict=True), 1):
            if said := self.problem(cell, classes, known.sizes.get(item)):
                yield Fault(f"{self.answer.column} {said}", number, item)

    def told(self, known: Known) -> dict[str, None]:
        """What the answer calls classes, that of the empty answer among them; none where nobody knows them."""
        names, empty = told_names(known.classes, self.answer.map), self.answer.empty.split()
        none = empty[self.answer.text.index("label")] if names and empty and "label" in self.answer.text else ""
        return dict.fromkeys([*names, none] if none else names)

    def problem(self, cell: str, classes: Mapping[str, None], size: tuple[int, int] | None) -> str:
        """What is wrong with a cell. classes: none where nobody knows them; size: height and width of the image."""
        answer, words = self.answer, cell.split(" ")
        if cell == answer.empty:
            return ""
        order = f"{' '.join(answer.text)} for each"
        if not cell:
            return f"is empty; allowed: {order}, or '{answer.empty}' for none"
        if words != cell.split():
            return f"has a stray space or line in {shown(cell)}; allowed: exactly single spaces, none at the ends"
        if len(words) % len(answer.text):
            return f"has {len(words)} words in {shown(cell)}; allowed: {order}"
        count = len(words) // len(answer.text)
        if answer.most is not None and count > answer.most:
            return f"has {count} {answer.kind}; allowed: at most {answer.most}"
        for number in range(count):
            named = dict(zip(answer.text, words[number * len(answer.text) :], strict=False))
            if said := box_problem(named, classes, answer.whole, size):
                return f"has '{' '.join(named.values())}': {said}"
        return ""


def boxes_by_image(rows: Rows, most: int | None) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Boxes, scores and labels of each image, best first; of equal scores the first. most: so many of each."""
    assert rows.starts is not None
    count = rows.entries
    scores = np.asarray(rows.columns.get("score", np.ones(count)), dtype=np.float64)
    labels = rows.columns.get("label", np.zeros(count, dtype=np.int64))
    for first, end in zip(rows.starts[:-1].tolist(), rows.starts[1:].tolist(), strict=True):
        order = first + np.argsort(-scores[first:end], kind="stable")[:most]
        yield rows.columns["box"][order], scores[order], labels[order]


def box_problem(
    named: Mapping[str, str], classes: Mapping[str, None], whole: bool, size: tuple[int, int] | None
) -> str:
    """What is wrong with one box, by its words. size: height and width of the image, or None."""
    numbers = {}
    for name, word in named.items():
        if name == "label":
            if classes and word not in classes:
                return f"'{word}' is no class; {allowed_names(word, list(classes))}"
            continue
        digits = word.removeprefix("-")
        if not NUMBER_TEXT.fullmatch(word) or not math.isfinite(float(word)):
            return f"{name} is '{word}'; allowed: a finite number"
        if whole and name != "score" and not (digits.isascii() and digits.isdigit()):
            return f"{name} is '{word}'; allowed: a whole number"
        numbers[name] = float(word)
    for low, high in (("x_min", "x_max"), ("y_min", "y_max")):
        if low in numbers and high in numbers and numbers[high] <= numbers[low]:
            return f"{low} {numbers[low]:g} is not below {high} {numbers[high]:g}; a box goes from {low} to {high}"
    for side in ("width", "height"):
        if numbers.get(side, 1) <= 0:
            return f"{side} is {numbers[side]:g}; allowed: above 0"
    return outside_problem(numbers, size)


def outside_problem(numbers: Mapping[str, float], size: tuple[int, int] | None) -> str:
    """What lies outside of the image. size: its height and width; None: then only what lies before its first pixel."""
    for start, side, names in (("x", "width", ("x", "x_min", "x_max")), ("y", "height", ("y", "y_min", "y_max"))):
        limit = math.inf if size is None else float(size[0] if start == "y" else size[1])
        reach = {name: numbers[name] for name in names if name in numbers}
        if start in numbers and side in numbers:
            reach[f"{start} + {side}"] = numbers[start] + numbers[side]
        for name, value in reach.items():
            if not 0 <= value <= limit:
                end = "on" if math.isinf(limit) else f"to {limit:g}, the {side} of the image"
                return f"{name} is {value:g}; allowed: from 0 {end}"
    return ""


def shown(cell: str, most: int = 40) -> str:
    """A cell in quotes, its beginning where it is long."""
    return repr(cell) if len(cell) <= most else f"{cell[:most]!r}..."
