"""What a run learns of a competition's labels: classes, values or identities."""

from __future__ import annotations

import numpy as np

from foldpack.errors import DataError
from foldpack.settings.run import ConfigError, RunConfig

# task of a run -> the label kinds it can learn from
LABELS_OF_TASK = {"classify": ("multiclass", "multilabel"), "regress": ("multiclass",), "embed": ("multiclass",)}


def training_task(config: RunConfig, labels: str) -> str:
    """"multiclass", "multilabel", "regress" or "embed". labels: the adapter's task.

    Raises ConfigError where the labels do not have what the run's task learns.
    """
    allowed = LABELS_OF_TASK[config.task]
    if labels not in allowed:
        raise ConfigError(f"run '{config.run}': task '{config.task}' does not fit the {labels} labels of competition "
                          f"'{config.competition}'; allowed: {', '.join(allowed)}")
    return labels if config.task == "classify" else config.task


def read_values(columns: dict[str, list[str]], ids: list[str], source: str) -> np.ndarray:
    """Label cells, by column -> (n, T) float64. source: where they are from. Raises DataError for what is no number."""
    table = np.empty((len(ids), len(columns)))
    for place, (name, cells) in enumerate(columns.items()):
        for row, cell in enumerate(cells):
            try:
                table[row, place] = float(cell)
            except ValueError:
                table[row, place] = np.nan
            if not np.isfinite(table[row, place]):
                raise DataError(f"{source}: {name} of id '{ids[row]}' is '{cell}'; task 'regress' needs a finite "
                                "number for every item")
    return table
