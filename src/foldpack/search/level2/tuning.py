"""Settings of boosters from optuna, inside every outer fold: no row that level 2 is scored on has had a say.

A study is kept on disk or in a shared database, one for each outer fold and kind, and taken up again where it stopped;
several machines may work on one at the same time.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from foldpack.search.level2.boosters import SETTINGS, BoosterFit, fit_booster
from foldpack.search.studies import open_study

if TYPE_CHECKING:
    import optuna

# kind -> setting -> (lowest, highest, whether on a logarithmic scale); whole numbers stay whole
RANGES: dict[str, dict[str, tuple[float, float, bool]]] = {
    "lightgbm": {"learning_rate": (0.02, 0.3, True), "num_leaves": (4, 128, True), "min_data_in_leaf": (5, 100, True),
                 "bagging_fraction": (0.4, 1.0, False), "feature_fraction": (0.4, 1.0, False),
                 "lambda_l2": (0.001, 10.0, True)},
    "xgboost": {"eta": (0.02, 0.4, True), "max_depth": (2, 10, False), "gamma": (0.001, 5.0, True),
                "subsample": (0.5, 1.0, False), "min_child_weight": (1.0, 50.0, True)},
}


@dataclass(frozen=True)
class Tuning:
    """trials: of every study, those of earlier and other processes counted; study: a file or a URL, None for memory.

    name: what the studies' names begin with.
    """

    trials: int
    study: str | None = None
    name: str = "level2"


def tuned_settings(kind: str, task: BoosterFit, fold: int, start: dict, tuning: Tuning) -> dict:
    """The settings with the least log-loss on the stopping rows among `tuning.trials`; the usual ones are tried first.

    start: settings that the user has fixed. Raises DataError for a study of other data.
    """
    study = open_study(tuning.study, f"{tuning.name}/{kind}/fold{fold}", task_digest(task, start),
                       "predictions, labels, folds or settings")
    import optuna

    complete = (optuna.trial.TrialState.COMPLETE,)
    finished = len(study.get_trials(deepcopy=False, states=complete))
    study.sampler = optuna.samplers.TPESampler(seed=1000 * fold + finished)
    if finished == 0:
        usual = {name: value for name, value in SETTINGS[kind].items() if name in RANGES[kind] and name not in start}
        study.enqueue_trial(usual, skip_if_exists=True)

    def loss(trial: optuna.Trial) -> float:
        return fit_booster(kind, task, 0, suggested(kind, trial, start) | start)[1]

    if finished < tuning.trials:
        study.optimize(loss, callbacks=[optuna.study.MaxTrialsCallback(tuning.trials, states=complete)])
    return dict(study.best_params)


def suggested(kind: str, trial: optuna.Trial, start: dict) -> dict:
    """One value of every range that the user has not fixed."""
    chosen: dict[str, float | int] = {}
    for name, (low, high, log) in RANGES[kind].items():
        if name in start:
            continue
        if isinstance(low, int):
            chosen[name] = trial.suggest_int(name, low, int(high), log=log)
        else:
            chosen[name] = trial.suggest_float(name, low, high, log=log)
    return chosen


def task_digest(task: BoosterFit, start: dict) -> str:
    """Hex SHA-256 of the rows, their truth, their parts, and the fixed settings."""
    digest = hashlib.sha256(json.dumps(start, sort_keys=True).encode("utf-8"))
    for part in (task.features, task.truth, task.train, task.stop):
        digest.update(np.ascontiguousarray(part).tobytes())
    return digest.hexdigest()
