"""How the sample submission wants to be answered, from its cells and the kind of labels."""

from __future__ import annotations

import re
from typing import Literal

from foldpack.metrics.registry import Metric
from foldpack.recognise.doubts import is_ranking
from foldpack.recognise.download.cells import are_numbers, are_ranked, are_whole, are_zeros_and_ones, filled, fits_order
from foldpack.recognise.download.sample import Sample, shown
from foldpack.recognise.findings import Findings, RecognitionError
from foldpack.settings.answer_forms import (
    AnswerConfig,
    BoxesAnswer,
    ClassAnswer,
    GradesAnswer,
    LabelsAnswer,
    MasksAnswer,
    ProbabilitiesAnswer,
    ProbabilityAnswer,
    RankingAnswer,
    ValuesAnswer,
)
from foldpack.settings.label_kinds import (
    BoxLabels,
    GradeLabels,
    IdentityLabels,
    JoinedLabels,
    LabelsConfig,
    MaskLabels,
    ValueLabels,
)

YES = re.compile(r"1|true|yes|positive|malignant|cancer|abnormal|stego|dog|.*_?(yes|positive)", re.IGNORECASE)
WORDS_OF_A_BOX = [
    ["label", "score", "x_min", "y_min", "x_max", "y_max"],
    ["score", "x", "y", "width", "height"],
    ["label", "x", "y", "width", "height"],
    ["x", "y", "width", "height"],
    ["label", "x", "y"],
]


def find_answer(labels: LabelsConfig, classes: list[str], sample: Sample, findings: Findings,
                metric: Metric | None = None) -> AnswerConfig:
    """The form of the answer. classes: those of the training items that were seen; metric: of a known competition.
    Raises RecognitionError."""
    column = sample.columns[0]
    cells = filled(sample.cells[column])
    place = {"sample": sample.file, "id": sample.id}
    if isinstance(labels, MaskLabels):
        return mask_answer(labels, sample, findings)
    if isinstance(labels, BoxLabels):
        return box_answer(cells, column, place, findings)
    if isinstance(labels, ValueLabels):
        findings.recognise("answer", f"numbers in {shown(sample.columns)}", "the labels are numbers")
        return ValuesAnswer(kind="values", columns=sample.columns, range=labels.range, **place)
    if len(sample.columns) > 1:
        return columns_answer(labels, classes, sample, place, findings, metric)
    if isinstance(labels, GradeLabels):
        findings.recognise("answer", f"a grade in '{column}'", "the labels are grades")
        return GradesAnswer(kind="grades", column=column, **place)
    if isinstance(labels, JoinedLabels):
        return joined_answer(labels, cells, column, place, findings)
    if is_ranking(cells, classes, metric):
        k = len(cells[0].split())
        said = f"{k} classes in '{column}', best first"
        if metric or are_ranked(cells, classes):
            findings.recognise("answer", said, f"such as '{cells[0]}'")
        else:
            findings.doubt("answer", said, f"each cell has {k} words, such as '{cells[0]}', but none is a label of a "
                           "training item")
        return RankingAnswer(kind="ranking", column=column, k=k, **place)
    if isinstance(labels, IdentityLabels):
        return RankingAnswer(kind="ranking", column=column, k=1, **place)
    return single_answer(labels, classes, cells, column, place, findings, metric)


def columns_answer(labels: LabelsConfig, classes: list[str], sample: Sample, place: dict, findings: Findings,
                   metric: Metric | None) -> AnswerConfig:
    """A column a class. Raises RecognitionError where the columns are not the classes."""
    names = sample.columns
    unknown = sorted(set(classes) - set(names))
    if unknown:
        raise RecognitionError(f"{sample.file}: columns {shown(names)}, and the training items have class "
                               f"'{unknown[0]}', which is none of them; write competition.yml by hand, with labels.map "
                               "or answer.columns")
    exclusive = not isinstance(labels, JoinedLabels) and getattr(labels, "exclusive", True)
    rows = [[float(cells[row]) for cells in sample.cells.values() if are_numbers([cells[row]])]
            for row in range(min(50, len(sample.ids)))]
    sums = bool(rows) and all(abs(sum(row) - 1) < 1e-6 for row in rows)
    whole = all(are_zeros_and_ones(cells) for cells in sample.cells.values())
    if whole and not exclusive:
        options = [(False, "probabilities, a column a class"), (True, "0 or 1, a column a class")]
        if settled_by(metric, {"probs": False, "labels": True}, "what stands in the columns?", options,
                      "the sample has 0 and 1 only", findings):
            return LabelsAnswer(kind="labels", **place)
    findings.recognise("answer", f"a column of probabilities for each of {len(names)} classes", f"{shown(names)}")
    if exclusive and sums:
        findings.guess("answer", "the probabilities of an item sum to 1", "one class an item, and so do the sample's")
    return ProbabilitiesAnswer(kind="probabilities", sums_to_1=exclusive and sums, **place)


def joined_answer(labels: JoinedLabels, cells: list[str], column: str, place: dict, findings: Findings) -> LabelsAnswer:
    """Several classes in one cell, parted as in the sample or the training table."""
    separators = [mark for mark in (",", "|", ";", " ") if any(mark in cell for cell in cells)]
    separator = labels.separator or " "
    if separators and separators[0] != separator:
        separator = separators[0]
    findings.recognise("answer", f"several classes in '{column}'", f"such as '{cells[0] if cells else ''}'")
    return LabelsAnswer(kind="labels", column=column, separator=separator, **place)


def single_answer(labels: LabelsConfig, classes: list[str], cells: list[str], column: str, place: dict,
                  findings: Findings, metric: Metric | None) -> ClassAnswer | ProbabilityAnswer:
    """The name of a class, or the probability of one of two. Raises RecognitionError for a sample with other numbers.
    """
    fractions = bool(cells) and are_numbers(cells) and not are_whole(cells)
    numbers = bool(cells) and are_numbers(cells)
    named = bool(cells) and all(cell in classes for cell in cells[:200])
    require_fitting(cells, classes, column, place["sample"])
    if len(classes) == 2 and numbers and (fractions or not named or sorted(classes) == ["0", "1"]):
        of = likely_class(labels, classes, column, findings)
        options = [(True, f"the probability of '{of}' in '{column}'"), (False, f"the class's name in '{column}'")]
        if fractions:
            findings.recognise("answer", options[0][1], f"the sample has '{cells[0]}'")
        elif not settled_by(metric, {"probs": True, "class": False}, "what stands there?", options,
                            f"two classes, the sample has '{cells[0]}'", findings):
            return ClassAnswer(kind="class", column=column, **place)
        return ProbabilityAnswer(kind="probability", column=column, of=of, **place)
    findings.recognise("answer", f"the name of a class in '{column}'", f"such as '{cells[0] if cells else ''}'")
    return ClassAnswer(kind="class", column=column, **place)


def require_fitting(cells: list[str], classes: list[str], column: str, file: str) -> None:
    """Raises RecognitionError for fractions that are neither names of classes nor a probability of one of two."""
    strange = [cell for cell in cells if cell not in classes and are_numbers([cell])
               and not (are_whole([cell]) or len(classes) == 2 and 0 <= float(cell) <= 1)]
    if strange:
        raise RecognitionError(f"{file}: column '{column}' has '{strange[0]}', and the training items have "
                               f"{len(classes)} classes, such as {shown(classes, 3)}, none of which it names; the "
                               "column of labels may be another or spoilt: compare the training table with the "
                               "competition's, or write competition.yml by hand")


def settled_by(metric: Metric | None, known: dict[str, bool], question: str, options: list[tuple[bool, str]], why: str,
               findings: Findings) -> bool:
    """What the known metric scores; else what a person or the best guess says. known: kind of decision -> value."""
    if metric is None or metric.answer not in known:
        return findings.settle("answer", question, options, why)
    value = known[metric.answer]
    findings.recognise("answer", dict(options)[value], f"{metric.name} scores that")
    return value


def likely_class(labels: LabelsConfig, classes: list[str], column: str, findings: Findings) -> str:
    """Which of two classes a probability is of."""
    if sorted(classes) == ["0", "1"]:
        return "1"
    called = [name for name in classes if name.lower() in column.lower()]
    likely = called or [name for name in sorted(classes) if YES.fullmatch(name)] or sorted(classes)[-1:]
    order = [likely[0], *(name for name in classes if name != likely[0])]
    return findings.settle("answer", f"'{column}' is the probability of which class?",
                           [(name, f"that of '{name}'") for name in order], "the sample does not say")


def box_answer(cells: list[str], column: str, place: dict, findings: Findings) -> BoxesAnswer:
    """Boxes or points as text: how many words one has is read off the sample."""
    text = next((order for order in WORDS_OF_A_BOX if cells and all_boxes_fit(cells, order)), WORDS_OF_A_BOX[0])
    shape: Literal["boxes", "points"] = "points" if len(text) == 3 else "boxes"
    findings.guess("answer", f"{shape} as text in '{column}': {' '.join(text)}",
                   f"the sample has '{cells[0]}'" if cells else "the sample is empty")
    return BoxesAnswer(kind=shape, column=column, text=text, whole=shape == "points", empty=box_empty(cells, text),
                       **place)


def all_boxes_fit(cells: list[str], order: list[str]) -> bool:
    """Whether cells are boxes of these words."""
    words = [cell.split() for cell in cells[:2000]]
    boxes = [each[place : place + len(order)] for each in words for place in range(0, len(each), len(order))]
    return all(len(each) % len(order) == 0 for each in words) and fits_order(boxes, order)


def box_empty(cells: list[str], text: list[str]) -> str:
    """What stands for "no box here": the sample's own cell, where each is the same box of one pixel."""
    same = len(set(cells)) == 1 and len(cells[0].split()) == len(text) == 6
    return cells[0] if same and cells[0].split()[2:] == ["0", "0", "1", "1"] else ""


def mask_answer(labels: MaskLabels, sample: Sample, findings: Findings) -> MasksAnswer:
    """Run lengths: a row an image, an image and class, or an object."""
    lengths = [name for name in sample.columns if all(cell.replace(" ", "").isdigit() for cell in
                                                      filled(sample.cells[name])) and name != labels.label]
    column = next((name for name in lengths if any(" " in cell for cell in sample.cells[name])),
                  lengths[0] if lengths else sample.columns[-1])
    others = [name for name in sample.columns if name != column]
    rows: Literal["image", "class", "object"] = "image" if not others else "object" if labels.objects else "class"
    findings.recognise("answer", f"masks as run lengths in '{column}'", f"a row an {rows}" if rows != "class" else
                       "a row an image and class")
    return MasksAnswer(kind="masks", sample=sample.file, id=sample.id, column=column, rows=rows,
                       label=others[0] if others else None, order=labels.order, base=labels.base,
                       overlap=rows != "object")
