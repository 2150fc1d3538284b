"""Answers that are masks, as run lengths: a row an image, a row an image and class, or a row an object."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from foldpack.competitions.answer_table import AnswerTable, blank_table
from foldpack.competitions.answers.boxes import shown
from foldpack.competitions.answers.form import CellRule, Fault, Form, Known, allowed_names, objects_of
from foldpack.competitions.answers.names import told_names
from foldpack.data.answers import Answers
from foldpack.data.rows import Rows
from foldpack.data.run_lengths import mask_of, read_runs, runs_of, runs_text
from foldpack.settings.answer_forms import MasksAnswer


@dataclass(frozen=True)
class FoundMask:
    """One object of an image."""

    label: str  # as the answer calls it
    mask: np.ndarray  # (height, width) bool


class MasksForm(Form):
    """Masks as run lengths. Of an image in which nothing was found a row stays, with the empty cell."""

    answer: MasksAnswer
    decisions = ("pages",)

    @property
    def many_rows(self) -> bool:
        """See `Form`."""
        return self.answer.rows == "object"

    @property
    def apart(self) -> list[str]:
        """See `Form`."""
        return [self.answer.label] if self.answer.rows == "class" and self.answer.label is not None else []

    def columns(self, names: Sequence[str]) -> list[str]:
        """See `Form`."""
        label = self.answer.label if self.many_rows else None
        return [self.answer.column] if label is None else [self.answer.column, label]

    def made_up(self, ids: Sequence[str], names: Sequence[str]) -> AnswerTable:
        """See `Form`."""
        if self.answer.rows != "class":
            return super().made_up(ids, names)
        told = told_names(names, self.answer.map)
        blank = blank_table(self.answer.id, [*self.apart, self.answer.column], [item for item in ids for _ in told])
        table = blank.filled({self.apart[0]: [name for _ in ids for name in told]})
        return table.filled({self.answer.column: [""] * len(table.rows)})

    def fill(self, answers: Answers, ids: Sequence[str], sample: AnswerTable) -> AnswerTable:
        """See `Form`."""
        rows, place = objects_of(self, answers), dict(zip(sample.ids, sample.rows_of(ids), strict=True))
        told = [self.answer.map.get(name, name) for name in answers.columns]
        found = {item: self.masks(rows, place[item], told) for item in dict.fromkeys(sample.ids)}
        if self.many_rows:
            return self.object_rows(found, sample)
        labels = sample.column(self.apart[0]) if self.apart else [None] * len(sample.rows)
        cells = []
        for item, label in zip(sample.ids, labels, strict=True):
            masks = [one.mask for one in found[item] if label is None or one.label == label]
            cells.append(self.text(np.logical_or.reduce(masks)) if masks else self.answer.empty)
        return sample.filled({self.answer.column: cells})

    def object_rows(self, found: dict[str, list[FoundMask]], sample: AnswerTable) -> AnswerTable:
        """A row an object, images in the order of the sample, whose other cells stay."""
        column, label = (sample.columns.index(name) for name in self.columns(()))
        first = {item: row for item, row in reversed(list(zip(sample.ids, sample.rows, strict=True)))}
        rows = []
        for item, masks in found.items():
            cells = [(self.text(one.mask), one.label) for one in masks]
            for text, name in cells or [(self.answer.empty, first[item][label])]:
                row = list(first[item])
                row[column], row[label] = text, name
                rows.append(row)
        return AnswerTable(sample.columns, rows, sample.id_place, {name: sample.columns.index(name)
                                                                   for name in self.columns(())})

    def masks(self, rows: Rows, image: int, told: Sequence[str]) -> list[FoundMask]:
        """The masks of an image, best first, brought to the size that is asked for, without pixels that a better one
        has where masks may not overlap; those that keep no pixel are left out."""
        assert rows.starts is not None
        entries = np.arange(rows.starts[image], rows.starts[image + 1])
        if "score" in rows.columns:
            entries = entries[np.argsort(-rows.columns["score"][entries], kind="stable")]
        found: list[FoundMask] = []
        taken: np.ndarray | None = None
        for entry in entries.tolist():
            first, end = rows.within["mask"][entry : entry + 2].tolist()
            height, width = rows.columns["size"][entry].tolist()
            mask = mask_of(rows.columns["mask"][first:end], height, width)
            if self.answer.size is not None:
                mask = resized_mask(mask, self.answer.size[0], self.answer.size[1])
            if not self.answer.overlap:
                mask = mask if taken is None else mask & ~taken
                taken = mask if taken is None else taken | mask
            if mask.any():
                label = int(rows.columns["label"][entry]) if "label" in rows.columns else 0
                found.append(FoundMask(told[label] if told else "", mask))
        return found

    def text(self, mask: np.ndarray) -> str:
        """The cell of a mask."""
        return runs_text(runs_of(mask if self.answer.order == "columns" else mask.T), self.answer.base)

    def rule(self, known: Known) -> CellRule:
        """See `Form`."""
        return lambda cell: self.problem(cell, None)

    def faults(self, table: AnswerTable, known: Known) -> Iterator[Fault]:
        """See `Form`."""
        classes = dict.fromkeys(told_names(known.classes, self.answer.map))
        label = table.columns.index(self.answer.label) if self.answer.label is not None else None
        place, taken = table.columns.index(self.answer.column), dict[str, list[tuple[int, np.ndarray]]]()
        for number, (item, row) in enumerate(zip(table.ids, table.rows, strict=True), 1):
            size = self.answer.size or known.sizes.get(item)
            said = self.problem(row[place], None if size is None else (size[0], size[1]))
            if said:
                yield Fault(f"{self.answer.column} {said}", number, item)
            elif label is not None and classes and row[label] not in classes:
                yield Fault(f"{self.answer.label} is '{row[label]}', which is no class; "
                            f"{allowed_names(row[label], list(classes))}", number, item)
            else:
                before = taken.setdefault(item, [])
                runs = np.zeros((0, 2), dtype=np.int64)
                if row[place] != self.answer.empty:
                    runs = read_runs(row[place], self.answer.base)
                if said := self.together_problem(runs, before):
                    yield Fault(f"{self.answer.column} {said}", number, item)
                before.append((number, runs))

    def together_problem(self, runs: np.ndarray, before: Sequence[tuple[int, np.ndarray]]) -> str:
        """What is wrong with a mask beside those of the same image. before: their rows and runs."""
        if self.many_rows and before and (not len(runs) or not len(before[0][1])):
            return f"is empty though id and mask stand in row {before[0][0]} too" if not len(runs) else (
                f"has a mask though row {before[0][0]} says that there is none; leave the empty row out")
        if self.answer.overlap:
            return ""
        for number, others in before:
            if at := shared_pixel(runs, others):
                return (f"shares pixels with row {number}, such as {at - 1 + self.answer.base}; allowed: each pixel of "
                        "an image in one mask")
        return ""

    def problem(self, cell: str, size: tuple[int, int] | None) -> str:
        """What is wrong with a cell. size: height and width of the picture, or None."""
        if cell == self.answer.empty:
            return ""
        base = self.answer.base
        allowed = f"pairs of a start and a length, pixels counted from {base}"
        try:
            runs = read_runs(cell, base)
        except ValueError as failure:
            return f"is {shown(cell)}: {failure}; allowed: {allowed}"
        if not len(runs):
            return f"is {shown(cell)}; allowed: {allowed}, or '{self.answer.empty}' for no mask"
        if cell != runs_text(runs, base):
            why = "a stray space" if cell.split() != cell.split(" ") else "runs that do not ascend"
            return f"is {shown(cell)}, which has {why}; allowed: ascending runs with exactly single spaces"
        end = int(runs[-1].sum())
        if size is not None and end > size[0] * size[1]:
            return (f"ends at pixel {end - 1 + base}, outside the picture of {size[0]} x {size[1]}; allowed: up to "
                    f"{size[0] * size[1] - 1 + base}")
        return ""


def resized_mask(mask: np.ndarray, height: int, width: int) -> np.ndarray:
    """(h, w) bool -> (height, width) bool, each pixel that of the nearest place above and left of it."""
    down = np.arange(height) * mask.shape[0] // height
    across = np.arange(width) * mask.shape[1] // width
    return mask[down[:, None], across]


def shared_pixel(first: np.ndarray, second: np.ndarray) -> int:
    """The first pixel, counted from 1, that two masks share; 0 where there is none. Runs: `data.run_lengths`."""
    if not len(first) or not len(second):
        return 0
    behind = np.searchsorted(second[:, 0], first[:, 0], side="right")  # of runs of the second that begin no later
    ends = np.concatenate([[-1], second.sum(axis=1)])[behind]
    starts = np.append(second[:, 0], np.iinfo(np.int64).max)[behind]
    shared = np.where(ends > first[:, 0], first[:, 0], np.where(starts < first.sum(axis=1), starts, -1))
    return int(shared[shared >= 0].min()) + 1 if (shared >= 0).any() else 0
