"""Predict the items of a fold, and score that with a run's metric; multi-label ones get their best threshold."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import torch

from foldpack.data.rows import Rows
from foldpack.metrics.registry import Metric
from foldpack.models.checkpoint import GoldenLogits
from foldpack.models.gallery import Gallery
from foldpack.predict.loop import Forward, finite_rows
from foldpack.search.decide.best_threshold import best_threshold
from foldpack.train.dataset import TrainingSet
from foldpack.train.images.picked import PickedPixels, require_pixels


@dataclass
class FoldResult:
    """An epoch of one fold: weights, and what they predict."""

    weights: dict[str, torch.Tensor]  # on the CPU
    views: list[Rows]  # of the fold's items, by view
    score: float
    epoch: int
    seconds_per_image: float  # one view
    golden: GoldenLogits  # what the network says to the golden picture
    gallery: Gallery | None = None  # what queries are compared with, where the task does so


def predict_rows(forward: Forward, data: TrainingSet, rows: np.ndarray) -> tuple[list[Rows], float]:
    """What a network says to some items, by view, as the kernel predicts them, and the seconds that it took without the
    wait for pixels. They are read by the batch. Raises DataError for an item whose file is gone.
    """
    picked = PickedPixels(data.pixels, rows)
    started = time.monotonic()
    try:
        views = finite_rows(forward, picked, 0, len(rows))
    finally:
        picked.close()
    require_pixels(picked, [data.ids[row] for row in rows], 0, len(rows))
    return views, time.monotonic() - started - picked.waited


def score_probs(metric: Metric, targets: np.ndarray, probs: np.ndarray, min_labels: int = 1) -> float:
    """The metric of (n, C) probabilities. Metrics of label sets are taken at their best global threshold."""
    if metric.needs == "labels":
        return best_threshold(probs, targets, metric.beta, min_labels=min_labels, average=metric.average)[1]
    return metric(targets, probs)


def is_defined(metric: Metric, targets: np.ndarray, classes: int) -> bool:
    """Whether predictions of these items can be scored: an AUC needs two classes. targets: (n,) int or (n, C) bool."""
    if metric.needs == "labels":
        return True
    return not np.isnan(metric(targets, np.full((len(targets), classes), 1 / classes, dtype=np.float32)))


def is_better(metric: Metric, score: float, best: float | None) -> bool:
    """Whether a score beats the best so far in the metric's own direction. NaN never does."""
    if best is None or np.isnan(best):
        return not np.isnan(score)
    return score > best if metric.greater_is_better else score < best
