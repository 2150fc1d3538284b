"""The metrics that a run or a search can be asked for. Each is numpy in, float out, and knows which way is better."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np

from foldpack.errors import FoldpackError, did_you_mean
from foldpack.metrics.classification import (
    accuracy,
    auc,
    average_precision,
    log_loss,
    macro_f1,
    quadratic_kappa,
    top_k_accuracy,
)
from foldpack.metrics.fbeta import fbeta_macro, fbeta_micro, fbeta_samples
from foldpack.metrics.ranking import map_at_k, multi_map_at_k, recall_at_k, top_k
from foldpack.metrics.regression import mae, pinball, rmse
from foldpack.settings.stages import AnswerKind

# What a metric wants as `p`: probabilities or ranking scores; bool decisions (after a threshold); int grades (after
# cut points); or real values. Scores of boxes, points and masks are functions of their own, in `metrics.detection` and
# `metrics.kuzushiji`: no blend weights can be searched for them.
Needs = Literal["probs", "labels", "grades", "values"]


@dataclass(frozen=True)
class Metric:
    """A score of predictions against the truth.

    function(y, p) -> float. y: (n,) int classes, (n, C) bool labels, or (n,) float values; p as `needs` says.
    A metric with `uses_groups` also takes `groups` (n,), for scores that are defined by group.
    """

    name: str
    function: Callable[..., float]
    needs: Needs = "probs"
    greater_is_better: bool = True
    beta: float = 0.0  # of an F-beta: what the exact threshold sweep needs to know
    average: Literal["samples", "micro", "macro"] = "samples"  # of an F-beta
    uses_groups: bool = False
    map_at: int = 0  # of a mean average precision at k: k
    hit_at: int = 0  # of the share of items that are right among the best k: k
    scored: AnswerKind | None = None  # see `answer`; None: what `needs` says

    @property
    def answer(self) -> AnswerKind:
        """What has to be handed in for this score. Accuracy takes probabilities but scores the likeliest class."""
        return self.scored or self.needs

    def __call__(self, y: np.ndarray, p: np.ndarray, groups: np.ndarray | None = None) -> float:
        return self.function(y, p, groups) if self.uses_groups else self.function(y, p)

    def gain(self, y: np.ndarray, p: np.ndarray, groups: np.ndarray | None = None) -> float:
        """The score turned so that greater is better."""
        score = self(y, p, groups)
        return score if self.greater_is_better else -score


def _ranked_map(k: int, y: np.ndarray, p: np.ndarray) -> float:
    """MAP@k of (n, C) scores; y (n,) int for one right class an item, (n, C) bool for many."""
    ranked = top_k(p, k)
    return multi_map_at_k(y, ranked, k) if y.ndim == 2 else map_at_k(y, ranked, k)


def _ranked_recall(k: int, y: np.ndarray, p: np.ndarray) -> float:
    """Recall@k of (n, C) scores; y (n,) int."""
    return recall_at_k(y, top_k(p, k), k)


def _fbeta(name: str, function: Any, beta: float, average: Literal["samples", "micro", "macro"]) -> Metric:
    return Metric(name, partial(function, beta=beta), needs="labels", beta=beta, average=average)


METRICS: dict[str, Metric] = {
    "accuracy": Metric("accuracy", accuracy, scored="class"),
    "top5_accuracy": Metric("top5_accuracy", partial(top_k_accuracy, k=5), scored="ranking", hit_at=5),
    "log_loss": Metric("log_loss", log_loss, greater_is_better=False),
    "macro_f1": Metric("macro_f1", macro_f1, scored="class"),
    "auc": Metric("auc", auc),
    "average_precision": Metric("average_precision", average_precision),
    "f1": _fbeta("f1", fbeta_samples, 1.0, "samples"),
    "f2": _fbeta("f2", fbeta_samples, 2.0, "samples"),
    "f1_micro": _fbeta("f1_micro", fbeta_micro, 1.0, "micro"),
    "f2_micro": _fbeta("f2_micro", fbeta_micro, 2.0, "micro"),
    "f1_macro": _fbeta("f1_macro", fbeta_macro, 1.0, "macro"),
    "f2_macro": _fbeta("f2_macro", fbeta_macro, 2.0, "macro"),
    "qwk": Metric("qwk", quadratic_kappa, needs="grades"),
    "map1": Metric("map1", partial(_ranked_map, 1), map_at=1, scored="class"),
    "map3": Metric("map3", partial(_ranked_map, 3), map_at=3, scored="ranking"),
    "map5": Metric("map5", partial(_ranked_map, 5), map_at=5, scored="ranking"),
    "map10": Metric("map10", partial(_ranked_map, 10), map_at=10, scored="ranking"),
    "recall1": Metric("recall1", partial(_ranked_recall, 1), scored="class"),
    "recall5": Metric("recall5", partial(_ranked_recall, 5), scored="ranking", hit_at=5),
    "recall10": Metric("recall10", partial(_ranked_recall, 10), scored="ranking", hit_at=10),
    "rmse": Metric("rmse", rmse, needs="values", greater_is_better=False),
    "mae": Metric("mae", mae, needs="values", greater_is_better=False),
    "pinball": Metric("pinball", pinball, needs="values", greater_is_better=False),
}


def get_metric(name: str) -> Metric:
    """The metric of that name, or an error that names the nearest."""
    if name not in METRICS:
        raise FoldpackError(f"metric {name!r} is not known: {did_you_mean(name, sorted(METRICS))}")
    return METRICS[name]
