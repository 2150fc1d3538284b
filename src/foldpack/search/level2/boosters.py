"""Train one booster of level 2 and give its text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import lightgbm as lgb
import numpy as np
import xgboost as xgb

# Start values of lopuhin's level 2 (kuzushiji 2019).
SETTINGS: dict[str, dict] = {
    "lightgbm": {"learning_rate": 0.05, "num_leaves": 41, "min_data_in_leaf": 20, "bagging_fraction": 0.8,
                 "bagging_freq": 5, "feature_fraction": 0.9, "lambda_l2": 1.0},
    "xgboost": {"eta": 0.15, "max_depth": 8, "gamma": 0.01},
}
ROUNDS, PATIENCE = 400, 20


@dataclass(frozen=True)
class BoosterFit:
    """What to train on. features: (R, F) float32; truth: (R,) bool; train: (R,) bool, rows to learn from;

    stop: (R,) bool, rows that say when to stop; threads: more than one may change the last digits.
    """

    features: np.ndarray
    truth: np.ndarray
    train: np.ndarray
    stop: np.ndarray
    threads: int = 1


def fit_booster(kind: str, task: BoosterFit, seed: int, settings: dict) -> tuple[str, float]:
    """(text of the booster, cut at its best round; log-loss of the stopping rows there). settings: over `SETTINGS`."""
    fit = fit_lightgbm if kind == "lightgbm" else fit_xgboost
    return fit(task, seed, SETTINGS[kind] | settings)


def fit_lightgbm(task: BoosterFit, seed: int, settings: dict) -> tuple[str, float]:
    """See `fit_booster`."""
    full = settings | {"objective": "binary", "seed": seed, "deterministic": True, "force_row_wise": True,
                       "verbosity": -1, "num_threads": task.threads}
    truth = task.truth.astype(np.int8)
    data = lgb.Dataset(task.features[task.train], truth[task.train], params=full)
    watch = lgb.Dataset(task.features[task.stop], truth[task.stop], reference=data, params=full)
    quiet: list[Callable] = [lgb.early_stopping(PATIENCE, verbose=False)]
    booster = lgb.train(full, data, ROUNDS, valid_sets=[watch], callbacks=quiet)
    loss = float(booster.best_score["valid_0"]["binary_logloss"])
    return booster.model_to_string(num_iteration=booster.best_iteration), loss


def fit_xgboost(task: BoosterFit, seed: int, settings: dict) -> tuple[str, float]:
    """See `fit_booster`."""
    full = settings | {"objective": "binary:logistic", "eval_metric": "logloss", "seed": seed,
                       "nthread": task.threads, "verbosity": 0}
    data, watch = (xgb.DMatrix(task.features[part], task.truth[part]) for part in (task.train, task.stop))
    booster = xgb.train(full, data, ROUNDS, evals=[(watch, "stop")], early_stopping_rounds=PATIENCE,
                        verbose_eval=False)
    best = booster[: booster.best_iteration + 1]
    return bytes(best.save_raw("json")).decode("utf-8"), float(booster.best_score)
