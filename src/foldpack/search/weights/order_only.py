"""Metrics that see only the order of probabilities, and how large logits may be before float32 loses it."""

from __future__ import annotations

from foldpack.metrics.registry import METRICS, Metric

CALM_LOGIT = 4.0  # float32 probabilities of smaller logits are fine enough for any order
LARGE_LOGIT = 8.0  # from here on they may tie what differs


def only_orders(metric: Metric) -> bool:
    """Whether a metric sees no more of probabilities than their order, and which of two classes is likelier."""
    return METRICS.get(metric.name) is metric and metric.needs in ("probs", "labels") and metric.name != "log_loss"
