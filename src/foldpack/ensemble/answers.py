"""From the rows of the last stage to what is said of each item. A metric scores exactly this."""

from __future__ import annotations

from itertools import chain, pairwise

import numpy as np

from foldpack.data.answers import Answers
from foldpack.data.rows import Rows
from foldpack.ensemble.thresholds import cut_grades, cut_values, decide, top_classes, with_new_score
from foldpack.settings.outputs import Values
from foldpack.settings.stages import (
    ClassDecision,
    Decision,
    GradesDecision,
    LabelsDecision,
    Outputs,
    RankingDecision,
    ValuesDecision,
    numbered,
)


def answers_of(rows: Rows, decision: Decision, outputs: Outputs) -> Answers:
    """What the decision makes of rows: column `probs` (n, C) float32 of classes, or `value` (n, T) float32 of values.

    Names where classes are decided on, see `decided_rows`; else numbers. Where items are boxes, an image is answered
    with the names of all its boxes, in their order.
    """
    numbers = np.asarray(rows.columns["value" if isinstance(outputs, Values) else "probs"])
    decided, names = decided_rows(decision, numbers), outputs.names
    if isinstance(outputs, Values):
        return Answers(numbers=numbers if decided is None else decided, columns=names)
    if decided is None:
        columns = numbered(outputs, decision)
        return Answers(numbers=numbers[:, [names.index(name) for name in columns]], columns=columns)
    if decided.dtype == bool:
        said = [[names[k] for k in np.flatnonzero(row)] for row in decided]
    else:
        said = [[names[k] for k in row] for row in (decided[:, None] if decided.ndim == 1 else decided)]
    if rows.starts is not None:
        said = [list(chain(*said[first:end])) for first, end in pairwise(rows.starts.tolist())]
    return Answers(said, columns=names)


def decided_rows(decision: Decision, numbers: np.ndarray) -> np.ndarray | None:
    """The decision in numbers, the same in search, kernel and `foldpack blend`; None: the numbers themselves.

    numbers: (n, C) float32 probabilities or values, or (n,) where an item has one. Class: (n,) int64, the likeliest,
    the first of equal ones. Labels: (n, C) bool. Ranking: (n, at most k) int64, equal ones in column order; with a
    `none_score` the last column, "none of these", has that score and is -1, at `none_rank` at the latest. Grades:
    int64, how many cuts lie at or below the value. Values: cut to their range.
    """
    if isinstance(decision, ClassDecision):
        return numbers.argmax(axis=1)
    if isinstance(decision, LabelsDecision):
        table = numbers if numbers.ndim == 2 else numbers[:, None]
        return decide(table, np.asarray(decision.threshold), decision.min_labels, decision.max_labels)
    if isinstance(decision, RankingDecision):
        none = decision.none_score
        scores = numbers if none is None else with_new_score(numbers, none, decision.none_rank)
        ranked = top_classes(scores, decision.k)[:, :decision.k]
        return ranked if none is None else np.where(ranked == numbers.shape[1] - 1, -1, ranked)
    if isinstance(decision, GradesDecision):
        return cut_grades(numbers, np.asarray(decision.cuts, dtype=numbers.dtype))
    if isinstance(decision, ValuesDecision) and decision.range is not None:
        return cut_values(numbers, decision.range)
    return None


def prior_rows(outputs: Outputs, count: int) -> Rows:
    """Rows of which nothing is known: the share of each class in the training labels, or the mean of each value."""
    column = "value" if isinstance(outputs, Values) else "probs"
    return Rows({column: np.tile(np.asarray(outputs.prior, dtype=np.float32), (count, 1))})
