"""What `log.jsonl` tells of a run, finished or not: its epochs, fold by fold."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from foldpack.errors import DataError, did_you_mean
from foldpack.metrics.plugin import find_metric
from foldpack.metrics.registry import Metric
from foldpack.settings.run import RunConfig, read_config


@dataclass(frozen=True)
class FoldLog:
    """The epochs of one fold, ascending, and their numbers by name; NaN where an epoch has none."""

    fold: int
    entries: list[dict]

    def column(self, name: str) -> np.ndarray:
        """(epochs,) float64."""
        found = [entry.get(name) for entry in self.entries]
        return np.array([np.nan if number is None else float(number) for number in found])

    @property
    def scored(self) -> tuple[np.ndarray, np.ndarray]:
        """The epochs that were evaluated, (k,) int, and their scores, (k,) float64."""
        scores = self.column("score")
        here = np.isfinite(scores)
        return self.column("epoch").astype(int)[here], scores[here]


@dataclass(frozen=True)
class RunLog:
    """All folds that have an epoch."""

    name: str
    config: RunConfig
    metric: Metric
    folds: list[FoldLog]
    notes: list[str] = field(default_factory=list)  # on lines that are none


def run_folder(runs: Path, name: str) -> Path:
    """The folder of a run. Raises DataError with the nearest name for one that is not there."""
    folder = runs / name
    if not folder.is_dir():
        there = sorted(path.parent.name for path in runs.glob("*/config.yml"))
        known = did_you_mean(name, there) if there else "no run lies there; train one with `foldpack train`"
        raise DataError(f"{folder}: there is no such run: {known}")
    return folder


def read_run_log(folder: Path) -> RunLog:
    """Read what was logged so far; lines that are none are left out and noted. Raises DataError, ConfigError."""
    path = folder / "log.jsonl"
    if not path.is_file():
        raise DataError(f"{path}: nothing is logged; the run has no epoch yet, `foldpack train` begins with it")
    config = read_config(folder / "config.yml")
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    folds: dict[int, list[dict]] = {}
    notes: list[str] = []
    for number, line in enumerate(lines[:-1], 1):  # behind the last end of a line is one that is being written
        entry = parse_line(line)
        if entry is None:
            notes.append(f"{path}: line {number} is no entry of a training, as a power cut leaves one; it is left out: "
                         f"{line[:60]!r}")
        elif "epoch" in entry:
            before = folds.setdefault(entry["fold"], [])
            before[:] = [*(one for one in before if one["epoch"] < entry["epoch"]), entry]  # taken up again, or anew
    if not folds and (folder / "meta.json").is_file():
        raise DataError(f"{folder}: a finished run without epochs of its own, as `foldpack average` makes it; name the "
                        "runs that it was made of")
    if not folds:
        raise DataError(f"{path}: no epoch is logged yet; wait for the first")
    return RunLog(folder.name, config, find_metric(config.metric),
                  [FoldLog(fold, folds[fold]) for fold in sorted(folds)], notes)


def parse_line(line: str) -> dict | None:
    """One line; None for what is none."""
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    whole = isinstance(entry, dict) and isinstance(entry.get("fold"), int) and isinstance(entry.get("epoch", 0), int)
    return entry if whole else None
