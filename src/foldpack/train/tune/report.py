"""What came of a study: its trials, the best first, and which keys mattered."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from foldpack.train.tune.space import told_values

if TYPE_CHECKING:
    import optuna

SHOWN = 30  # trials
ENOUGH = 8  # finished trials before importance is worth telling
WORDS = {"COMPLETE": "finished", "PRUNED": "pruned", "FAIL": "failed", "RUNNING": "in work", "WAITING": "waiting"}


def report_lines(study: optuna.Study, metric: str, folds: list[int]) -> Iterator[str]:
    """Lines for the terminal."""
    trials = [trial for trial in study.get_trials(deepcopy=False) if trial.state.name != "WAITING"]
    sign = -1 if study.direction.name == "MAXIMIZE" else 1
    order = sorted(trials, key=lambda one: (one.state.name != "COMPLETE", sign * (one.value or 0.0), one.number))
    yield f"{'trial':>5}  {'state':<8}  {metric:>10}  {'seconds':>7}  values"
    for trial in order[:SHOWN]:
        score = "" if trial.value is None or trial.state.name != "COMPLETE" else f"{trial.value:.4f}"
        seconds = trial.user_attrs.get("seconds", "")
        why = f"; {trial.user_attrs['error']}" if "error" in trial.user_attrs else ""
        yield (f"{trial.number:>5}  {WORDS[trial.state.name]:<8}  {score:>10}  {seconds!s:>7}  "
               f"{', '.join(told_values(trial.params))}{why}")
    if len(order) > SHOWN:
        yield f"{'':>5}  and {len(order) - SHOWN} more"
    complete = [trial for trial in trials if trial.state.name == "COMPLETE"]
    if not complete:
        yield "no trial came to its end"
        return
    yield from importance_lines(study, len(complete))
    yield (f"the best of {len(trials)} trials on fold {', '.join(map(str, folds))} is optimistic: the score that chose "
           "it is no honest one there; train all folds and trust those that chose nothing")


def importance_lines(study: optuna.Study, complete: int) -> Iterator[str]:
    """Which keys moved the score most, by optuna's PED-ANOVA (Watanabe et al., arXiv 2304.10255)."""
    import optuna

    if complete < ENOUGH:
        return
    with contextlib.suppress(RuntimeError, ValueError):
        found = optuna.importance.get_param_importances(study)
        yield "importance: " + ", ".join(f"{key} {share:.2f}" for key, share in found.items())
