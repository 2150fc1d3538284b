"""Competitions of the digits' columns for each kind of answer, so that every metric finds one that it scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from foldpack.competitions.digits import DIGITS
from foldpack.metrics.registry import Metric
from foldpack.settings.competition import competition_text, parse_competition


def answered_as(folder: Path, metric: Metric, labels: dict[str, Any]) -> str:
    """The path of a competition.yml whose answer is what a metric scores. labels: as the file has them."""
    answer: dict[str, Any] = {"kind": metric.answer, "id": "id", "column": "label"}
    if metric.answer == "probs":
        answer = {"kind": "probabilities", "id": "id"}
    elif metric.answer == "values":
        answer = {"kind": "values", "id": "id", "columns": ["label"]}
    elif metric.answer == "ranking":
        answer["k"] = metric.map_at or metric.hit_at
    path = folder / f"{metric.answer}{answer.get('k', '')}.yml"
    config = parse_competition({**DIGITS, "labels": labels, "answer": answer}, path)
    path.write_text(competition_text(config), encoding="utf-8")
    return str(path)
