"""Which metric fits what a kernel hands in: a promised score must be that of the very cells of the submission."""

from __future__ import annotations

from collections.abc import Sequence

from foldpack.metrics.registry import METRICS, known_metric
from foldpack.settings.stages import DECISIONS, LINKS, AnswerKind

IN_WORDS: dict[AnswerKind, str] = {
    "class": "one class an item",
    "labels": "a set of labels an item",
    "grades": "a grade an item",
    "values": "a value an item",
    "probs": "probabilities",
    "ranking": "a ranked list of classes an item",
    "pages": "boxes, points or masks",
}


def task_answers(task: str) -> tuple[AnswerKind, ...]:
    """What can be handed in of what the runs of a task predict; a search chooses the one that its metric scores."""
    others: dict[str, tuple[AnswerKind, ...]] = {"regress": DECISIONS["identity"], "embed": ("ranking",)}
    return others[task] if task in others else DECISIONS[LINKS[task]]


def answer_problem(name: str, answer: AnswerKind, handed_in: Sequence[AnswerKind]) -> str | None:
    """What is wrong and what is allowed, where a metric scores none of what a kernel can hand in; else None.

    name, answer: of the metric; handed_in: kinds of decisions.
    """
    if answer in handed_in:
        return None
    allowed = sorted(other for other, metric in METRICS.items() if metric.answer in handed_in)
    return (f"metric '{name}' scores {IN_WORDS[answer]}, but a kernel hands in "
            f"{' or '.join(IN_WORDS[kind] for kind in handed_in)}; allowed: {', '.join(allowed)}")


def answer_of(name: str, said: AnswerKind | None) -> AnswerKind | None:
    """What a metric scores, by its name in an ensemble YAML. said: `metric.answer` there; None: nobody knows."""
    known = known_metric(name)
    return said if known is None else known.answer
