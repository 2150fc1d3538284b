"""Truth and predictions in the shapes that a score takes: numpy would spread (n, 1) against (n,) in silence."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from foldpack.errors import FoldpackError


def equal_shapes(y: np.ndarray, p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both as arrays of one shape; (n, 1) becomes (n,). Raises FoldpackError where they differ."""
    y, p = one_column(np.asarray(y)), one_column(np.asarray(p))
    if y.shape != p.shape:
        raise FoldpackError(f"the truth has shape {y.shape}, the predictions {p.shape}; this metric needs one shape")
    return y, p


def class_shapes(y: np.ndarray, p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Truth and probabilities of classes; (n, 1) becomes (n,).

    Gives y (n,) int64 with p (n, C); or y (n, C) with p (n, C); or y (n,) of 0 and 1 with p (n,). Raises FoldpackError
    for other shapes, and for a label that is none of the columns: -1 would be taken for the last.
    """
    y, p = one_column(np.asarray(y)), one_column(np.asarray(p))
    if y.ndim == 2 or y.shape[0] != p.shape[0]:
        return equal_shapes(y, p)
    classes = 2 if p.ndim == 1 else p.shape[1]
    if y.dtype.kind == "b" and p.ndim == 1:
        return y, p
    outside = ~np.isin(y, np.arange(classes)) if y.dtype.kind == "f" else (y < 0) | (y >= classes)
    if outside.any():
        row = int(outside.argmax())
        raise FoldpackError(f"the label in row {row} (from 0) is {y[row]}; predictions of shape {p.shape} know the "
                            f"labels 0 to {classes - 1}")
    return y.astype(np.int64), p


def class_weights(weights: Sequence[float], classes: int) -> np.ndarray:
    """(C,) float64. Raises FoldpackError for another number of them than of classes."""
    of = np.asarray(weights, dtype=np.float64)
    if of.shape != (classes,):
        raise FoldpackError(f"{of.size} weights of classes, but there are {classes} classes; give one a class, in "
                            "their order")
    return of


def one_column(values: np.ndarray) -> np.ndarray:
    """(n, 1) -> (n,); anything else as it is."""
    return values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values


def descending(values: np.ndarray) -> np.ndarray:
    """What sorts ascending as `values` do descending: of bools and unsigned numbers the negative is none."""
    return -values if values.dtype.kind == "f" else -values.astype(np.float64)
