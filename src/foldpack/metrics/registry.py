"""The metrics that a run or a search can be asked for. Each is numpy in, float out, and knows which way is better.

A name may have numbers behind a colon, `map:7`, `fbeta:1.5`, `log_loss:1,2,1`: see FAMILIES. docs/metrics.md lists all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any, Literal

import numpy as np

from foldpack.errors import FoldpackError, did_you_mean
from foldpack.metrics.binary import probabilistic_f1, weighted_auc
from foldpack.metrics.classification import (
    accuracy,
    auc,
    average_precision,
    error_rate,
    log_loss,
    macro_f1,
    quadratic_kappa,
    top_k_accuracy,
)
from foldpack.metrics.fbeta import fbeta_macro, fbeta_micro, fbeta_samples
from foldpack.metrics.objects import is_of_objects
from foldpack.metrics.ranking import map_at_k, multi_map_at_k, recall_at_k, top_k
from foldpack.metrics.regression import mae, pinball, rmse
from foldpack.settings.stages import AnswerKind

# What a metric wants as `p`: probabilities or ranking scores; bool decisions (after a threshold); int grades (after
# cut points); or real values. Scores of boxes, points and masks are in `metrics.objects`: no blend weights can be
# searched for them.
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
    of_two: bool = False  # of two classes only, the second being the positive one
    by_size: bool = False  # sees how large probabilities are, not only their order and which of two is likelier
    scored: AnswerKind | None = None  # see `answer`; None: what `needs` says

    @property
    def answer(self) -> AnswerKind:
        """What has to be handed in for this score. Accuracy takes probabilities but scores the likeliest class."""
        return self.scored or self.needs

    @property
    def of_several(self) -> bool:
        """Whether it scores any number of classes an item."""
        return self.needs == "labels" or (self.needs == "probs" and self.answer != "class" and not self.hit_at)

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


def _map(name: str, k: int) -> Metric:
    return Metric(name, partial(_ranked_map, k), map_at=k, scored="class" if k == 1 else "ranking")


def _recall(name: str, k: int) -> Metric:
    if k == 1:
        return Metric(name, partial(_ranked_recall, 1), scored="class")
    return Metric(name, partial(_ranked_recall, k), scored="ranking", hit_at=k)


METRICS: dict[str, Metric] = {
    "accuracy": Metric("accuracy", accuracy, scored="class"),
    "error": Metric("error", error_rate, greater_is_better=False, scored="class"),
    "micro_f1": Metric("micro_f1", accuracy, scored="class"),  # of one class an item that is the same
    "macro_f1": Metric("macro_f1", macro_f1, scored="class"),
    "top5_accuracy": Metric("top5_accuracy", partial(top_k_accuracy, k=5), scored="ranking", hit_at=5),
    "log_loss": Metric("log_loss", log_loss, greater_is_better=False, by_size=True),
    "auc": Metric("auc", auc),
    "weighted_auc": Metric("weighted_auc", weighted_auc, of_two=True),
    "average_precision": Metric("average_precision", average_precision),
    "pf1": Metric("pf1", probabilistic_f1, of_two=True, by_size=True),
    "f1": _fbeta("f1", fbeta_samples, 1.0, "samples"),
    "f2": _fbeta("f2", fbeta_samples, 2.0, "samples"),
    "f1_micro": _fbeta("f1_micro", fbeta_micro, 1.0, "micro"),
    "f2_micro": _fbeta("f2_micro", fbeta_micro, 2.0, "micro"),
    "f1_macro": _fbeta("f1_macro", fbeta_macro, 1.0, "macro"),
    "f2_macro": _fbeta("f2_macro", fbeta_macro, 2.0, "macro"),
    "qwk": Metric("qwk", quadratic_kappa, needs="grades"),
    "map1": _map("map1", 1),
    "map3": _map("map3", 3),
    "map5": _map("map5", 5),
    "map10": _map("map10", 10),
    "recall1": _recall("recall1", 1),
    "recall5": _recall("recall5", 5),
    "recall10": _recall("recall10", 10),
    "rmse": Metric("rmse", rmse, needs="values", greater_is_better=False),
    "mae": Metric("mae", mae, needs="values", greater_is_better=False),
    "pinball": Metric("pinball", pinball, needs="values", greater_is_better=False),
}


@dataclass(frozen=True)
class Family:
    """Metrics that differ by what stands behind the colon of their names."""

    reads: Literal["k", "beta", "weights", "quantile"]
    make: Callable[[str, Any], Metric]  # (name, k or beta or quantile or the weights of the classes)
    example: str
    known: str = ""  # how METRICS calls those that it has: "map{}"


def _weighted(name: str) -> Family:
    """A metric of METRICS with weights of the classes."""
    plain = METRICS[name]

    def make(full: str, weights: tuple[float, ...]) -> Metric:
        return replace(plain, name=full, function=partial(plain.function, weights=weights))

    return Family("weights", make, f"{name}:1,2,1")


FAMILIES: dict[str, Family] = {
    "map": Family("k", _map, "map:7", "map{}"),
    "recall": Family("k", _recall, "recall:7", "recall{}"),
    "top_accuracy": Family("k", lambda name, k: Metric(name, partial(top_k_accuracy, k=k), hit_at=k,
                                                       scored="ranking"), "top_accuracy:3", "top{}_accuracy"),
    "fbeta": Family("beta", lambda name, b: _fbeta(name, fbeta_samples, b, "samples"), "fbeta:1.5", "f{}"),
    "fbeta_micro": Family("beta", lambda name, b: _fbeta(name, fbeta_micro, b, "micro"), "fbeta_micro:0.5",
                          "f{}_micro"),
    "fbeta_macro": Family("beta", lambda name, b: _fbeta(name, fbeta_macro, b, "macro"), "fbeta_macro:0.5",
                          "f{}_macro"),
    "pinball": Family("quantile", lambda name, q: replace(METRICS["pinball"], name=name,
                                                          function=partial(pinball, quantile=q)), "pinball:0.9"),
    **{name: _weighted(name) for name in ("accuracy", "macro_f1", "log_loss", "auc", "average_precision")},
}
WRITTEN = {"k": "a whole number from 1 on", "beta": "a number above 0", "quantile": "a number between 0 and 1",
           "weights": "a number from 0 on for each class, with commas, not all 0"}


def get_metric(name: str) -> Metric:
    """The metric of that name, or an error that names the nearest."""
    if found := known_metric(name):
        return found
    if is_of_objects(name):
        raise FoldpackError(f"metric '{name}' scores boxes, points or masks: no run can follow it and no search climb "
                            f"it, until there are networks for them; allowed: {', '.join(sorted(METRICS))}")
    base = name.partition(":")[0]
    if base in FAMILIES and (":" in name or base not in METRICS):
        family = FAMILIES[base]
        raise FoldpackError(f"metric {name!r} is not known: behind '{base}:' stands {WRITTEN[family.reads]}, such as "
                            f"{family.example}")
    if base in METRICS:
        raise FoldpackError(f"metric {name!r} is not known: '{base}' takes nothing behind a colon")
    with_numbers = [family.example for family in FAMILIES.values()]
    raise FoldpackError(f"metric {name!r} is not known: {did_you_mean(name, sorted([*METRICS, *with_numbers]))}")


@lru_cache(maxsize=256)
def known_metric(name: str) -> Metric | None:
    """The metric of that name, the same object each time; None where there is none. `map:5` is map5."""
    if name in METRICS:
        return METRICS[name]
    base, colon, text = name.partition(":")
    if not colon or base not in FAMILIES:
        return None
    family = FAMILIES[base]
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError:
        return None
    if not all(map(np.isfinite, numbers)) or not _fits(family.reads, numbers):
        return None
    short = ",".join(f"{number:g}" for number in numbers)
    if family.known.format(short) in METRICS:
        return METRICS[family.known.format(short)]
    value = {"weights": numbers, "k": int(numbers[0])}.get(family.reads, numbers[0])
    return family.make(f"{base}:{short}", value)


def base_name(metric: Metric) -> str:
    """Its name without what stands behind the colon."""
    return metric.name.partition(":")[0]


def _fits(reads: str, numbers: tuple[float, ...]) -> bool:
    first = numbers[0]
    if reads == "weights":
        return len(numbers) > 1 and min(numbers) >= 0 and sum(numbers) > 0
    limits = {"k": first >= 1 and first == int(first), "beta": first > 0, "quantile": 0 < first < 1}
    return len(numbers) == 1 and limits[reads]
