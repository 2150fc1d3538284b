"""What speaks against a conclusion: cells that are no number among numbers, columns that cannot be the label."""

from __future__ import annotations

import re
from collections.abc import Iterable

from foldpack.metrics.registry import Metric
from foldpack.recognise.context import Context
from foldpack.recognise.download.cells import NUMBER, are_numbers, are_ranked, are_whole, filled, may_be_ranked
from foldpack.recognise.download.sample import Sample, shown
from foldpack.recognise.findings import Findings, RecognitionError

FEW_ODD = 0.1  # share of cells beside numbers, up to which they are the odd ones
# a number that was spoilt, or a sign for none
NO_NUMBER = re.compile(r"nan|na|n/a|null|#.*|[-?.]+|[-+]?inf.*|\d{1,2}[-. ][A-Za-z]{3}.*|[-+]?\d*,\d+|"
                       r".*\d[-/.:]\d+[-/.:]\d.*|[-+]?[\d.]+ ?%?", re.IGNORECASE)
DECIMAL_COMMA = re.compile(r"[-+]?\d+(,\d+)?")
HAND = "or write competition.yml by hand"


def check_label_cells(about: Context, column: str, numbers: bool = False, several: bool = False) -> None:
    """Numbers that were spoilt, so that their column looks like names of classes. numbers: whether there must be such;
    several: whether cells look like several labels. Raises RecognitionError; doubts what may be right."""
    file, cells = about.train.file, about.train.columns[column]
    answers = about.sample.cells.get(column, about.sample.cells[about.sample.columns[0]])
    scored = about.metric is not None and about.metric.answer == "values"
    fractions = numbers or scored or are_numbers(answers) and not are_whole(answers)
    if several and not fractions:
        return
    commas = [cell for cell in filled(cells) if "," in cell]
    if fractions and commas and all(DECIMAL_COMMA.fullmatch(cell.strip()) for cell in filled(cells)):
        raise RecognitionError(f"{file}: column '{column}' has decimal commas, got: '{commas[0]}'; write numbers "
                               f"with a point, such as '{commas[0].replace(',', '.')}'")
    odd = [row for row, cell in enumerate(cells) if cell.strip() and not NUMBER.fullmatch(cell.strip())]
    plain = len(filled(cells)) - len(odd)
    if not odd or len(odd) > FEW_ODD * len(filled(cells)) or plain < 10:
        return
    text, where = cells[odd[0]], f"the row of '{about.items[odd[0]]}'"
    many = f"{plain} of {len(cells)} cells of column '{column}' are numbers"
    if fractions or all(NO_NUMBER.fullmatch(cells[row].strip()) for row in odd):
        others = f", as {len(odd) - 1} more are none" if len(odd) > 1 else ""
        raise RecognitionError(f"{file}: {many}, got: '{text}' in {where}{others}; mend what is no number there, "
                               f"{HAND}")
    about.findings.doubt("labels", f"the numbers in '{column}' are names of classes",
                         f"{many}, but '{text}' in {where} is none")


def require_one_separator(about: Context, column: str, separator: str | None, how: str, words: set[str]) -> None:
    """Raises RecognitionError where some cells part their labels by something else. words: all labels."""
    for row, cell in enumerate(about.train.columns[column]):
        for word in cell.split(separator):
            for other in (sign for sign in ("|", ";", ",", " ") if sign != separator and sign in word):
                if all(part.strip() in words for part in word.split(other)):
                    raise RecognitionError(f"{about.train.file}: labels in column '{column}' are parted by {how}, got: "
                                           f"'{cell}' in the row of '{about.items[row]}', parted by '{other}'; part "
                                           "all labels by the same there")


def is_ranking(answers: list[str], classes: Iterable[str], metric: Metric | None) -> bool:
    """Whether several classes are asked for, best first: those of training items, or as many others in each cell, if
    the metric is not known to score something else."""
    known, ranks = list(classes), metric is None or metric.answer == "ranking"
    return are_ranked(answers, known) or ranks and may_be_ranked(answers, known)


def require_unknown(file: str, given: Iterable[str], test_columns: set[str], sample: Sample) -> None:
    """Raises RecognitionError where the test's table has all columns that may be the label: they are known, so none
    of them is asked for."""
    if test_columns and set(given) <= test_columns:
        raise RecognitionError(f"{file}: no column has labels, got: {shown(list(given), 6)}, which the test's table "
                               f"has too; needed: what {sample.file} asks for, '{sample.columns[0]}'; take the "
                               f"file from the download again, {HAND}")


def twins(names: Iterable[str]) -> tuple[str, str] | None:
    """Two names that differ in nothing but case and spaces."""
    seen: dict[str, str] = {}
    for name in names:
        key = " ".join(name.split()).casefold()
        if key in seen and seen[key] != name:
            return seen[key], name
        seen[key] = name
    return None


def tell_twins(names: Iterable[str], findings: Findings) -> None:
    """Doubt classes that may be the same, once."""
    if pair := twins(names):
        findings.doubt("labels", f"'{pair[0]}' and '{pair[1]}' are two classes", "they differ in case or spaces only; "
                       "if they are one, write them alike, or set labels.map")
