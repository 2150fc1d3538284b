"""Which metric fits what a kernel hands in: a promised score must be that of the very cells of the submission."""

from __future__ import annotations

from foldpack.metrics.registry import METRICS
from foldpack.settings.ensemble import AnswerKind

# What the kernel of a task writes for an item: `ensemble.answers.answer_cells`.
HANDED_IN: dict[str, AnswerKind] = {"multiclass": "class", "multilabel": "labels"}
IN_WORDS: dict[AnswerKind, str] = {
    "class": "one class an item",
    "labels": "a set of labels an item",
    "grades": "a grade an item",
    "values": "a value an item",
    "probs": "probabilities",
    "ranking": "a ranked list of classes an item",
    "pages": "boxes, points or masks",
}


def answer_problem(name: str, answer: AnswerKind, task: str) -> str | None:
    """What is wrong and what is allowed, where a metric does not score what a kernel of the task hands in; else None.

    name, answer: of the metric; task: of the runs.
    """
    if task not in HANDED_IN:
        return f"no kernel answers runs of task '{task}' yet; allowed: {', '.join(HANDED_IN)}"
    if answer == HANDED_IN[task]:
        return None
    return (f"metric '{name}' scores {IN_WORDS[answer]}, but a kernel hands in {IN_WORDS[HANDED_IN[task]]} "
            f"({task}); allowed: {', '.join(fitting_metrics(task))}")


def fitting_metrics(task: str) -> list[str]:
    """The built-in metrics that score what a kernel of the task hands in."""
    return sorted(name for name, metric in METRICS.items() if metric.answer == HANDED_IN[task])


def answer_of(name: str, said: AnswerKind | None) -> AnswerKind | None:
    """What a metric scores, by its name in an ensemble YAML. said: `metric.answer` there; None: nobody knows."""
    return METRICS[name].answer if name in METRICS else said
