"""Logits or probabilities: decided once, on all of a member's out-of-fold numbers, and kept for what comes later."""

from __future__ import annotations

from typing import Literal

import numpy as np
from scipy.special import expit, logit, logsumexp, softmax

from foldpack.errors import DataError
from foldpack.metrics.registry import Metric, base_name, known_metric
from foldpack.search.cells.cells import Kind
from foldpack.search.weights.solvers import CALM_LOGIT, LARGE_LOGIT, only_orders

SUM_TOLERANCE = 0.02  # of an item's probabilities around 1
OPPOSED = -0.5  # correlation of two columns below which they can be shares that were not scaled to 1
ALIKE = 0.5  # correlation above which two columns are two opinions on one class, and no logits of two
FEWEST_ROWS = 20  # of which logits do not lie in 0 to 1 by accident
ZERO_SHARE = 0.05  # of rows that are all 0; fewer are no sign of anything
EDGE_TOLERANCE = 1e-3  # so far outside [0, 1] a probability can be by rounding
TIED_SHARE = 1e-3  # of numbers whose order float32 loses; fewer do not change a score
CHECKED_ROWS = 20_000
AT_HALF = ("accuracy", "error", "micro_f1", "macro_f1")  # of one column of labels they ask whether it is above 1/2

Scores = Literal["probability", "logit", "value"]


def decide_scores(values: np.ndarray, kind: Kind) -> Scores:
    """What a member's numbers are. values: (n,) or (n, C), all of its out-of-fold ones, finite."""
    if kind == "values":
        return "value"
    inside = values.min() >= -EDGE_TOLERANCE and values.max() <= 1 + EDGE_TOLERANCE
    return "probability" if inside else "logit"


def required_scores(values: np.ndarray, kind: Kind, given: Scores, name: object) -> Scores:
    """What `--scores` says. Raises DataError where the numbers cannot be that."""
    found = decide_scores(values, kind)
    if found == "value" or (given == "probability" and found == "logit"):
        what = "real values, which are neither logits nor probabilities" if found == "value" else "no probabilities"
        raise DataError(f"{name}: numbers from {values.min():.3g} to {values.max():.3g} are {what}; leave --scores out")
    return given


def shares_of_one(values: np.ndarray) -> bool:
    """Whether every row of (n, C) can be a softmax: logits, or probabilities that sum to 1."""
    return decide_scores(values, "labels") == "logit" or bool(np.abs(values.sum(axis=1) - 1).max() <= SUM_TOLERANCE)


def require_finite(values: np.ndarray, name: object, ids: list[str] | None = None) -> None:
    """Raises DataError with the first row, and its id, that holds NaN or infinity."""
    if not np.isfinite(values).all():
        row = int(np.flatnonzero(~np.isfinite(values.reshape(len(values), -1)).all(axis=1))[0])
        where = f"row {row}" if ids is None else f"the row of id {ids[row]!r}"
        raise DataError(f"{name}: NaN or infinity, first in {where}; every item needs a finite prediction")


def as_probs(
    values: np.ndarray, kind: Kind, scores: Scores, name: object, temperature: float = 1.0
) -> tuple[np.ndarray, list[str]]:
    """One member's numbers -> float32 probabilities (values stay values), and what was noticed.

    values: (n,) or (n, C), finite. temperature: see `order_temperature`. Raises DataError where two columns are no two
    shares.
    """
    notes = []
    low, high = float(values.min()), float(values.max())
    if scores == "value":
        return values.astype(np.float32), []
    _require_every_row(values, kind, name)
    if scores == "logit":
        _require_no_parts(values, kind, name)
        notes.append(f"{name}: numbers from {low:.3g} to {high:.3g} are taken as logits")
    elif low < 0 or high > 1:
        notes.append(f"{name}: probabilities from {low:.7g} to {high:.7g} are clipped to 0..1")
        values = np.clip(values, 0, 1)
    if temperature != 1:
        notes.append(f"{name}: its log-odds are divided by {temperature:g}, so that float32 keeps their order")
        return expit(log_odds_of(values, kind, scores) / temperature).astype(np.float32), notes
    if scores == "logit":
        wide = values.astype(np.float64)
        return (softmax(wide, axis=1) if kind == "exclusive" else expit(wide)).astype(np.float32), notes
    numbers = values.astype(np.float32)
    if kind == "exclusive" and np.abs(numbers.sum(axis=1) - 1).max() > SUM_TOLERANCE:
        sums = numbers.sum(axis=1)
        if numbers.shape[1] == 2 and not _opposed(numbers):
            raise DataError(f"{name}: the two numbers of an item sum to {sums.min():.3g}..{sums.max():.3g}, so they "
                            "are no probabilities of two classes; give the column of class 1 alone")
        notes.append(f"{name}: the probabilities of an item sum to {sums.min():.3g}..{sums.max():.3g}, scaled to 1")
        numbers = numbers / np.maximum(sums, 1e-9)[:, None]
    return numbers, notes


def _require_no_parts(values: np.ndarray, kind: Kind, name: object) -> None:
    """Raises DataError for an item's numbers that are no logits: percent, votes, ranks, the same column twice."""
    if kind != "exclusive" or len(values) < 3:
        return
    if values.shape[1] == 2 and _correlation(values) > ALIKE:
        raise DataError(f"{name}: its two columns rise together, so they are no logits of two classes; give the column "
                        "of class 1 alone")
    if values.min() < 0:
        return
    sums = values.sum(axis=1, dtype=np.float64)
    if np.ptp(sums) < SUM_TOLERANCE * sums.max():
        raise DataError(f"{name}: the numbers of every item sum to {sums.mean():.4g}, so they are no logits; divide "
                        f"them by {sums.mean():.4g}")
    if (values == np.round(values)).all():
        raise DataError(f"{name}: whole numbers from {values.min():g} to {values.max():g} are no logits, but votes, "
                        "ranks or percent; give probabilities: each item's numbers divided by their sum")


def _require_every_row(values: np.ndarray, kind: Kind, name: object) -> None:
    """Raises DataError for an item of one class whose numbers are all 0: nobody predicted it."""
    if kind != "exclusive":
        return
    zero = (values == 0).all(axis=1)
    if zero.any() and not zero.all():
        raise DataError(f"{name}: all numbers are 0 in {zero.sum()} of {len(zero)} rows, first in row "
                        f"{int(zero.argmax())}; every item needs a prediction, also those of unfinished folds")


def zero_notes(values: np.ndarray, name: object) -> list[str]:
    """A line where many rows are all 0, and the others hold numbers of every size: folds that were not finished."""
    table = values.reshape(len(values), -1)
    zero = (table == 0).all(axis=1)
    rest = table[~zero, 0]
    if zero.mean() < ZERO_SHARE or len(np.unique(rest)) < max(3, 0.5 * len(rest)):
        return []
    return [f"{name}: exactly 0 in {zero.sum()} of {len(zero)} rows; were these never predicted (unfinished folds)?"]


def require_alike_columns(values: np.ndarray, scores: Scores, names: list[str] | None, name: object) -> None:
    """Raises DataError for columns of logits of which some never leave 0 to 1 and others do: an age, a raw score."""
    if scores != "logit" or values.ndim == 1 or len(values) < FEWEST_ROWS:
        return
    inside = (values.min(axis=0) >= 0) & (values.max(axis=0) <= 1) & (np.ptp(values, axis=0) > 0)
    if inside.any() and not inside.all():
        calm, wide = (repr(names[place]) if names else str(place) for place in (inside.argmax(), inside.argmin()))
        raise DataError(f"{name}: all numbers of column {calm} lie in 0 to 1 and those of column {wide} do not, so "
                        "they are not of one kind; leave out the columns that are no predictions")


def require_some_below_half(values: np.ndarray, kind: Kind, scores: Scores, metric: Metric, name: object) -> None:
    """Raises DataError for logits of labels of which none is below 0, where the metric sees more than their order."""
    if kind != "labels" or scores != "logit" or values.min() < 0:
        return
    if known_metric(metric.name) is not metric or metric.by_size or base_name(metric) in AT_HALF:
        raise DataError(f"{name}: numbers from {values.min():.3g} to {values.max():.3g}: as logits all would say yes. "
                        "Percent, votes and ranks are no logits; give probabilities, from 0 to 1")


def _opposed(two: np.ndarray) -> bool:
    """Whether the first of two columns falls where the second rises, as shares of one whole do."""
    return _correlation(two) < OPPOSED


def _correlation(two: np.ndarray) -> float:
    """Of two columns; NaN where one is constant."""
    with np.errstate(invalid="ignore"):
        return float(np.asarray(np.corrcoef(two.T.astype(np.float64)))[0, 1])


def log_odds_of(values: np.ndarray, kind: Kind, scores: Scores) -> np.ndarray:
    """log(p / (1 - p)) of every number in float64, exact also where p rounds to 1. values: (n,) or (n, C)."""
    wide = values.astype(np.float64)
    if scores == "probability":
        return np.nan_to_num(logit(wide), posinf=37.0, neginf=-745.0)  # float64 ends there
    if kind != "exclusive":
        return wide
    shares = wide - logsumexp(wide, axis=1, keepdims=True)
    best = wide.argmax(axis=1)[:, None]
    others = wide.copy()
    np.put_along_axis(others, best, -np.inf, axis=1)
    odds = shares - np.log(-np.expm1(np.minimum(shares, -1e-300)))
    exact = np.take_along_axis(wide, best, axis=1) - logsumexp(others, axis=1, keepdims=True)
    np.put_along_axis(odds, best, exact, axis=1)
    return odds


def order_temperature(values: np.ndarray, kind: Kind, scores: Scores, metric: Metric) -> float:
    """What log-odds are divided by, so that float32 probabilities keep the order of a member's numbers; mostly 1.

    Near 1 float32 has steps of 6e-8: the sigmoids of 17 and of 40 are both 1. A metric that only sees the order may
    have them calmer; to others a probability is a probability, and it stays.
    """
    if scores == "value" or not only_orders(metric) or (scores == "probability" and values.dtype != np.float64):
        return 1.0
    if kind == "exclusive" and metric.answer != "probs":
        return 1.0  # the order within an item: a softmax is fine near 0
    odds = log_odds_of(values[:: max(1, len(values) // CHECKED_ROWS)], kind, scores)
    odds = odds[:, None] if odds.ndim == 1 else odds
    large = odds[:, odds.max(axis=0) > LARGE_LOGIT]
    warm = float(np.ceil(np.abs(odds).max() / CALM_LOGIT * 10) / 10) if large.size else 1.0
    lost = _distinct(large, warm) - _distinct(large, 1.0)
    share = 0.5 if metric.needs == "labels" else TIED_SHARE  # a threshold is rarely so close to 1
    return warm if lost > share * large.size else 1.0


def _distinct(odds: np.ndarray, temperature: float) -> int:
    """How many different float32 probabilities the columns have, summed up."""
    return sum(len(np.unique(expit(column / temperature).astype(np.float32))) for column in odds.T)


def require_same_scores(values: np.ndarray, kind: Kind, scores: Scores, name: object, source: object) -> list[str]:
    """Notes where a later file hardly looks like what the search took the member's numbers for.

    Raises DataError where it cannot be that: probabilities outside [0, 1], logits that sum to 1 in every row.
    """
    found = decide_scores(values, kind)
    if scores == "probability" and found == "logit":
        raise DataError(f"{name}: numbers from {values.min():.3g} to {values.max():.3g}, but {source} was found on "
                        "probabilities of this member; give probabilities")
    if scores != "logit" or found == "logit":
        return []
    if kind == "exclusive" and np.abs(values.sum(axis=1) - 1).max() < EDGE_TOLERANCE:
        raise DataError(f"{name}: the numbers of every item sum to 1, so they are probabilities, but {source} was "
                        "found on logits of this member; give logits")
    return [f"{name}: all numbers lie in 0..1, and are taken as logits, as in {source}"]
