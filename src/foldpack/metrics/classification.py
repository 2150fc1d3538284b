"""Scores of class probabilities: accuracy, log-loss, macro F1, AUC, average precision, quadratic weighted kappa.

All of them take one column, (n, 1), for (n,), and raise FoldpackError for shapes or labels that do not fit. Where a
score takes `weights`, one a class in their order: a mean over items weighs each by its true class, as scikit-learn does
with `sample_weight`; a mean over classes is that weighted mean of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from foldpack.errors import FoldpackError
from foldpack.metrics.fbeta import fbeta_from_counts
from foldpack.metrics.shapes import class_shapes, class_weights, descending, equal_shapes

# Probabilities of float32 are clipped here before a logarithm is taken, as in scikit-learn: below it they say nothing.
SMALLEST_PROB = float(np.finfo(np.float32).eps)

Weights = Sequence[float] | None  # of the classes, in their order


def accuracy(y: np.ndarray, p: np.ndarray, weights: Weights = None) -> float:
    """Share of items whose highest probability is the true class; ties go to the lower class.

    y: (n,) int; p: (n, C) float. A (n,) p is binary: class 1 from 0.5 on.
    """
    y, p = class_shapes(y, p)
    return mean_of_items((predicted_class(p) == y).astype(np.float64), y, p, weights)


def error_rate(y: np.ndarray, p: np.ndarray) -> float:
    """Top-1 error: the share of items that `accuracy` does not count."""
    return 1 - accuracy(y, p)


def mean_of_items(scores: np.ndarray, y: np.ndarray, p: np.ndarray, weights: Weights) -> float:
    """Mean over items, each with the weight of its true class; of labels (n, C), over cells with that of their column.

    scores: like y.
    """
    if weights is None:
        return float(scores.mean())
    of = class_weights(weights, p.shape[1] if p.ndim == 2 else 2)
    each = np.broadcast_to(of, y.shape) if y.ndim == 2 else of[y.astype(np.int64)]
    if not each.sum() > 0:
        return float("nan")  # all items are of classes without weight
    return float(np.average(scores, weights=each))


def predicted_class(p: np.ndarray) -> np.ndarray:
    """(n, C) probabilities -> (n,) int64 class; (n,) probabilities -> 0 or 1 at 0.5."""
    return p.argmax(axis=1) if p.ndim == 2 else (p >= 0.5).astype(np.int64)


def true_class_probs(y: np.ndarray, p: np.ndarray) -> np.ndarray:
    """The probability each cell's truth was given, the only numbers a log-loss needs.

    y (n,) int with p (n, C) -> (n,); y (n, C) bool with p (n, C), or y (n,) with p (n,) -> p where true, else 1 - p.
    """
    y, p = class_shapes(y, p)
    if p.ndim == 2 and y.ndim == 1:
        return p[np.arange(len(y)), y]
    return np.where(y.astype(bool), p, 1 - p)


def log_loss(y: np.ndarray, p: np.ndarray, weights: Weights = None) -> float:
    """Mean of -log(probability of the truth), natural logarithm; for bool y the mean over all (item, class) cells.

    y: (n,) int and p: (n, C); or both (n, C); or both (n,) for two classes. Rows of classes of which one is right are
    divided by their sum, as Kaggle does; then p is clipped at the precision of its type, as in scikit-learn: float32
    1.2e-7, float64 2.2e-16. A class that no label names changes nothing.
    """
    y, p = class_shapes(y, p)
    p = p if p.dtype.kind == "f" else p.astype(np.float64)
    if p.ndim == 2 and y.ndim == 1:
        sums = p.sum(axis=1, dtype=np.float64, keepdims=True)
        p = np.divide(p, sums, out=np.zeros_like(p), where=sums > 0, casting="unsafe")
    smallest = np.finfo(p.dtype).eps
    losses = -np.log(np.clip(true_class_probs(y, p), smallest, 1.0), dtype=np.float64)
    return mean_of_items(losses, y, p, weights)


def macro_f1(y: np.ndarray, p: np.ndarray, weights: Weights = None) -> float:
    """Mean F1 of the classes that are true or predicted at least once, the argmax being the prediction.

    y: (n,) int; p: (n, C) float.
    """
    y, p = class_shapes(y, p)
    guess, classes = predicted_class(p), max(2, p.shape[1] if p.ndim == 2 else 2)
    hits = np.bincount(y[guess == y], minlength=classes)
    true, predicted = np.bincount(y, minlength=classes), np.bincount(guess, minlength=classes)
    scores = fbeta_from_counts(hits, predicted, true, 1.0)
    return weighted_mean(np.where((true + predicted) > 0, scores, np.nan), weights)


def weighted_mean(scores: np.ndarray, weights: Weights) -> float:
    """Mean over the classes whose score is a number; NaN where none is. scores: (C,)."""
    defined = ~np.isnan(scores)
    if weights is None:
        return float(scores[defined].mean()) if defined.any() else float("nan")
    of = class_weights(weights, len(scores))[defined]
    return float(np.average(scores[defined], weights=of)) if of.sum() > 0 else float("nan")


def top_k_accuracy(y: np.ndarray, p: np.ndarray, k: int) -> float:
    """Share of items whose true class is among the k most probable; ties go to the lower class, NaN is never a hit.

    y: (n,) int; p: (n, C), or (n,) of two classes.
    """
    y, p = class_shapes(y, p)
    table = np.stack((1 - p, p), axis=1) if p.ndim == 1 else p
    own = np.take_along_axis(table, y.astype(np.int64)[:, None], axis=1)
    ahead = (table > own) | ((table == own) & (np.arange(table.shape[1]) < y[:, None]))
    return float(((np.count_nonzero(ahead, axis=1) < k) & ~np.isnan(own[:, 0])).mean())


def binary_auc(y: np.ndarray, p: np.ndarray) -> float:
    """Area under the ROC curve, ties counting one half. y: (n,) bool; p: (n,). NaN when only one class is there."""
    y = y.astype(bool)
    positives = int(np.count_nonzero(y))
    negatives = y.size - positives
    if positives == 0 or negatives == 0:
        return float("nan")
    order = np.argsort(p, kind="stable")
    ordered = p[order]
    first = np.concatenate(([True], ordered[1:] != ordered[:-1]))
    starts = np.flatnonzero(first)
    ends = np.append(starts[1:], y.size)
    mean_rank = (starts + ends + 1) / 2  # rank 1 is the lowest; tied values share the mean of their ranks
    above = np.add.reduceat(y[order], starts, dtype=np.int64)
    return float((above @ mean_rank - positives * (positives + 1) / 2) / (positives * negatives))


def auc(y: np.ndarray, p: np.ndarray, weights: Weights = None) -> float:
    """Binary AUC, or its mean over classes (one against the rest); classes without both outcomes are left out.

    NaN when no class has both. scikit-learn refuses to score what is left out here.
    y: (n,) bool or 0/1 with p (n,) or (n, 2); or y (n,) int with p (n, C); or y (n, C) bool with p (n, C).
    """
    return mean_over_classes(binary_auc, y, p, weights)


def binary_average_precision(y: np.ndarray, p: np.ndarray) -> float:
    """Sum over thresholds of (recall step x precision), as in scikit-learn; NaN when nothing is true.

    y: (n,) bool; p: (n,) float.
    """
    y = y.astype(bool)
    positives = int(np.count_nonzero(y))
    if positives == 0:
        return float("nan")
    order = np.argsort(descending(p), kind="stable")
    ordered = p[order]
    last = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))
    hits = np.cumsum(y[order])[last]
    return float(np.sum(np.diff(hits, prepend=0) * hits / (last + 1)) / positives)


def average_precision(y: np.ndarray, p: np.ndarray, weights: Weights = None) -> float:
    """Average precision, or its mean over the classes that occur; NaN when none does. Shapes as in `auc`.

    scikit-learn's macro average takes a class that never occurs as 0.
    """
    return mean_over_classes(binary_average_precision, y, p, weights)


def mean_over_classes(
    score: Callable[[np.ndarray, np.ndarray], float], y: np.ndarray, p: np.ndarray, weights: Weights = None
) -> float:
    """Apply a binary score to each class against the rest and average what is defined. Shapes as in `auc`.

    Of two classes, one of which is right, the second is the positive one, and weights are refused.
    """
    y, p = class_shapes(y, p)
    binary = p if p.ndim == 1 else p[:, 1] if y.ndim == 1 and p.shape[1] == 2 else None
    if binary is not None:
        if weights is not None:
            raise FoldpackError(f"{len(weights)} weights of classes, but of two classes one score is taken, that of "
                                "the second; leave the weights out")
        return score(y == 1, binary)
    truth = y.astype(bool) if y.ndim == 2 else y[:, None] == np.arange(p.shape[1])
    return weighted_mean(np.array([score(truth[:, c], p[:, c]) for c in range(p.shape[1])]), weights)


def quadratic_kappa(y: np.ndarray, grades: np.ndarray) -> float:
    """Quadratic weighted kappa of two (n,) int gradings. 1 perfect, 0 chance; 0 when both are one constant grade.

    Grades are numbers, as in Kaggle's metric: one that nobody was given still lies between its neighbours, where
    scikit-learn counts places in the list of grades that occur, unless it is told all of them.
    Needs only means: kappa = 1 - sum (a-b)² / sum over all pairs of (a_i-b_j)² / n.
    """
    y, grades = equal_shapes(y, grades)
    a, b = y.astype(np.float64), grades.astype(np.float64)
    seen = np.mean((a - b) ** 2)
    by_chance = a.var() + b.var() + (a.mean() - b.mean()) ** 2
    return float(1 - seen / by_chance) if by_chance > 0 else 0.0
