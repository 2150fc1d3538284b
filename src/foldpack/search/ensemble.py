"""From finished runs to an ensemble: weights, threshold, an honest score, and the YAML."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from foldpack.competitions.registry import get_competition
from foldpack.data.runs import Run, read_run
from foldpack.ensemble.blend import blend_probs, merge_views
from foldpack.errors import DataError
from foldpack.metrics.registry import Metric, get_metric
from foldpack.search.nested import NestedScore, cross_validated_score
from foldpack.search.thresholds import best_threshold
from foldpack.search.weights import fit_weights
from foldpack.spec import BudgetSpec, EnsembleSpec, FoldSpec, MemberSpec, MetricSpec

MIN_LABELS = 1  # an item without any label scores 0 in an F-beta over samples


def search_ensemble(name: str, folders: list[Path], metric_name: str | None, hours: float,
                    slug: str | None = None) -> tuple[EnsembleSpec, list[str]]:
    """Fit the blend of some runs. Returns the ensemble and the lines of a report.

    metric_name: None takes the runs' own metric. hours: the kernel's limit. slug: the competition on Kaggle, when it
    differs from the adapter's. Raises DataError when the runs do not belong together.
    """
    runs = [read_run(folder) for folder in folders]
    require_same_rows(runs)
    first = runs[0].meta
    metric = get_metric(metric_name or first.metric)
    require_metric_fits(metric, first.task)
    targets = np.asarray(runs[0].targets)
    probs = np.stack([merge_views(np.asarray(run.logits), first.task) for run in runs])
    weights = fit_weights(probs, targets, metric.name, MIN_LABELS)
    weights = np.round(weights, 6)
    blend = blend_probs(probs, weights)
    score, threshold = score_blend(metric, targets, blend)
    uniform, _ = score_blend(metric, targets, probs.mean(axis=0))
    nested = nested_score(probs, targets, metric, runs[0].fold)
    layout = get_competition(first.competition)
    spec = EnsembleSpec(
        name=name, competition=first.competition, slug=slug or layout.slug, task=first.task,
        metric=MetricSpec(name=metric.name, oof=round(score, 6), uniform=round(uniform, 6),
                          nested=None if nested is None else round(nested.mean, 6)),
        budget=BudgetSpec(hours=hours), threshold=threshold, min_labels=MIN_LABELS, classes=first.classes,
        prior=first.prior, members=[member_of(run, weight) for run, weight in zip(runs, weights, strict=True)])
    return spec, report_lines(spec, runs, probs, targets, metric, nested)


def require_same_rows(runs: list[Run]) -> None:
    """Raises DataError unless all runs predict the same items, classes and folds, against the same targets."""
    first = runs[0]
    for run in runs[1:]:
        for what, same in (
            ("competition", run.meta.competition == first.meta.competition),
            ("classes", run.meta.classes == first.meta.classes),
            ("ids", run.ids == first.ids),
            ("folds", np.array_equal(run.fold, first.fold)),
            ("targets", np.array_equal(run.targets, first.targets)),
        ):
            if not same:
                raise DataError(f"runs '{first.meta.run}' and '{run.meta.run}' differ in their {what}; blend runs "
                                "that were trained on one folds.csv and on the same folds of it")
    names = [run.meta.run for run in runs]
    if len(set(names)) != len(names):
        raise DataError(f"a run is named twice: {', '.join(names)}; name each once")


def require_metric_fits(metric: Metric, task: str) -> None:
    """Raises DataError for a metric of label sets on single-label data and the other way round."""
    if (metric.needs == "labels") != (task == "multilabel") or metric.needs in ("grades", "values"):
        raise DataError(f"metric '{metric.name}' needs {metric.needs}; it does not fit a {task} competition")


def score_blend(metric: Metric, targets: np.ndarray, blend: np.ndarray) -> tuple[float, float | None]:
    """(score, threshold) of (n, C) probabilities; the threshold is None where the metric takes probabilities."""
    if metric.needs != "labels":
        return metric(targets, blend), None
    threshold, score = best_threshold(blend, targets, metric.beta, MIN_LABELS, average=metric.average)
    return score, float(threshold)


def nested_score(probs: np.ndarray, targets: np.ndarray, metric: Metric, fold: np.ndarray) -> NestedScore | None:
    """Weights and threshold refitted without each fold in turn; None with a single fold."""
    if len(np.unique(fold)) < 2:
        return None
    return cross_validated_score(probs, targets, metric.name, fold, MIN_LABELS)


def member_of(run: Run, weight: float) -> MemberSpec:
    """A run's entry in the YAML."""
    meta = run.meta
    return MemberSpec(run=meta.run, weight=float(weight), views=meta.views, size=meta.size,
                      seconds_per_image=float(f"{meta.seconds_per_image:.3g}"),
                      folds=[FoldSpec(fold=fold.fold, sha256=fold.sha256) for fold in meta.folds])


def report_lines(spec: EnsembleSpec, runs: list[Run], probs: np.ndarray, targets: np.ndarray, metric: Metric,
                 nested: NestedScore | None) -> list[str]:
    """What the search found, one fact a line."""
    lines = [f"{spec.name}: {len(runs)} runs, {len(targets)} items, metric {metric.name}"]
    for member, p in zip(spec.members, probs, strict=True):
        lines.append(f"  {member.run}: alone {score_blend(metric, targets, p)[0]:.4f}, weight {member.weight:.4f}")
    lines.append(f"  uniform {spec.metric.uniform:.4f}, fitted {spec.metric.oof:.4f} on the rows it was fitted on")
    if nested is not None:
        lines.append(f"  nested {nested.mean:.4f} +- {nested.se:.4f}: fitted without the scored fold")
    if spec.threshold is not None:
        lines.append(f"  threshold {spec.threshold:.4f}")
    return lines
