"""Fit level 2 and decide whether to believe it.

For every outer fold a LightGBM and an XGBoost are trained on the other folds, one of which only says when to stop;
their mean is scored on the outer fold, which has decided nothing. The kernel takes the mean of all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import lightgbm as lgb
import numpy as np
import xgboost as xgb

from foldpack.ensemble.candidates import CandidateTable, candidate_columns, candidate_table
from foldpack.ensemble.level2 import booster_scores
from foldpack.errors import DataError
from foldpack.metrics.registry import Metric
from foldpack.search.cells import Cells, dense_cells
from foldpack.search.decision import Decision, LabelRule, fit_decision, score_cells
from foldpack.search.selection import standard_error

# Start values of lopuhin's level 2 (kuzushiji 2019); `tune_level2` moves them.
LIGHTGBM = {"learning_rate": 0.05, "num_leaves": 41, "min_data_in_leaf": 20, "bagging_fraction": 0.8,
            "bagging_freq": 5, "feature_fraction": 0.9, "lambda_l2": 1.0}  # fmt: skip
XGBOOST = {"eta": 0.15, "max_depth": 8, "gamma": 0.01}
ROUNDS, PATIENCE = 400, 20
LEAK_ROWS, LEAK_PROB = 20, 0.5  # a class with so many rows, all true, although the members doubt it


@dataclass(frozen=True)
class Level2Options:
    """top: classes a member puts forward; seeds: boosters of each kind a fold; reject: the class "none of these"."""

    top: int = 3
    seeds: int = 1
    reject: int | None = None
    threads: int = 1
    lightgbm: dict = field(default_factory=dict)  # over LIGHTGBM
    xgboost: dict = field(default_factory=dict)  # over XGBOOST


@dataclass(frozen=True)
class FoldBooster:
    """One booster: kind "lightgbm" or "xgboost", the outer fold it never saw, its seed and its text."""

    kind: str
    fold: int
    seed: int
    text: str


@dataclass(frozen=True)
class Level2:
    """What came of the fit. believed: whether the nested gain over the blend is above one standard error."""

    boosters: list[FoldBooster]
    options: Level2Options
    probs: np.ndarray  # (n, C) float32 out of fold, 0 where there is no candidate
    decision: Decision
    per_fold: np.ndarray  # (K,) the metric, decision fitted on the other folds
    blend_per_fold: np.ndarray  # (K,) of the blend, its decision fitted on the other folds
    importance: dict[str, float]  # share of LightGBM's gain
    notes: list[str]

    @property
    def mean(self) -> float:
        return float(self.per_fold.mean())

    @property
    def se(self) -> float:
        return standard_error(self.per_fold)

    def gain(self, metric: Metric) -> tuple[float, float]:
        """(mean, standard error) of the paired gain over the blend, greater is better."""
        ahead = (self.per_fold - self.blend_per_fold) * (1 if metric.greater_is_better else -1)
        return float(ahead.mean()), standard_error(ahead)

    def believed(self, metric: Metric) -> bool:
        """Above one standard error, and nothing in the table gives the truth away."""
        gain, error = self.gain(metric)
        return not self.notes and gain > max(error, 1e-12)


def fit_level2(
    probs: np.ndarray,
    blend: np.ndarray,
    targets: np.ndarray,
    folds: np.ndarray,
    metric: Metric,
    rule: LabelRule | None = None,
    options: Level2Options | None = None,
    names: list[str] | None = None,
    progress: Callable[[float], None] | None = None,
    table: CandidateTable | None = None,
) -> Level2:
    """Fit level 2 on out-of-fold predictions.

    probs: (M, n, C) float32 of the members; blend: (n, C) their blend; targets: (n,) int or (n, C) bool; folds: (n,)
    int, three or more. table: instead of the one made from the predictions, for features of your own.
    """
    rule, options = rule or LabelRule(), options or Level2Options()
    ids = np.unique(folds)
    if len(ids) < 3:
        raise DataError(f"level 2 needs three folds or more (to train, to stop, to score), got {len(ids)}")
    prior = class_prior(targets, probs.shape[2])
    table = table or candidate_table(probs, blend, prior, options.top, options.reject)
    truth = candidate_truth(table, targets)
    notes = presence_leaks(table, truth, probs, targets)
    scores, boosters = np.zeros(len(truth), dtype=np.float32), []
    for number, fold in enumerate(ids):
        stop = folds[table.item] == ids[(number + 1) % len(ids)]
        held = folds[table.item] == fold
        pair = _fit_fold(table.features, truth, ~(held | stop), stop, int(fold), options)
        outputs = [booster_scores(one.kind, one.text, table.features[held]) for one in pair]
        scores[held] = np.mean(outputs, axis=0)
        boosters += pair
        if progress:
            progress((number + 1) / len(ids))
    out_of_fold = table.spread(scores, probs.shape[1], probs.shape[2])
    cells, blend_cells = dense_cells(out_of_fold[None], targets), dense_cells(blend[None], targets)
    return Level2(
        boosters,
        options,
        out_of_fold,
        fit_decision(cells, cells.values[0], metric, rule)[0],
        score_by_fold(cells, folds, metric, rule),
        score_by_fold(blend_cells, folds, metric, rule),
        feature_importance(boosters, names or [str(m) for m in range(len(probs))]),
        notes,
    )


def class_prior(targets: np.ndarray, classes: int) -> np.ndarray:
    """(C,) float32 share of each class in the labels."""
    counts = targets.sum(axis=0) if targets.ndim == 2 else np.bincount(targets, minlength=classes)
    return (counts / len(targets)).astype(np.float32)


def candidate_truth(table: CandidateTable, targets: np.ndarray) -> np.ndarray:
    """(R,) bool: whether each candidate is right."""
    return targets[table.item, table.label] if targets.ndim == 2 else targets[table.item] == table.label


def presence_leaks(table: CandidateTable, truth: np.ndarray, probs: np.ndarray, targets: np.ndarray) -> list[str]:
    """A line for every class whose mere presence among the candidates tells the truth, though members doubt it.

    Such a table was made with the labels at hand (a reject class that was added only where it is right, say): the
    kernel cannot make the same one, and the gain would be lost there.
    """
    rows = np.bincount(table.label, minlength=probs.shape[2])
    right = np.bincount(table.label[truth], minlength=probs.shape[2])
    doubt = np.bincount(table.label, probs.mean(axis=0)[table.item, table.label], probs.shape[2]) / np.maximum(rows, 1)
    suspects = np.flatnonzero((rows >= LEAK_ROWS) & (right == rows) & (doubt < LEAK_PROB))
    return [f"class {c} is a candidate {rows[c]} times and right every time, though members give it {doubt[c]:.2f} on "
            "average: its presence tells the truth, level 2 is not believed" for c in suspects]  # fmt: skip


def score_by_fold(cells: Cells, folds: np.ndarray, metric: Metric, rule: LabelRule) -> np.ndarray:
    """(K,) scores of one set of predictions, thresholds fitted on the other folds."""
    scores = []
    for fold in np.unique(folds):
        train, held = cells.take_items(folds != fold), cells.take_items(folds == fold)
        decision = Decision()
        if metric.needs == "labels":
            decision = fit_decision(train, train.values[0], metric, rule)[0]
        scores.append(score_cells(held, held.values[0], metric, decision, rule))
    return np.array(scores)


def feature_importance(boosters: list[FoldBooster], names: list[str]) -> dict[str, float]:
    """Share of LightGBM's gain by feature."""
    columns = candidate_columns(names)
    total = np.zeros(len(columns))
    for one in boosters:
        if one.kind == "lightgbm":
            gains = lgb.Booster(model_str=one.text).feature_importance("gain")
            total[: len(gains)] += gains[: len(columns)]
    return dict(zip(columns, (total / max(total.sum(), 1e-12)).tolist(), strict=True))


def _fit_fold(
    features: np.ndarray, truth: np.ndarray, train: np.ndarray, stop: np.ndarray, fold: int, options: Level2Options
) -> list[FoldBooster]:
    boosters = []
    for seed in range(options.seeds):
        text = fit_lightgbm(features, truth, train, stop, seed, options)
        boosters.append(FoldBooster("lightgbm", fold, seed, text))
        text = fit_xgboost(features, truth, train, stop, seed, options)
        boosters.append(FoldBooster("xgboost", fold, seed, text))
    return boosters


def fit_lightgbm(features, truth, train, stop, seed: int, options: Level2Options) -> str:
    """The booster's text, cut at its best round. train, stop: (R,) bool."""
    settings = LIGHTGBM | options.lightgbm | {
        "objective": "binary", "seed": seed, "deterministic": True, "force_row_wise": True, "verbosity": -1,
        "num_threads": options.threads,
    }  # fmt: skip
    data = lgb.Dataset(features[train], truth[train].astype(np.int8), params=settings)
    watch = lgb.Dataset(features[stop], truth[stop].astype(np.int8), reference=data, params=settings)
    quiet: list[Callable] = [lgb.early_stopping(PATIENCE, verbose=False)]
    booster = lgb.train(settings, data, ROUNDS, valid_sets=[watch], callbacks=quiet)
    return booster.model_to_string(num_iteration=booster.best_iteration)


def fit_xgboost(features, truth, train, stop, seed: int, options: Level2Options) -> str:
    """The booster's JSON text, cut at its best round. train, stop: (R,) bool."""
    settings = XGBOOST | options.xgboost | {
        "objective": "binary:logistic", "eval_metric": "logloss", "seed": seed, "nthread": options.threads,
        "verbosity": 0,
    }  # fmt: skip
    data, watch = (xgb.DMatrix(features[part], truth[part]) for part in (train, stop))
    booster = xgb.train(settings, data, ROUNDS, evals=[(watch, "stop")], early_stopping_rounds=PATIENCE,
                        verbose_eval=False)  # fmt: skip
    best = booster[: booster.best_iteration + 1]
    return bytes(best.save_raw("json")).decode("utf-8")
