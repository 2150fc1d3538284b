"""One answer out of several views: means of probabilities, of logarithms, of logits, of powers or of ranks.

Everything is computed from the logits, through logarithms, with running sums in float64: a probability of 1e-30 stays
what it is, and the order of the views does not matter.
"""

from __future__ import annotations

import numpy as np
from scipy.special import expit, log_expit, log_softmax, softmax
from scipy.stats import rankdata

from foldpack.errors import FoldpackError
from foldpack.settings.stages import merge_power

MIN_LOG = -1e4  # stands for the logarithm of a probability of 0; far below the smallest float32


class MergeError(FoldpackError):
    """Views that cannot be merged."""


def merge_view_probs(
    logits: np.ndarray, task: str, how: str = "mean", weights: list[float] | np.ndarray | None = None
) -> np.ndarray:
    """(V, n, C) logits of V views -> (n, C) float32 probabilities.

    task: "multiclass" (softmax; answers sum to 1) or "multilabel" (sigmoid). weights: (V,) at least 0,
    scaled to sum 1; equal by default. how, with p the probability of a view and w its weight:
    "mean": sum w p. "gmean": exp(sum w log p). "logit_mean": the probability of sum w logit, for multiclass the same as
    "gmean". "power:Q": (sum w p ** Q) ** (1 / Q). "rank": sum w (rank of the class among the item's classes, in (0, 1],
    the best is 1; equal ones share their mean rank), so that items may come in any parts. Raises MergeError.
    """
    shares = view_shares(weights, logits)
    power = merge_power(how)
    if how == "mean" and weights is None:
        return view_probs(logits, task).mean(axis=0)
    total: np.ndarray | None = None
    for view, share in zip(logits, shares, strict=True):
        if not share:
            continue
        part = _view_part(np.asarray(view, dtype=np.float64), task, how, power)
        if power is None:
            total = share * part if total is None else total + share * part
        else:
            part += np.log(share)
            total = part if total is None else np.logaddexp(total, part)
    assert total is not None  # the shares sum to 1
    return _merged_probs(total, task, how, power).astype(np.float32)


def merge_view_values(values: np.ndarray) -> np.ndarray:
    """(V, n, T) float -> (n, T) float32: the mean of the views."""
    return values.mean(axis=0, dtype=np.float32)


def merge_view_vectors(vectors: np.ndarray) -> np.ndarray:
    """(V, n, D) float of length 1 -> (n, D) float32: the direction of their mean, of length 1."""
    mean = vectors.mean(axis=0, dtype=np.float32)
    return mean / np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), np.float32(1e-12))


def view_probs(logits: np.ndarray, task: str) -> np.ndarray:
    """(..., C) logits -> float32 probabilities: softmax for multiclass, sigmoid a class for multilabel."""
    wide = np.asarray(logits, dtype=np.float32)
    return softmax(wide, axis=-1) if task == "multiclass" else expit(wide)


def view_shares(weights: list[float] | np.ndarray | None, logits: np.ndarray) -> np.ndarray:
    """(V,) float64 weights that sum to 1. Raises MergeError for others than V finite weights, at least 0, one above."""
    if logits.ndim != 3 or not len(logits):
        raise MergeError(f"logits of shape {logits.shape}; views are merged from (views, items, classes)")
    given = np.ones(len(logits)) if weights is None else np.asarray(weights, dtype=np.float64)
    if given.shape != (len(logits),) or not np.isfinite(given).all() or given.min() < 0 or not given.sum() > 0:
        raise MergeError(f"weights {np.asarray(weights).tolist()} of {len(logits)} views; give each a finite weight of "
                         "0 or more, and one above 0")
    return given / given.sum()


def _view_part(logits: np.ndarray, task: str, how: str, power: float | None) -> np.ndarray:
    """(n, C) float64 of one view: what is summed."""
    if how == "mean":
        return softmax(logits, axis=-1) if task == "multiclass" else expit(logits)
    if how == "logit_mean" and task != "multiclass":
        return logits
    logs = log_softmax(logits, axis=-1) if task == "multiclass" else log_expit(logits)
    if how == "rank":
        return rankdata(logs, axis=-1) / logs.shape[-1]
    return np.maximum(logs, MIN_LOG) * (1.0 if power is None else power)


def _merged_probs(total: np.ndarray, task: str, how: str, power: float | None) -> np.ndarray:
    """The sum over the views -> (n, C) float64 probabilities."""
    if how == "rank" and task == "multiclass":
        return total / total.sum(axis=-1, keepdims=True)
    if how in ("mean", "rank"):
        return total
    if power is not None:
        total = total / power
    if task == "multiclass":
        return softmax(total, axis=-1)
    return expit(total) if how == "logit_mean" else np.exp(total)
