"""What may stand in the cells of a submission, by what is decided of an item."""

from __future__ import annotations

import math
from collections.abc import Callable

from foldpack.competitions.label_cells import split_labels
from foldpack.settings.outputs import Values
from foldpack.settings.stages import Decision, GradesDecision, LabelsDecision, Outputs, RankingDecision


def cell_rule(outputs: Outputs, decision: Decision, joiner: str) -> Callable[[str], str]:
    """cell -> what is wrong with it, "" where nothing is. joiner: between several classes of one cell."""
    if isinstance(decision, GradesDecision):
        grades = {str(grade) for grade in range(len(decision.cuts) + 1)}
        return lambda cell: "" if cell in grades else f"'{cell}', which is no grade from 0 to {len(grades) - 1}"
    if isinstance(outputs, Values) or decision.kind == "probs":
        return number_problem
    known = set(outputs.names)
    several = isinstance(decision, LabelsDecision | RankingDecision)
    most = decision.k if isinstance(decision, RankingDecision) else len(known)

    def problem(cell: str) -> str:
        words = split_labels(cell, joiner) if several else [cell]
        if strange := [word for word in words if word not in known]:
            return f"'{strange[0]}', which is not a class"
        if len(set(words)) < len(words):
            return f"'{cell}', which names a class twice"
        return f"{len(words)} classes, but at most {most} are asked for" if len(words) > most else ""

    return problem


def number_problem(cell: str) -> str:
    """What is wrong with a cell that should be a finite number; "" for one."""
    try:
        return "" if math.isfinite(float(cell)) else f"'{cell}', which is not finite"
    except ValueError:
        return f"'{cell}', which is no number"
