"""Out-of-fold queries weighed as the test set is said to ask: how many are like no other, and whom the others show.

A fold has the training table's share of unknowns, and an individual with many pictures is asked for many times. Where
the test set is otherwise, scores, thresholds and choices made on such queries are those of another test.
"""

from __future__ import annotations

import numpy as np

from foldpack.competitions.protocol import Competition
from foldpack.competitions.training_items import TrainableCompetition
from foldpack.data.runs import RunMeta
from foldpack.errors import DataError
from foldpack.metrics.ranking import precision_of_one, top_k
from foldpack.metrics.registry import Metric
from foldpack.settings.label_kinds import IdentityLabels, QueriesConfig


def queries_of(competition: Competition) -> QueriesConfig:
    """What its `competition.yml` says of the queries of the test set."""
    labels = competition.config.labels if isinstance(competition, TrainableCompetition) else None
    return labels.queries if isinstance(labels, IdentityLabels) else QueriesConfig()


def query_weights(truth: np.ndarray, none: int | None, queries: QueriesConfig) -> np.ndarray | None:
    """(n,) float64 of mean 1: how much each query counts; None where all count alike.

    truth: (n,) int64; none: the class of those that are like no other. Where no query is one, or all are, their share
    cannot be met and stays.
    """
    if queries == QueriesConfig():
        return None
    weights = np.ones(len(truth))
    unknown = np.zeros(len(truth), dtype=bool) if none is None else truth == none
    if queries.identities == "alike":
        _, who, items = np.unique(truth, return_inverse=True, return_counts=True)
        weights[~unknown] = 1 / items[who[~unknown]]
        weights[~unknown] *= (~unknown).sum() / max(weights[~unknown].sum(), 1.0)
    if queries.none is not None and 0 < unknown.sum() < len(truth):
        weights[unknown] *= queries.none / unknown.mean()
        weights[~unknown] *= (1 - queries.none) / (~unknown).mean()
    return weights


def run_weights(truth: np.ndarray, meta: RunMeta, competition: Competition, metric: Metric) -> np.ndarray | None:
    """How much each out-of-fold query of a run of vectors counts. Raises DataError for a metric that weighs none."""
    weights = query_weights(truth, len(meta.classes) - 1 if meta.none else None, queries_of(competition))
    if weights is not None and not metric.map_at:
        raise DataError(f"competition '{competition.name}': labels.queries weigh a mean average precision, and the "
                        f"metric is '{metric.name}'; name one such as map5 with --metric, or leave labels.queries out")
    return weights


def weighted_score(metric: Metric, truth: np.ndarray, table: np.ndarray, weights: np.ndarray | None) -> float:
    """The metric of (n, C) scores. weights: (n,) of a mean average precision; None: all count alike."""
    if weights is None or not metric.map_at:
        return metric(truth, table)
    return float(np.average(precision_of_one(truth, top_k(table, metric.map_at)), weights=weights))
