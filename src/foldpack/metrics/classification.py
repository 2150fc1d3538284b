"""Scores of class probabilities: accuracy, log-loss, macro F1, AUC, average precision, quadratic weighted kappa.

All of them take one column, (n, 1), for (n,), and raise FoldpackError for shapes or labels that do not fit.
"""

from __future__ import annotations

import numpy as np

from foldpack.metrics.fbeta import fbeta_from_counts
from foldpack.metrics.shapes import class_shapes, descending, equal_shapes

# Probabilities are clipped here before a logarithm is taken: below it float32 logits carry no information.
SMALLEST_PROB = 1e-7


def accuracy(y: np.ndarray, p: np.ndarray) -> float:
    """Share of items whose highest probability is the true class; ties go to the lower class.

    y: (n,) int; p: (n, C) float. A (n,) p is binary: class 1 from 0.5 on.
    """
    y, p = class_shapes(y, p)
    return float(np.mean(predicted_class(p) == y))


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


def log_loss(y: np.ndarray, p: np.ndarray) -> float:
    """Mean of -log(probability of the truth), natural logarithm; for bool y the mean over all (item, class) cells.

    y: (n,) int and p: (n, C); or both (n, C); or both (n,) for two classes. p is clipped at 1e-7, not renormalised:
    rows that do not sum to 1 score what they say. A class that no label names changes nothing.
    """
    return float(-np.log(np.clip(true_class_probs(y, p), SMALLEST_PROB, 1.0), dtype=np.float64).mean())


def macro_f1(y: np.ndarray, p: np.ndarray) -> float:
    """Mean F1 of the classes that are true or predicted at least once, the argmax being the prediction.

    y: (n,) int; p: (n, C) float.
    """
    y, p = class_shapes(y, p)
    guess, classes = predicted_class(p), max(2, p.shape[1] if p.ndim == 2 else 2)
    hits = np.bincount(y[guess == y], minlength=classes)
    true, predicted = np.bincount(y, minlength=classes), np.bincount(guess, minlength=classes)
    return float(fbeta_from_counts(hits, predicted, true, 1.0)[(true + predicted) > 0].mean())


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


def auc(y: np.ndarray, p: np.ndarray) -> float:
    """Binary AUC, or its mean over classes (one against the rest); classes without both outcomes are left out.

    NaN when no class has both. scikit-learn refuses to score what is left out here.
    y: (n,) bool or 0/1 with p (n,) or (n, 2); or y (n,) int with p (n, C); or y (n, C) bool with p (n, C).
    """
    return mean_over_classes(binary_auc, y, p)


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


def average_precision(y: np.ndarray, p: np.ndarray) -> float:
    """Average precision, or its mean over the classes that occur; NaN when none does. Shapes as in `auc`.

    scikit-learn's macro average takes a class that never occurs as 0.
    """
    return mean_over_classes(binary_average_precision, y, p)


def mean_over_classes(score, y: np.ndarray, p: np.ndarray) -> float:
    """Apply a binary score to each class against the rest and average what is defined. Shapes as in `auc`."""
    y, p = class_shapes(y, p)
    if p.ndim == 1:
        return score(y, p)
    if y.ndim == 1 and p.shape[1] == 2:
        return score(y == 1, p[:, 1])
    truth = y.astype(bool) if y.ndim == 2 else y[:, None] == np.arange(p.shape[1])
    scores = np.array([score(truth[:, c], p[:, c]) for c in range(p.shape[1])])
    return float(np.nanmean(scores)) if not np.isnan(scores).all() else float("nan")


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
