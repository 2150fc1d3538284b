"""Do a member's predictions of the test set look like its out-of-fold ones? Where they do not, its score may not hold.

A small booster tries to tell the two apart from each item's best probabilities alone; its AUC on rows that it has not
seen is 0.5 where there is nothing to tell. Test predictions that are a mean over folds are a little calmer than
out-of-fold ones, which the booster may notice too.
"""

from __future__ import annotations

from dataclasses import dataclass

import lightgbm as lgb
import numpy as np

from foldpack.ensemble.candidates import log_odds
from foldpack.errors import DataError
from foldpack.metrics.classification import binary_auc

DRIFT_AUC = 0.6  # above it, a line in the report
DRIFT_ROWS = 5000  # of each side
DRIFT_BEST = 5  # probabilities of an item that are looked at
DRIFT_FOLDS = 3
DRIFT_SETTINGS = {"objective": "binary", "num_leaves": 15, "min_data_in_leaf": 20, "learning_rate": 0.1, "seed": 0,
            "deterministic": True, "force_row_wise": True, "verbosity": -1, "num_threads": 1}


@dataclass(frozen=True)
class Drift:
    """auc: how well the two sides can be told apart, 0.5 is not at all; medians: of the best probability, or value."""

    name: str
    auc: float
    median_oof: float
    median_test: float

    @property
    def note(self) -> str | None:
        """A line where the sides differ."""
        if self.auc <= DRIFT_AUC:
            return None
        return (f"{self.name}: test and out-of-fold predictions can be told apart (AUC {self.auc:.2f}); the median of "
                f"the best is {self.median_oof:.3g} out of fold, {self.median_test:.3g} on the test set")


def member_drift(name: str, oof: np.ndarray, test: np.ndarray) -> Drift:
    """Compare one member's two sets of predictions, (n, C) probabilities or (n,) values. Raises DataError."""
    if oof.shape[1:] != test.shape[1:]:
        raise DataError(f"--test for {name}: shape {test.shape}, its out-of-fold predictions have {oof.shape}")
    if min(len(oof), len(test)) < DRIFT_FOLDS:
        raise DataError(f"--test for {name}: {len(test)} rows are too few to compare")
    sides = [drift_features(part) for part in (oof, test)]
    medians = [float(np.median(part[:, 0])) for part in sides]
    if oof.ndim == 2:
        medians = [float(1 / (1 + np.exp(-median))) for median in medians]
    return Drift(name, adversarial_auc(*sides), medians[0], medians[1])


def drift_features(predictions: np.ndarray) -> np.ndarray:
    """(rows, F) float32 of at most `DRIFT_ROWS` evenly spaced items: the best log-odds and their mean, or the value."""
    some = predictions[:: max(1, -(-len(predictions) // DRIFT_ROWS))]
    if some.ndim == 1:
        return some[:, None].astype(np.float32)
    odds = log_odds(some)
    best = -np.sort(-odds, axis=1)[:, :DRIFT_BEST]
    return np.column_stack([best, odds.mean(axis=1)])


def adversarial_auc(oof: np.ndarray, test: np.ndarray) -> float:
    """AUC of telling test rows from out-of-fold ones, each row judged by a booster that has not seen it."""
    features = np.concatenate([oof, test])
    is_test = np.arange(len(features)) >= len(oof)
    fold = np.random.default_rng(0).permutation(len(features)) % DRIFT_FOLDS
    guess = np.empty(len(features))
    for held in range(DRIFT_FOLDS):
        train = fold != held
        data = lgb.Dataset(features[train], is_test[train].astype(np.int8), params=DRIFT_SETTINGS)
        guess[~train] = lgb.train(DRIFT_SETTINGS, data, 50).predict(features[~train], num_threads=1)
    return binary_auc(is_test, guess)
