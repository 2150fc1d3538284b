"""All ensembles side by side: what they promised out of fold, and what they scored on Kaggle."""

from __future__ import annotations

from pathlib import Path

from rich.table import Table

from foldpack.errors import FoldpackError
from foldpack.settings.ensemble import EnsembleSpec, ScoreSpec, read_spec

COLUMNS = ("ensemble", "metric", "oof", "nested", "public", "private", "hours", "kernel", "when", "message")


def board_rows(paths: list[Path]) -> tuple[list[list[str]], list[str]]:
    """(rows, what could not be read). One row a submission, one for an ensemble without any; the newest first."""
    rows: list[tuple[str, list[str]]] = []
    problems = []
    for path in paths:
        try:
            spec = read_spec(path)
        except FoldpackError as failure:
            problems.append(str(failure))
            continue
        rows += [(score.when, board_row(spec, score)) for score in spec.history or []]
        if not spec.history:
            rows.append(("", board_row(spec, None)))
    return [row for _, row in sorted(rows, key=lambda each: each[0], reverse=True)], problems


def board_row(spec: EnsembleSpec, score: ScoreSpec | None) -> list[str]:
    """The cells of one submission. Hours: of the run, else the budget with a `<`."""
    metric = spec.metric
    nested = number(metric.nested) + (f" ±{metric.nested_se:.4f}" if metric.nested_se is not None else "")
    row = [spec.name, metric.name, number(metric.oof), nested]
    if score is None:
        return [*row, "", "", f"< {spec.budget.hours:g}", "", "", ""]
    hours = f"{score.hours:.2f}" if score.hours is not None else f"< {spec.budget.hours:g}"
    return [*row, number(score.public_score), number(score.private_score), hours,
            f"{score.kernel} v{score.version}", score.when, score.message]


def number(value: float | None) -> str:
    """Four places, nothing for None."""
    return "" if value is None else f"{value:.4f}"


def board_table(rows: list[list[str]]) -> Table:
    """For a terminal."""
    table = Table(title="ensembles")
    for name in COLUMNS:
        table.add_column(name, justify="right" if name in ("oof", "nested", "public", "private", "hours") else "left")
    for row in rows:
        table.add_row(*row)
    return table
