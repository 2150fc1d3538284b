"""What a decision makes of a blend, in numbers: the same in search, kernel and `foldpack blend`."""

from __future__ import annotations

import numpy as np

from foldpack.ensemble.candidates import top_classes
from foldpack.ensemble.thresholds import cut_grades, decide
from foldpack.settings.stages import ClassDecision, Decision, GradesDecision, LabelsDecision, RankingDecision


def decided_rows(decision: Decision, blended: np.ndarray) -> np.ndarray | None:
    """(n,) int64 classes or grades; (n, C) bool labels; (n, k) int64 rankings; None: the numbers themselves.

    blended: (n, C) float32 probabilities, or (n,) where an item has one number. With a score of "in no class" that is
    the last column, and -1 in a ranking.
    """
    if isinstance(decision, ClassDecision):
        return blended.argmax(axis=1)
    if isinstance(decision, LabelsDecision):
        table = blended if blended.ndim == 2 else blended[:, None]
        return decide(table, np.asarray(decision.threshold), decision.min_labels, decision.max_labels)
    if isinstance(decision, RankingDecision):
        ranked = top_classes(blended, decision.k)[:, :decision.k]
        return ranked if decision.new_score is None else np.where(ranked == blended.shape[1] - 1, -1, ranked)
    return cut_grades(blended, np.array(decision.cuts)) if isinstance(decision, GradesDecision) else None
