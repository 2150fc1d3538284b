"""Blended numbers and answers as tables shaped like a submission: columns under the names of the classes."""

from __future__ import annotations

import numpy as np
import pandas as pd

from foldpack.search.files.class_names import numbered
from foldpack.settings.stages import StageSpec

NO_CLASS = "new_class"  # the name of "in no class", unless a class is called so


def class_names(stage: StageSpec, columns: int) -> list[str]:
    """The names of a stage's columns; with a score for "in no class" one more than of its classes."""
    known = stage.outputs.names
    known = known if len(known) in (columns, columns - 1) else numbered(columns)
    return known if len(known) == columns else [*known, NO_CLASS if NO_CLASS not in known else "-1"]


def number_frame(stage: StageSpec, values: np.ndarray) -> pd.DataFrame:
    """(n, C) or (n,) numbers -> a column for each class, or one column."""
    table = values[:, None] if values.ndim == 1 else values
    return pd.DataFrame(table, columns=class_names(stage, table.shape[1]))


def answer_frame(stage: StageSpec, answer: np.ndarray) -> pd.DataFrame:
    """What `decided_rows` gives -> one column: a class name, class names with spaces between, a grade, or 0/1; of
    values a column each.

    Names that have spaces in them are put together with | between.
    """
    column = (stage.files.label_column if stage.files is not None else None) or "label"
    if answer.dtype.kind == "f":  # values, cut to their range
        return number_frame(stage, answer)
    names = class_names(stage, max(1, len(stage.outputs.names)))
    if answer.dtype == bool and answer.shape[1] == 1:
        return pd.DataFrame({column: answer[:, 0].astype(int)})
    if answer.ndim == 1:
        return pd.DataFrame({column: np.array(names)[answer] if stage.outputs.exclusive else answer})
    between = "|" if any(" " in name for name in names) else " "
    if answer.dtype == bool:
        names = class_names(stage, answer.shape[1])
        return pd.DataFrame({column: [between.join(np.array(names)[row]) for row in answer]})
    no_class = class_names(stage, len(names) + 1)[-1]
    return pd.DataFrame({column: [between.join(no_class if one < 0 else names[one] for one in row) for row in answer]})
