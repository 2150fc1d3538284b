"""From scores that only rank to scores that mean the same of every member, so that members of any loss blend."""

from __future__ import annotations

import numpy as np
from scipy.special import expit, softmax

from foldpack.settings.retrieve import Calibration


def calibrate_scores(scores: np.ndarray, how: Calibration | None) -> np.ndarray:
    """(n, P) float32 scores of the identities that a gallery has -> the same in [0, 1].

    softmax: of scale x score over the identities: how likely each is, if one of them it is. sigmoid: of
    scale x (score - shift): how likely each pair is alike, so that a query that is like nobody stays low everywhere.
    """
    if how is None:
        return scores
    if how.kind == "softmax":
        return softmax(scores * np.float32(how.scale), axis=1)
    return expit((scores - np.float32(how.shift)) * np.float32(how.scale))
