"""Level 2 as the kernel applies it: boosters on the candidate table, read from text."""

from __future__ import annotations

import lightgbm as lgb
import numpy as np
import xgboost as xgb

from foldpack.ensemble.candidates import candidate_table
from foldpack.errors import FoldpackError


def read_lightgbm(text: str) -> lgb.Booster:
    """A LightGBM booster from the text that `model_to_string` gave."""
    return lgb.Booster(model_str=text)


def read_xgboost(text: str) -> xgb.Booster:
    """An XGBoost booster from its JSON text."""
    booster = xgb.Booster()
    booster.load_model(bytearray(text.encode("utf-8")))
    return booster


def booster_scores(kind: str, text: str, features: np.ndarray) -> np.ndarray:
    """(R,) float32 probability that each candidate is right. kind: "lightgbm" or "xgboost"; features: (R, F)."""
    if kind == "lightgbm":
        return np.asarray(read_lightgbm(text).predict(features, num_threads=0), dtype=np.float32)
    if kind == "xgboost":
        return read_xgboost(text).inplace_predict(features).astype(np.float32)
    raise FoldpackError(f"a booster of kind {kind!r} is not known; level 2 has lightgbm and xgboost")


def level2_probs(
    boosters: list[tuple[str, str]],
    probs: np.ndarray,
    blend: np.ndarray,
    prior: np.ndarray,
    top: int,
    reject: int | None = None,
) -> np.ndarray:
    """(n, C) float32: the mean of the boosters for every candidate, 0 for the other classes.

    boosters: (kind, text) of each; probs: (M, n, C), members in the order of the fit; blend: (n, C) their blend.
    """
    table = candidate_table(probs, blend, prior, top, reject)
    total = np.zeros(len(table.item), dtype=np.float64)
    for kind, text in boosters:
        total += booster_scores(kind, text, table.features)
    mean = (total / len(boosters)).astype(np.float32)
    return table.spread(mean, probs.shape[1], probs.shape[2])
