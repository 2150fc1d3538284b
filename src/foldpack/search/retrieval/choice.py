"""Which way to compare queries with galleries suits each run best: a small grid on its out-of-fold embeddings.

Settings are tried one after another, each from what was best before. The way of the run's own configuration stays
unless another one is better by more than one standard error over the folds, or over parts of them where there are few.
The whole walk is repeated without each part, which is then scored by where that walk ended; where that is no better
than the run's own way, its own stays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from foldpack.data.runs import Run
from foldpack.metrics.registry import Metric
from foldpack.search.decide.decision import LabelRule
from foldpack.search.retrieval.calibration import choose_calibration
from foldpack.search.retrieval.judge import Judge, answer_parts
from foldpack.search.run_rows import run_reader_of
from foldpack.search.weights.selection import standard_error, uniform_first
from foldpack.settings.retrieve import Calibration, Rerank, Retrieval
from foldpack.settings.run import EmbedConfig

GRID: dict[str, tuple] = {
    "neighbours": (1, 2, 3, 5),
    "centres": (0.0, 0.25, 0.5, 1.0),
    "expand_query": (0, 1, 2, 4),
    "expand_gallery": (0, 1, 2, 4),
    "rerank": (None, Rerank()),
}
MOST_RERANKED = 40_000  # queries and items of a fold: all are compared with all

Tell = Callable[[float], None]


@dataclass(frozen=True)
class Chosen:
    """own, best: settings; scores: (K,) by part of the run's own, and of the walk that never saw the part."""

    own: Retrieval
    best: Retrieval
    own_scores: np.ndarray
    nested_scores: np.ndarray
    tried: int

    def line(self, run: str, metric: Metric) -> str:
        """For the report."""
        own, nested = abs(self.own_scores.mean()), abs(self.nested_scores.mean())
        if self.best == self.own:
            return f"retrieval of '{run}': {self.tried} ways tried, its own stays: {metric.name} {own:.4f}"
        error = standard_error(self.nested_scores - self.own_scores)
        return (f"retrieval of '{run}': {told(self.best, self.own)}; {metric.name} {nested:.4f}, each part of the "
                f"answers by what was chosen without it, and {own:.4f} with its own settings (+- {error:.4f}); "
                f"{self.tried} ways tried")


def told(best: Retrieval, own: Retrieval) -> str:
    """The settings that differ."""
    after, before = best.model_dump(mode="json"), own.model_dump(mode="json")
    return ", ".join(f"{key} {_short(after[key])}" for key in after if after[key] != before[key])


def _short(value: object) -> str:
    if isinstance(value, dict):
        return "(" + ", ".join(f"{key} {_short(part)}" for key, part in value.items()) + ")"
    return "none" if value is None else str(value)


def with_retrieval(run: Run, settings: Retrieval) -> Run:
    """The run as if it had been trained with these settings of `embed`."""
    assert run.meta.embed is not None
    embed = EmbedConfig(dim=run.meta.embed.dim, **dict(settings))
    return replace(run, meta=run.meta.model_copy(update={"embed": embed}))


def choose_retrieval(runs: list[Run], targets: np.ndarray, folds: np.ndarray, metric: Metric, rule: LabelRule,
                     tell: Tell, weights: np.ndarray | None = None) -> tuple[list[Run], list[str]]:
    """The runs with their best settings, calibrated alike, and a line on each. targets, folds, weights: (n,) of the
    answers."""
    parts = answer_parts(targets, folds, len(runs[0].meta.classes) - 1 if rule.new_class else None)
    if len(np.unique(parts)) < 2:
        return runs, ["the ways to retrieve stay those of the runs: all answers are of one fold and one identity"]
    judge, chosen, lines = Judge(targets, parts, metric, rule, weights), list[Run](), list[str]()
    for number, run in enumerate(runs):
        best = choose_for(run, judge)
        chosen.append(with_retrieval(run, best.best))
        lines.append(best.line(run.meta.run, metric))
        tell((number + 1) / (len(runs) + 1))
    hows, line = choose_calibration(judge, lambda member, how: run_reader_of(calibrated(chosen[member], how)),
                                    [settings_of(run).calibration for run in chosen])
    tell(1.0)
    return [calibrated(run, how) for run, how in zip(chosen, hows, strict=True)], [*lines, line]


def settings_of(run: Run) -> Retrieval:
    """How the queries of a run of vectors are compared with its galleries."""
    assert run.meta.embed is not None
    return run.meta.embed.retrieval


def calibrated(run: Run, how: Calibration | None) -> Run:
    """The run with another calibration."""
    return with_retrieval(run, settings_of(run).model_copy(update={"calibration": how}))


def choose_for(run: Run, judge: Judge) -> Chosen:
    """The best settings of one run."""
    own = settings_of(run)
    known: dict[str, np.ndarray] = {}

    def gains(settings: Retrieval) -> np.ndarray:
        key = settings.model_dump_json()
        if key not in known:
            known[key] = judge.gains(run_reader_of(with_retrieval(run, settings)))
        return known[key]

    every = np.arange(judge.folds)
    grid = grid_of(run)
    best = walk(own, grid, lambda settings: gains(settings)[every, every])
    nested = np.empty(judge.folds)
    for f in every:
        others = every[every != f]
        end = own
        if len(others) > 1:
            end = walk(own, grid, lambda settings, f=f, others=others: gains(settings)[others, f])  # type: ignore[misc]
        nested[f] = gains(end)[f, f]
    if not nested.mean() > gains(own)[every, every].mean():
        best = own  # what was chosen without a part has not helped there
    return Chosen(own, best, gains(own)[every, every], nested, len(known))


def grid_of(run: Run) -> dict[str, tuple]:
    """What to try; without re-ranking where it would compare too many items with all others."""
    most = max(fold.items for fold in run.meta.folds) + len(run.ids)
    return {key: values for key, values in GRID.items() if key != "rerank" or most <= MOST_RERANKED}


def walk(own: Retrieval, grid: Mapping[str, tuple], gains: Callable[[Retrieval], np.ndarray]) -> Retrieval:
    """From some settings to better ones, one setting after another. gains: (folds,) of settings."""
    here = own
    for key, values in grid.items():
        tried = [here, *(changed(here, key, value) for value in values if value != dict(here)[key])]
        here = tried[uniform_first(np.stack([gains(one) for one in tried], axis=1))]
    return here


def changed(settings: Retrieval, key: str, value: object) -> Retrieval:
    """The same with one setting changed; those that nothing reads then have their default."""
    data = {**dict(settings), key: value}
    if data["neighbours"] == 1:
        data["softmax"] = None
    if not (data["expand_query"] or data["expand_gallery"]):
        data["alpha"] = Retrieval.model_fields["alpha"].default
    return Retrieval(**data)
