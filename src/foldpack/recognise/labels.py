"""What kind of labels the training items have, from the cells of their columns and of the sample."""

from __future__ import annotations

import re
from collections import Counter

from foldpack.recognise.context import Context
from foldpack.recognise.doubts import check_label_cells, is_ranking, require_one_separator, tell_twins
from foldpack.recognise.download.cells import (
    are_numbers,
    are_run_lengths,
    are_whole,
    are_zeros_and_ones,
    box_order,
    filled,
    first_pixel,
    label_separator,
)
from foldpack.recognise.download.sample import shown
from foldpack.recognise.findings import Findings
from foldpack.recognise.label_column import find_label_column
from foldpack.settings.label_kinds import (
    BoxLabels,
    ClassLabels,
    ClassNames,
    ClassTable,
    GradeLabels,
    IdentityLabels,
    JoinedLabels,
    LabelsConfig,
    MaskLabels,
    OneHotLabels,
    ValueLabels,
)

GRADES = re.compile(r"grade|level|diagnosis|severity|stage|isup|gleason|rating|ordinal|kl$", re.IGNORECASE)
CODES = re.compile(r"id$|^id|code|class|categor|label|species|breed", re.IGNORECASE)
NO_CLASS = re.compile(r"new|none|unknown|unidentified|other|no", re.IGNORECASE)
IDENTITY = re.compile(r"whale|individual|identity|person|hotel|product|landmark|dolphin", re.IGNORECASE)
CLASS_FILE = re.compile(r"label|class|categor|attribut|unicode|translation|names|codes", re.IGNORECASE)
MOST_GRADES = 12
FEW = 20  # different whole numbers from which they may be amounts


def find_labels(about: Context) -> LabelsConfig:
    """The kind of labels and their columns. Raises RecognitionError where no column can be it."""
    columns, sample, findings = about.train.columns, about.sample, about.findings
    shared = [name for name in sample.columns if name in columns]
    if boxes := box_columns(columns):
        return boxes_by_columns(about, boxes)
    runs = [name for name, cells in columns.items() if name not in about.used and are_run_lengths(cells)]
    if runs and not label_like(columns[runs[0]]):
        return mask_labels(about, runs[0])
    if len(sample.columns) > 1 and len(shared) == len(sample.columns):
        return labels_by_columns(about, shared)
    column = find_label_column(about.train, about.used, about.test_columns, sample, findings)
    return column_labels(about, column)


def label_like(cells: list[str]) -> bool:
    """Whether what looks like run lengths may be class numbers: few, which come again and again."""
    words = [word for cell in filled(cells)[:500] for word in cell.split()]
    return len(set(words)) < len(words) / 8 and max(map(len, words)) < 4


def labels_by_columns(about: Context, names: list[str]) -> OneHotLabels | ValueLabels:
    """A column for each class, or for each number."""
    columns, findings = about.train.columns, about.findings
    if all(are_zeros_and_ones(columns[name]) for name in names):
        sums = {sum(float(columns[name][row]) for name in names) for row in range(about.train.rows)}
        exclusive = sums == {1.0}
        findings.recognise("labels", f"a column of 0 and 1 for each of {len(names)} classes",
                           "exactly one 1 in each row" if exclusive else "rows with none or several 1")
        return OneHotLabels(kind="one-hot", columns=names, exclusive=exclusive)
    for name in names:
        check_label_cells(about, name, numbers=True)
    findings.recognise("labels", f"numbers in {shown(names)}", "the sample asks for these columns")
    return ValueLabels(kind="values", columns=names)


def column_labels(about: Context, column: str) -> LabelsConfig:
    """What one column of labels holds."""
    cells, sample, findings = about.train.columns[column], about.sample, about.findings
    answers = sample.cells[sample.columns[0]]
    if (order := box_order(cells)) and order[0] == "label" and len(order) > 4:
        return text_boxes(about, column, order)
    values, counts = filled(cells), Counter(filled(cells))
    separator = label_separator(cells)
    check_label_cells(about, column, several=separator is not None)
    if separator is None and is_ranking(answers, counts, about.metric):
        return identity_labels(column, counts, filled(answers)[0].split(), findings)
    if separator is not None:
        how = "white space" if separator[0] is None else f"'{separator[0]}'"
        words = {word for cell in counts for word in cell.split(separator[0])}
        require_one_separator(about, column, separator[0], how, words)
        findings.recognise("labels", f"several classes an item in '{column}'", f"parted by {how}, {len(words)} of them")
        tell_twins(words, findings)
        return JoinedLabels(kind="labels", column=column, separator=separator[0],
                            classes=class_names(about, words, column))
    if are_numbers(values) and (told := number_labels(about, column, values, answers)):
        return told
    tell_twins(counts, findings)
    findings.recognise("labels", f"one of {len(counts)} classes in '{column}'", f"such as {shown(list(counts), 3)}")
    return ClassLabels(kind="class", column=column, classes=class_names(about, set(counts), column))


def number_labels(about: Context, column: str, values: list[str], answers: list[str]) -> LabelsConfig | None:
    """Numbers that are amounts or grades; None where they are names of classes."""
    findings, sample = about.findings, about.sample
    distinct = sorted({float(value) for value in values})
    if not are_whole(values):
        findings.recognise("labels", f"numbers in '{column}'", f"from {distinct[0]:g} to {distinct[-1]:g}")
        return ValueLabels(kind="values", columns=[column])
    if len(distinct) == 2 or len(sample.columns) > 1:
        return None
    fractions = any(not are_whole([cell]) for cell in filled(answers)[:200])
    dense = len(distinct) > 0.5 * (distinct[-1] - distinct[0] + 1)
    plain = not CODES.search(column) and not named_elsewhere(about, {str(int(value)) for value in distinct})
    if fractions or len(distinct) >= FEW and dense and plain:
        findings.guess("labels", f"numbers in '{column}'", f"{len(distinct)} whole numbers from {distinct[0]:g} to "
                       f"{distinct[-1]:g}" + (", and the sample answers with fractions" if fractions else ""))
        low, high = round_range(distinct[0], distinct[-1])
        findings.guess("labels", f"there can be numbers from {low:g} to {high:g}", "training items have "
                       f"{distinct[0]:g} to {distinct[-1]:g}; the answer is cut to this range")
        return ValueLabels(kind="values", columns=[column], range=[low, high])
    if distinct != list(range(len(distinct))) or len(distinct) > MOST_GRADES:
        return None
    grades = GradeLabels(kind="grades", column=column, grades=len(distinct))
    words = f"ordered grades 0 to {len(distinct) - 1}"
    if named_elsewhere(about, {str(int(value)) for value in distinct}):
        return None
    if GRADES.search(column):
        findings.guess("labels", f"{words} in '{column}'", "whole numbers from 0 on in a column that is called so")
        return grades
    options: list[tuple[LabelsConfig | None, str]] = [(None, "names of classes"), (grades, words)]
    if not CODES.search(column):
        options.reverse()
    return findings.settle("labels", f"are the numbers in '{column}' grades in order, or names of classes?", options,
                           "whole numbers from 0 on can be either")


def round_range(low: float, high: float) -> tuple[float, float]:
    """0 to 100 and the like, where numbers nearly fill it; else what was seen."""
    for top in (1.0, 5.0, 10.0, 100.0):
        if 0 <= low <= top / 10 and 0.9 * top <= high <= top:
            return 0.0, top
    return low, high


def named_elsewhere(about: Context, classes: set[str]) -> bool:
    """Whether another file has a name for each of these numbers."""
    if any(classes <= set(cells) and len(set(cells)) == len(cells) and CLASS_FILE.search(head.file)
           for head in about.others for cells in head.columns.values()):
        return True
    return bool(classes) and any(classes <= keys for keys in about.maps)


def identity_labels(column: str, counts: Counter[str], best: list[str], findings: Findings) -> LabelsConfig:
    """Labels that are answered by several, best first; one of them may stand for what is like no other."""
    total = sum(counts.values())
    likely = (best[0], counts.most_common(1)[0][0])
    none = next((name for name in likely if name in counts and NO_CLASS.match(name)), None)
    findings.recognise("labels", f"one of {len(counts)} in '{column}'",
                       f"the sample answers with {len(best)} of them, best first")
    if none is not None:
        findings.guess("labels", f"'{none}' stands for items that are like no other", f"its name, and "
                       f"{counts[none]} of {total} items have it")
    if none is not None or IDENTITY.search(column) or len(counts) > total / 5:
        return IdentityLabels(kind="identity", column=column, none=none)
    options: list[tuple[LabelsConfig, str]]
    options = [(ClassLabels(kind="class", column=column), "classes"),
               (IdentityLabels(kind="identity", column=column), "individuals, to be found again")]
    return findings.settle("labels", f"are the labels in '{column}' individuals or classes?", options,
                           "either may be ranked")


def class_names(about: Context, words: set[str], column: str) -> ClassNames:
    """The answer's columns, or the table that names all classes; None where only training items do."""
    asked = about.sample.columns
    if len(asked) > 1:
        return "answer" if words <= set(asked) else None
    for head in about.others:
        for name, cells in head.columns.items():
            if (words <= set(cells) and len(set(cells)) == len(cells) and head.source.kind == "csv"
                    and (CLASS_FILE.search(head.file) or name == column)):
                about.findings.recognise("labels", f"{len(cells)} classes in column '{name}' of {head.file}",
                                         f"all {len(words)} labels of the training items are there")
                source = head.source
                return ClassTable(file=head.file, column=name, separator=source.separator, encoding=source.encoding)
    return None


# ---- boxes and masks ----

CORNER_NAMES = (("x_min", "y_min", "x_max", "y_max"), ("xmin", "ymin", "xmax", "ymax"), ("x1", "y1", "x2", "y2"),
                ("left", "top", "right", "bottom"))
SIDE_NAMES = (("x", "y", "width", "height"), ("x", "y", "w", "h"))


def box_columns(columns: dict[str, list[str]]) -> dict[str, str] | str | None:
    """Which columns are the corners or the corner and sides of boxes; or the column of `bbox`."""
    known = {name.lower(): name for name in columns}
    for words in (CORNER_NAMES, SIDE_NAMES):
        kind = words[0]
        for names in words:
            if all(name in known and are_numbers(columns[known[name]]) for name in names):
                return {word: known[name] for word, name in zip(kind, names, strict=True)}
    return known.get("bbox")


def boxes_by_columns(about: Context, boxes: dict[str, str] | str) -> BoxLabels:
    """A row a box, its class in another column; rows without a box have the class that means it."""
    columns, findings = about.train.columns, about.findings
    names = [name for name in columns if re.search(r"class|categor|label|species", name, re.IGNORECASE)
             and name not in about.used]
    asked = [cell.split()[0] for cell in filled(about.sample.cells[about.sample.columns[0]])[:50]]
    label = next((name for name in names if set(asked) & set(columns[name])), names[0] if names else None)
    empty = columns[boxes["x_min" if "x_min" in boxes else "x"]] if isinstance(boxes, dict) else columns[boxes]
    bare = Counter(columns[label][row] for row, cell in enumerate(empty) if not cell.strip()) if label else Counter()
    none = next(iter(bare), None) if len(bare) == 1 else None
    raters = [name for name in columns if re.match(r"rad|rater|annotator|reader", name, re.IGNORECASE)]
    findings.recognise("labels", f"boxes in {shown(list(boxes.values())) if isinstance(boxes, dict) else boxes}",
                       f"class in '{label}'" + (f", '{none}' where there is no box" if none else ""))
    if raters:
        findings.guess("labels", f"'{raters[0]}' says who drew a box", "its name")
    return BoxLabels(kind="boxes", columns=boxes if isinstance(boxes, dict) else None,
                     bbox=boxes if isinstance(boxes, str) else None, label=label, none=none,
                     rater=raters[0] if raters else None)


def text_boxes(about: Context, column: str, order: list[str]) -> BoxLabels:
    """Boxes as text in a cell."""
    cells = about.train.columns[column]
    words = {cell.split()[place] for cell in filled(cells) for place in range(0, len(cell.split()), len(order))}
    none = next((word for word in sorted(words) if NO_CLASS.fullmatch(word)), None)
    about.findings.recognise("labels", f"boxes as text in '{column}': {' '.join(order)}", f"{len(words)} classes")
    return BoxLabels(kind="boxes", column=column, text=order, none=none, classes=class_names(about, words, column))


def mask_labels(about: Context, column: str) -> MaskLabels:
    """Masks as run lengths, of an image, of each class of it, or of each object."""
    columns, sample, findings = about.train.columns, about.sample, about.findings
    ids = columns[next(iter(about.used & columns.keys()))]
    others = [name for name in columns if name in sample.columns and name != column and name not in about.used]
    others += [name for name in columns if re.search("class", name, re.IGNORECASE) and name not in [*others, column]]
    label = others[0] if others and len(set(ids)) < len(ids) else None
    named = len(set(zip(ids, columns[label], strict=True))) == len(ids) if label else True
    counts = Counter(Counter(ids).values())  # a long table was read in parts: items at their ends have fewer rows
    complete = label is None or named and max(counts.values()) > 0.95 * counts.total()
    rows = "" if label is None else f", a row an image and '{label}'" if complete else f", a row an object of '{label}'"
    findings.recognise("labels", f"masks as run lengths in '{column}'", f"pairs of start and length{rows}")
    findings.guess("labels", "pixels are counted down the columns", "nearly all count so; look at the masks")
    return MaskLabels(kind="masks", column=column, label=label, objects=not complete, base=first_pixel(columns[column]))
