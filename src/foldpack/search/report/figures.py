"""Figures of pages as SVG text. The same numbers give the same bytes."""

from __future__ import annotations

import io

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter, MaxNLocator

BLUE, ORANGE, GREY = "#2f6db3", "#d9822b", "#999999"
WIDTH = 6.4  # inches: text stays readable when a phone shows the whole width


def svg_text(figure: Figure, alone: bool = False) -> str:
    """A figure as an <svg> element, without dates or random ids. alone: a file of its own, on white; in a page what is
    black has the colour of the page's text, and nothing is behind it."""
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "foldpack", "svg.fonttype": "none", "font.size": 13}):
        figure.savefig(buffer, format="svg", bbox_inches="tight", metadata={"Date": None}, transparent=not alone)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    return text if alone else text.replace("#000000", "currentColor").replace("<svg ", '<svg fill="currentColor" ', 1)


def new_axes(height: float) -> tuple[Figure, Axes]:
    """A figure with one plot, without a frame. height: inches."""
    with matplotlib.rc_context({"font.size": 13}):
        figure = Figure(figsize=(WIDTH, height))
        axes = figure.add_subplot()
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure, axes


def plain_numbers(axis: Axis) -> None:
    """Numbers of a logarithmic axis as 1e-04: powers of ten are set in fonts that many machines lack, which is told."""
    axis.set_major_formatter(LogFormatter())
    axis.set_minor_formatter(LogFormatter())


def score_figure(scores: dict, metric: str) -> str:
    """In-sample, nested, uniform and best single as bars; the gap of the first two is the optimism."""
    keys = {"best single": "best_single", "uniform": "uniform", "nested": "nested", "in-sample": "in_sample"}
    bars = [(label, scores[key]) for label, key in keys.items() if scores.get(key) is not None]
    figure, axes = new_axes(0.5 + 0.5 * len(bars))
    labels, values = [label for label, _ in bars], np.array([value for _, value in bars])
    errors = [scores.get("nested_se") or 0 if label == "nested" else 0 for label in labels]
    colors = [{"nested": BLUE, "in-sample": ORANGE}.get(label, GREY) for label in labels]
    axes.barh(labels, values, xerr=errors, color=colors, capsize=4)
    room = max(float(np.ptp(values)), 1e-3 * float(np.abs(values).max()), 1e-9)
    axes.set_xlim(values.min() - 0.5 * room, values.max() + 0.6 * room)
    for place, value in enumerate(values):
        axes.text(value + 0.05 * room, place, f"{value:.4f}", va="center")
    axes.set_xlabel(metric)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    return svg_text(figure)


def weight_figure(members: list[dict]) -> str:
    """Weights with their intervals."""
    figure, axes = new_axes(0.6 + 0.36 * len(members))
    weights = np.array([member["weight"] for member in members])
    low, high = (np.array([member[key] for member in members]) for key in ("weight_low", "weight_high"))
    places = np.arange(len(members))[::-1]
    axes.barh(places, weights, color=BLUE)
    axes.hlines(places, low, high, color=ORANGE, linewidth=3)
    axes.set_yticks(places, [member["name"] for member in members])
    axes.set_xlabel("weight")
    return svg_text(figure)


def front_figure(front: list[dict], limit_hours: float | None, metric: str) -> str:
    """Score against hours, the limit as a line; empty without costs."""
    if not front:
        return ""
    figure, axes = new_axes(3.2)
    axes.plot([point["hours"] for point in front], [point["score"] for point in front], "o-", color=BLUE)
    if limit_hours is not None:
        axes.axvline(limit_hours, color=ORANGE, linestyle="--")
        axes.text(limit_hours, axes.get_ylim()[0], f" limit {limit_hours:g} h", color=ORANGE, va="bottom")
    axes.set_xlabel("hours")
    axes.set_ylabel(metric)
    return svg_text(figure)


def curve_figure(curve: list[list[float]], threshold: object) -> str:
    """Score against the threshold; empty where there is none."""
    if not curve:
        return ""
    figure, axes = new_axes(2.8)
    tried, scores = np.array(curve).T
    axes.semilogx(tried, scores, color=BLUE)
    plain_numbers(axes.xaxis)
    if isinstance(threshold, float):
        axes.axvline(threshold, color=ORANGE, linestyle="--")
    axes.set_xlabel("threshold")
    return svg_text(figure)


def correlation_figure(correlation: list[list[float]], names: list[str]) -> str:
    """A heat map of the members' correlations; empty for one member."""
    if len(names) < 2:
        return ""
    table = np.array([[np.nan if one is None else one for one in row] for row in correlation], dtype=float)
    side = min(WIDTH, 1.5 + 0.5 * len(names))
    figure, axes = new_axes(side)
    image = axes.imshow(table, cmap="Blues", vmin=min(0.0, float(np.nanmin(table))), vmax=1)
    axes.set_xticks(range(len(names)), names, rotation=90)
    axes.set_yticks(range(len(names)), names)
    if len(names) <= 12:
        for (row, column), value in np.ndenumerate(table):
            axes.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=9,
                      color="white" if value > 0.7 else "#1b1f24")
    figure.colorbar(image, ax=axes, shrink=0.8)
    return svg_text(figure)


def importance_figure(importance: dict[str, float]) -> str:
    """Feature importance of level 2, the greatest 20; empty without a level 2."""
    if not importance:
        return ""
    top = sorted(importance.items(), key=lambda pair: (-pair[1], pair[0]))[:20][::-1]
    figure, axes = new_axes(0.6 + 0.32 * len(top))
    axes.barh([name for name, _ in top], [value for _, value in top], color=BLUE)
    axes.set_xlabel("share of the gain")
    return svg_text(figure)


def rate_figure(rates: np.ndarray, losses: np.ndarray, smooth: np.ndarray, steepest: float, tenth: float) -> str:
    """Loss over learning rate, on a logarithmic axis: each batch, the smoothed curve, and two rates to choose from."""
    figure, axes = new_axes(3.6)
    axes.plot(rates, losses, color=GREY, linewidth=0.7, label="batch")
    axes.plot(rates, smooth, color=BLUE, linewidth=2, label="smoothed")
    axes.axvline(steepest, color=ORANGE, label=f"steepest, {steepest:.2g}")
    axes.axvline(tenth, color=ORANGE, linestyle="--", label=f"a tenth of the lowest, {tenth:.2g}")
    axes.set_xscale("log")
    plain_numbers(axes.xaxis)
    room = max(float(smooth[0] - smooth.min()), 0.1 * float(np.ptp(smooth)), 1e-9)  # the burst leaves the picture
    axes.set_ylim(smooth.min() - room, smooth[0] + room)
    axes.set_xlabel("learning rate")
    axes.set_ylabel("loss")
    axes.legend(frameon=False, fontsize=10)
    return svg_text(figure, alone=True)
