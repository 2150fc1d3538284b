"""The page of `foldpack curves`: score, loss and learning rate by epoch, runs and folds over each other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from markupsafe import Markup
from matplotlib.ticker import MaxNLocator

from foldpack.look.sheet import fill_sheet
from foldpack.search.report.figures import new_axes, plain_numbers, svg_text
from foldpack.train.pages.run_log import FoldLog, RunLog
from foldpack.train.pages.verdict import course_of, fold_gap, verdict

TEMPLATE = Path(__file__).with_name("curves.html")
COLOURS = ("#3b7dd8", "#e0732b", "#2a9d6f", "#c2417c", "#8a6fd1", "#a08021", "#22a0b6", "#8c8c8c")  # on white and black
HEAD = ["run", "fold", "epochs", "best epoch", "best", "last", "loss", "images/s", "s an epoch", "memory, MiB"]


def mean_curve(folds: list[FoldLog], name: str) -> tuple[np.ndarray, np.ndarray]:
    """(epochs, means) of a number over the folds, of the epochs that all folds have."""
    found = [dict(zip(fold.column("epoch").astype(int).tolist(), fold.column(name).tolist(), strict=True))
             for fold in folds]
    shared = [epoch for epoch in sorted(set.intersection(*map(set, found)))
              if all(np.isfinite(each[epoch]) for each in found)]
    return np.array(shared), np.array([np.mean([each[epoch] for each in found]) for epoch in shared])


def figure_of(runs: list[RunLog], name: str, title: str, colours: dict[str, str]) -> str:
    """One number by epoch as SVG: a thin line a fold, a thick one for the mean, and of scores a point at each best
    epoch; "" where nothing is logged."""
    figure, axes = new_axes(3.4)
    every: list[float] = []
    for run in runs:
        colour = colours[run.name]
        for fold in run.folds:
            epochs, numbers = fold.column("epoch"), fold.column(name)
            here = np.isfinite(numbers)
            every += numbers[here].tolist()
            marker = "o" if here.sum() == 1 else ""
            axes.plot(epochs[here], numbers[here], color=colour, linewidth=0.8, alpha=0.55, marker=marker, markersize=3)
            if name == "score" and here.any():
                course = course_of(fold, 1 if run.metric.greater_is_better else -1)
                axes.plot([course.best_epoch], [course.best], "o", color=colour, markersize=5)
        if len(run.folds) > 1:
            axes.plot(*mean_curve(run.folds, name), color=colour, linewidth=2.2)
    if not every:
        return ""
    if name == "score" and (shown := late_range(runs)) is not None:
        axes.set_ylim(*shown)
    if name == "lr" and min(every) > 0 and max(every) > 30 * min(every):
        axes.set_yscale("log")
        plain_numbers(axes.yaxis)
    axes.set_xlabel("epoch")
    axes.set_ylabel(title)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(color="#8c8c8c", alpha=0.25, linewidth=0.6)
    return svg_text(figure)


def late_range(runs: list[RunLog]) -> tuple[float, float] | None:
    """Lowest and highest score to draw: those behind the first quarter of the epochs, with room, so that a steep start
    does not flatten the rest; None of few epochs."""
    folds = [fold for run in runs for fold in run.folds]
    every = np.concatenate([fold.scored[1] for fold in folds])
    numbers = np.concatenate([fold.scored[1][fold.scored[0] >= len(fold.entries) / 4] for fold in folds])
    if len(numbers) < 6 or not np.ptp(numbers):
        return None
    room = float(np.ptp(numbers))
    return (max(float(numbers.min()) - 0.5 * room, float(every.min()) - 0.05 * room),
            min(float(numbers.max()) + 0.5 * room, float(every.max()) + 0.05 * room))


def curves_html(runs: list[RunLog]) -> str:
    """The page."""
    colours = {run.name: COLOURS[place % len(COLOURS)] for place, run in enumerate(runs)}
    by_metric = {metric: [run for run in runs if run.metric.name == metric]
                 for metric in dict.fromkeys(run.metric.name for run in runs)}
    figures = [(f"{metric} by epoch", figure_of(same, "score", metric, colours)) for metric, same in by_metric.items()]
    figures += [("Training loss by epoch", figure_of(runs, "loss", "loss", colours)),
                ("Learning rate by epoch", figure_of(runs, "lr", "learning rate", colours))]
    title = "Curves of " + (runs[0].name if len(runs) == 1 else f"{len(runs)} runs")
    said = [(run, colours[run.name], verdict(run), fold_gap(run)) for run in runs]
    return fill_sheet(TEMPLATE, title=title, runs=said,
                      figures=[(heading, Markup(svg)) for heading, svg in figures if svg], head=HEAD,
                      rows=[fold_row(run, fold) for run in runs for fold in run.folds])


def fold_row(run: RunLog, fold: FoldLog) -> list[str]:
    """A fold in numbers."""
    _, scores = fold.scored
    row = [run.name, str(fold.fold), str(len(fold.entries))]
    if len(scores):
        course = course_of(fold, 1 if run.metric.greater_is_better else -1)
        row += [str(course.best_epoch), f"{course.best:.4f}", f"{scores[-1]:.4f}"]
    else:
        row += ["", "", ""]
    row.append(f"{fold.column('loss')[-1]:.4g}")
    for name, form in (("images_per_second", ",.0f"), ("seconds", ",.1f"), ("memory_mib", ",.0f")):
        numbers = fold.column(name)
        row.append(format(float(np.nanmedian(numbers)), form) if np.isfinite(numbers).any() else "")
    return row


def curve_lines(runs: list[RunLog]) -> list[str]:
    """The same for a terminal."""
    lines = []
    for run in runs:
        lines.append(f"{run.name}: {verdict(run)}")
        lines += [f"{run.name}: {gap}" for gap in [fold_gap(run)] if gap]
    return lines
