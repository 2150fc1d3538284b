"""From the rows of the last stage to what is said of each item. A metric scores exactly this."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from foldpack.data.answers import Answers
from foldpack.data.rows import Rows
from foldpack.ensemble.candidates import top_classes
from foldpack.ensemble.thresholds import cut_grades, decide, with_new_score
from foldpack.settings.stages import (
    ClassDecision,
    Decision,
    GradesDecision,
    LabelsDecision,
    Outputs,
    RankingDecision,
    Values,
    numbered,
)


def answers_of(rows: Rows, decision: Decision, outputs: Outputs) -> Answers:
    """What the decision makes of rows: column `probs` (n, C) float32 of classes, or `value` (n, T) float32 of values.

    Class: the likeliest, the first of equal ones; where items are boxes, that of each box of an image in their order.
    Labels: those at or above the threshold, in column order. Ranking: the best k, equal ones in column order; with a
    `none_score` the last class, "none of these", has that score. Probabilities and values: the numbers. Grades: how
    many cuts lie at or below the value.
    """
    if isinstance(outputs, Values):
        values = np.asarray(rows.columns["value"])
        if isinstance(decision, GradesDecision):
            values = cut_grades(values, np.asarray(decision.cuts, dtype=values.dtype))
        return Answers(numbers=values, columns=outputs.names)
    probs, names = np.asarray(rows.columns["probs"]), outputs.names
    if isinstance(decision, ClassDecision):
        likeliest = [names[k] for k in probs.argmax(axis=1)]
        starts = range(len(likeliest) + 1) if rows.starts is None else rows.starts.tolist()
        return Answers([likeliest[first:end] for first, end in pairwise(starts)])
    if isinstance(decision, LabelsDecision):
        chosen = decide(probs, np.asarray(decision.threshold), decision.min_labels, decision.max_labels)
        return Answers([[names[k] for k in np.flatnonzero(row)] for row in chosen])
    if isinstance(decision, RankingDecision):
        scores = probs if decision.none_score is None else with_new_score(probs, decision.none_score)
        return Answers([[names[k] for k in row] for row in top_classes(scores, min(decision.k, len(names)))])
    columns = numbered(outputs, decision)
    return Answers(numbers=probs[:, [names.index(name) for name in columns]], columns=columns)


def prior_rows(outputs: Outputs, count: int) -> Rows:
    """Rows of which nothing is known: the share of each class in the training labels, or the mean of each value."""
    column = "value" if isinstance(outputs, Values) else "probs"
    return Rows({column: np.tile(np.asarray(outputs.prior, dtype=np.float32), (count, 1))})
