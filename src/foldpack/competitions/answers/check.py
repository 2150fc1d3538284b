"""Whether a file is what a competition asks for: ids, rows, columns, and cells by the form of its answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from foldpack.competitions.answer_table import AnswerTable, read_answer_table
from foldpack.competitions.answers.form import Fault, Form, Known
from foldpack.errors import DataError
from foldpack.settings.outputs import Values
from foldpack.settings.stages import GradesDecision, StageSpec


def check_submission(path: Path, form: Form, sample: AnswerTable | None, known: Known) -> None:
    """Raises DataError for the first thing that is wrong with a submission of ours, which has the sample's rows in the
    sample's order. sample: None where it is not at hand; then only the cells are looked at, and ids that stand there
    twice."""
    table = read_submission(path, form, known)
    for fault in submission_faults(table, form, sample, known, in_order=True):
        raise DataError(fault.line(path))


def known_of(stage: StageSpec) -> Known:
    """What a stage says of the cells that it writes."""
    cuts = stage.decision.cuts if isinstance(stage.decision, GradesDecision) else None
    return Known([] if isinstance(stage.outputs, Values) else stage.outputs.names,
                 None if cuts is None else len(cuts) + 1, ours=True)


def read_submission(path: Path, form: Form, known: Known) -> AnswerTable:
    """A submission. Raises DataError for a file that is no table, or lacks a column."""
    table = read_answer_table(path, form.answer.id, [])
    return read_answer_table(path, form.answer.id, [*form.apart, *form.columns_of(table, known.classes)])


def submission_faults(
    table: AnswerTable, form: Form, sample: AnswerTable | None, known: Known, in_order: bool = False
) -> Iterator[Fault]:
    """All that is wrong. in_order: whether the rows must have the sample's order though ids tell them apart."""
    if sample is not None:
        yield from row_faults(table, form, sample.named(), in_order)
    elif "" in table.columns:
        yield Fault("a column has no name; write the table without its row numbers (pandas: to_csv(index=False))")
    elif not form.many_rows:
        yield from repeated_ids(table, form)
    yield from form.faults(table, known)


def repeated_ids(table: AnswerTable, form: Form) -> Iterator[Fault]:
    """Rows that ask for what an earlier row has asked for, where nothing else tells them apart."""
    seen = set()
    for number, (item, *others) in enumerate(zip(table.ids, *map(table.column, form.apart), strict=True), 1):
        if (item, *others) in seen:
            yield Fault(f"stands there more than once; allowed: one row for each {', '.join(['id', *form.apart])}",
                        number, item)
        seen.add((item, *others))


def row_faults(table: AnswerTable, form: Form, sample: AnswerTable, in_order: bool) -> Iterator[Fault]:
    """What is wrong with columns and ids."""
    if table.columns != sample.columns:
        more = [name for name in table.columns if name not in sample.columns]
        hint = "; leave the row numbers out (pandas: to_csv(index=False))" if more in ([""], ["Unnamed: 0"]) else ""
        got = ", ".join(name or "one without a name" for name in table.columns)
        yield Fault(f"columns {got}; allowed: {', '.join(sample.columns)}, in this order{hint}")
    ids, wanted = table.ids, sample.ids
    asked, given = Counter(wanted), Counter(ids)
    if missing := [item for item in asked if item not in given]:
        yield Fault(f"{len(missing)} of {len(asked)} ids are missing, such as '{missing[0]}'; each id of the sample "
                    "submission needs a row")
    for number, item in enumerate(ids, 1):
        if item not in asked:
            yield Fault("the sample submission does not ask for this id; leave the row out", number, item)
    if form.many_rows:
        return
    last = {item: number for number, item in enumerate(ids, 1)}
    for item, count in given.items():
        if item in asked and count != asked[item]:
            yield Fault(f"has {count} rows; allowed: {asked[item]}, as in the sample submission", last[item], item)
    ordered = in_order or len(asked) < len(wanted)
    if ordered and asked == given and ids != wanted:
        number = next(place for place, pair in enumerate(zip(ids, wanted, strict=True)) if pair[0] != pair[1])
        yield Fault(f"the sample submission has id '{wanted[number]}' here; keep its order", number + 1, ids[number])
    elif asked == given:
        for name in form.apart:
            for number, (item, cell, other) in enumerate(zip(ids, table.column(name), sample.column(name), strict=True),
                                                         1):
                if cell != other:
                    yield Fault(f"{name} is '{cell}', but '{other}' in the sample submission; keep its rows", number,
                                item)
