"""Which metric fits what a kernel hands in: a promised score must be that of the very cells of the submission."""

from __future__ import annotations

from foldpack.metrics.registry import METRICS
from foldpack.settings.stages import AnswerKind

# What is decided of an item, by the task of the runs.
HANDED_IN: dict[str, AnswerKind] = {"multiclass": "class", "multilabel": "labels", "regress": "values",
                                    "embed": "ranking"}
IN_WORDS: dict[str, str] = {
    "class": "one class an item",
    "labels": "a set of labels an item",
    "grades": "a grade an item",
    "values": "a value an item",
    "probs": "probabilities",
    "ranking": "a ranked list of classes an item",
    "pages": "boxes, points or masks",
    "hand_on": "boxes for a later stage",
}


def answer_problem(name: str, answer: AnswerKind, handed_in: str) -> str | None:
    """What is wrong and what is allowed, where a metric does not score what a kernel hands in; else None.

    name, answer: of the metric; handed_in: the kind of the decision.
    """
    if answer == handed_in:
        return None
    allowed = sorted(other for other, metric in METRICS.items() if metric.answer == handed_in)
    return (f"metric '{name}' scores {IN_WORDS[answer]}, but a kernel hands in {IN_WORDS[handed_in]}; "
            f"allowed: {', '.join(allowed)}")


def answer_of(name: str, said: AnswerKind | None) -> AnswerKind | None:
    """What a metric scores, by its name in an ensemble YAML. said: `metric.answer` there; None: nobody knows."""
    return METRICS[name].answer if name in METRICS else said
