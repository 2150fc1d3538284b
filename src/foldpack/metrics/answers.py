"""Which metric fits what a kernel hands in: a promised score must be that of the very cells of the submission."""

from __future__ import annotations

from collections.abc import Sequence

from foldpack.errors import FoldpackError
from foldpack.metrics.registry import METRICS, Metric, known_metric
from foldpack.settings.answer_forms import AnswerConfig, ClassAnswer, ProbabilityAnswer
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


# Kind of an answer in `competition.yml` -> the decisions that fill it: `competitions.answers` has the forms.
FILLED_BY: dict[str, tuple[AnswerKind, ...]] = {
    "class": ("class",),
    "probability": ("probs",),
    "probabilities": ("probs",),
    "labels": ("labels", "class"),
    "values": ("values",),
    "grades": ("grades", "class"),
    "ranking": ("ranking",),
    "boxes": ("pages",),
    "points": ("pages",),
    "masks": ("pages",),
}


def form_problem(kind: str, metric: Metric) -> str | None:
    """What is wrong and what is allowed, where an answer of a competition's kind has not what a metric scores."""
    if metric.answer in FILLED_BY[kind]:
        return None
    others = [other for other, filled in FILLED_BY.items() if metric.answer in filled]
    scored = sorted(name for name, one in METRICS.items() if one.answer in FILLED_BY[kind])
    text = (f"metric '{metric.name}' scores {IN_WORDS[metric.answer]}, and an answer of kind '{kind}' has none; set "
            f"answer.kind to {' or '.join(others)}")
    return f"{text}, or the metric to one of: {', '.join(scored)}" if scored else text


def fitting_answer(answer: AnswerConfig, metric: Metric, classes: Sequence[str]) -> AnswerConfig:
    """The answer that a metric can score: the one given, if it is that.

    An answer of one class, where the classes are written as 0 and 1 and the metric scores probabilities, becomes the
    probability of the class 1: a sample submission cannot show that any number is taken. classes: in their order.
    Raises FoldpackError for an answer that the metric does not score.
    """
    problem = form_problem(answer.kind, metric)
    if problem is None:
        return answer
    if isinstance(answer, ClassAnswer) and metric.answer == "probs":
        written = {answer.map.get(name, name): name for name in classes}
        if set(written) == {"0", "1"}:
            return ProbabilityAnswer(kind="probability", sample=answer.sample, id=answer.id, column=answer.column,
                                     of=written["1"])
    raise FoldpackError(problem)
