"""What a first run learns, by which loss, and which metric it follows, from what a competition says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from foldpack.metrics.plugin import find_metric
from foldpack.metrics.registry import Metric, base_name
from foldpack.settings.answer_forms import AnswerConfig, RankingAnswer, ValuesAnswer
from foldpack.settings.label_kinds import GradeLabels, LabelsConfig, OneHotLabels, ValueLabels
from foldpack.settings.project_code import is_project_code

SINGLE = {"f1": "micro_f1", "f1_micro": "micro_f1", "f1_macro": "macro_f1"}  # F1 of one class an item
SEVERAL = {"accuracy": "f1_micro", "error": "f1_micro", "micro_f1": "f1_micro", "macro_f1": "f1_macro"}
USUAL_METRICS = {"class": "accuracy", "probability": "log_loss", "probabilities": "log_loss", "labels": "f1_micro",
                 "values": "rmse", "grades": "qwk"}  # by the kind of the answer


@dataclass(frozen=True)
class Training:
    """`task`, `loss.name`, `metric` and `range` of a run."""

    task: Literal["classify", "regress", "embed"]
    loss: str
    metric: str
    range: list[float] | None = None


def default_training(labels: LabelsConfig, answer: AnswerConfig, metric: str) -> Training | None:
    """The usual way to learn such labels; None for boxes and masks, for which there are no networks yet.

    metric: a name, as `of_competition.metric_name` gives; where runs of that task cannot follow it, the nearest that
    they can, or the usual one of such an answer. Raises FoldpackError for an unknown name.
    """
    if labels.kind in ("boxes", "masks"):
        return None
    if is_project_code(metric):
        found = None  # a file of the project is not run for a guess
    else:
        found = find_metric(metric)
    if labels.kind == "values" or (labels.kind == "grades" and _is_of_numbers(found)):
        name = metric if _is_of_numbers(found) else "rmse"
        return Training("regress", "l1" if name == "mae" else "mse", name, value_range(labels, answer))
    if labels.kind == "identity" and isinstance(answer, RankingAnswer):
        ranked = found is None or bool(found.map_at) or labels.none is None and bool(found.hit_at)
        return Training("embed", "arcface", metric if ranked else f"map:{answer.k}")
    if labels.kind == "labels" or (isinstance(labels, OneHotLabels) and not labels.exclusive):
        return Training("classify", "bce", _of_several(metric, found, answer))
    return Training("classify", "cross_entropy", _of_one(metric, found, answer))


def value_range(labels: LabelsConfig, answer: AnswerConfig) -> list[float] | None:
    """Lowest and highest that the labels can be, or that the answer may be; None where neither says it."""
    if isinstance(labels, ValueLabels) and labels.range is not None:
        return labels.range
    if isinstance(labels, GradeLabels):
        return [0.0, labels.grades - 1.0]
    return answer.range if isinstance(answer, ValuesAnswer) else None


def _is_of_numbers(metric: Metric | None) -> bool:
    return metric is None or metric.needs in ("values", "grades")


def _of_several(metric: str, found: Metric | None, answer: AnswerConfig) -> str:
    """A metric that runs with several labels an item can follow."""
    if found is None or found.needs == "labels":
        return metric
    if base_name(found) in SEVERAL:
        return SEVERAL[base_name(found)]
    return metric if found.of_several else _usual(answer, "f1_micro")


def _of_one(metric: str, found: Metric | None, answer: AnswerConfig) -> str:
    """A metric that runs with one class an item can follow."""
    if found is None or found.needs == "probs":
        return metric
    return SINGLE.get(base_name(found)) or _usual(answer, "accuracy")


def _usual(answer: AnswerConfig, otherwise: str) -> str:
    if isinstance(answer, RankingAnswer):
        return f"map:{answer.k}"
    usual = USUAL_METRICS.get(answer.kind, otherwise)
    return otherwise if usual in ("rmse", "qwk") else usual
