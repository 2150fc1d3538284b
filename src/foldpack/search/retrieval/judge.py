"""What ways to retrieve score, part by part, on the out-of-fold embeddings: nothing is trained for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from foldpack.ensemble.thresholds import top_classes
from foldpack.metrics.registry import Metric
from foldpack.search.cells.cells import Cells, dense_cells
from foldpack.search.decide.decision import LabelRule, fit_decision, score_cells
from foldpack.search.weights.selection import merged_folds, uniform_first

LEAST_PARTS = 4  # of the answers: fewer folds are divided
MOST_QUERIES = 4000  # answers that ways are tried on, evenly spaced
BLOCK_SCORES = 1 << 24  # of answers with identities, in memory at a time

ScoreReader = Callable[[np.ndarray], np.ndarray]  # some answers -> (k, C) float32 scores of identities


class Judge:
    """Scores ways to retrieve on some answers, each part of them with a last step that was fitted without it."""

    def __init__(self, targets: np.ndarray, part: np.ndarray, metric: Metric, rule: LabelRule,
                 weights: np.ndarray | None = None) -> None:
        """targets: (n,) int64 of all answers; part: (n,) int, two or more different, as `answer_parts` gives them;
        weights: (n,) of the answers, as `query_weights` gives them."""
        self.rows = np.arange(len(targets))[:: -(-len(targets) // MOST_QUERIES)]
        self.targets, self.fold = targets[self.rows], merged_folds(part[self.rows])
        self.folds = int(self.fold.max()) + 1
        self.metric, self.rule = metric, rule
        self.weights = None if weights is None else weights[self.rows]

    def gains(self, read: ScoreReader) -> np.ndarray:
        """(K, K) greater is better: of fold f, the last step fitted without f and g."""
        cells = self.best_cells(read)
        gains = np.full((self.folds, self.folds), np.nan)
        for f in range(self.folds):
            for g in range(self.folds):
                if f == g or self.folds > 2:
                    gains[f, g] = self.gain(cells, f, g)
        return gains

    def gain(self, cells: Cells, f: int, g: int) -> float:
        """One of them."""
        decision = None
        if self.rule.decides(self.metric):
            train = cells.take_items((self.fold != f) & (self.fold != g))
            decision = fit_decision(train, train.values[0], self.metric, self.rule)[0]
        part = cells.take_items(self.fold == f)
        score = score_cells(part, part.values[0], self.metric, decision, self.rule)
        return score if self.metric.greater_is_better else -score

    def best_cells(self, read: ScoreReader) -> Cells:
        """The scores of all answers; of a metric that looks at the best k only these k, in their order."""
        k = self.metric.map_at or self.metric.hit_at
        size, tables, truths, first = 1, [], [], 0
        while first < len(self.rows):
            scores, truth = read(self.rows[first : first + size]), self.targets[first : first + size]
            table, truth = best_columns(scores, truth, k, self.rule.new_class) if k else (scores, truth)
            tables.append(table)
            truths.append(truth)
            first, size = first + size, max(1, BLOCK_SCORES // scores.shape[1])
        return replace(dense_cells(np.concatenate(tables)[None], np.concatenate(truths)), weights=self.weights)


def answer_parts(targets: np.ndarray, folds: np.ndarray, new: int | None) -> np.ndarray:
    """(n,) int: the folds; of few folds each in several parts of whole identities, so that a gain can be told from
    chance. new: the class of no identity, whose answers are spread over the parts of a fold."""
    _, fold = np.unique(folds, return_inverse=True)
    each = -(-LEAST_PARTS // (int(fold.max()) + 1))
    _, who = np.unique(targets, return_inverse=True)
    who = np.where(targets == (-1 if new is None else new), np.arange(len(targets)), who)
    return fold * each + who % each


def best_columns(scores: np.ndarray, truth: np.ndarray, k: int, none: bool) -> tuple[np.ndarray, np.ndarray]:
    """(n, C) scores and (n,) truths -> (n, k + 1) and (n,): the best k of each row, then a column that stands for all
    others, below them; with `none` also the last one, as it is. What the best k score is the same."""
    classes = scores.shape[1] - none
    best = top_classes(scores[:, :classes], k)[:, :k]
    table = np.full((len(scores), best.shape[1] + 1 + none), -np.inf, dtype=np.float32)
    table[:, : best.shape[1]] = np.take_along_axis(scores, best, axis=1)
    hit = best == truth[:, None]
    place = np.where(hit.any(axis=1), hit.argmax(axis=1), best.shape[1])
    if none:
        table[:, -1] = scores[:, -1]
        place = np.where(truth == classes, best.shape[1] + 1, place)
    return table, place


def nested_choice(gains: list[np.ndarray]) -> tuple[int, np.ndarray]:
    """(which of several ways, (K,) what each fold gains by the way that is chosen without it). gains: (K, K) of each,
    the first of which stays unless another is better by more than one standard error, and the choice without each fold
    has helped there."""
    table = np.stack(gains, axis=-1)
    every = np.arange(len(table))
    whole = table[every, every]
    nested = np.empty(len(table))
    for f in every:
        others = every[every != f]
        inner = table[others, f] if len(table) > 2 else whole[others]
        nested[f] = whole[f, uniform_first(inner)]
    return uniform_first(whole) if nested.mean() > whole[:, 0].mean() else 0, nested
