"""What a run learns of a competition's labels: classes, values or identities."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from foldpack.competitions.label_cells import number_cells
from foldpack.competitions.protocol import Labelled
from foldpack.errors import DataError, did_you_mean
from foldpack.settings.run import ConfigError, RunConfig

# task of a run -> the label kinds it can learn from
LABELS_OF_TASK = {"classify": ("multiclass", "multilabel", "ranking"), "regress": ("values", "multiclass"),
                  "embed": ("ranking", "multiclass")}

NOT_YET = ("boxes", "masks")  # labels that no task learns yet


def training_task(config: RunConfig, labels: str) -> str:
    """What is learned: "multiclass", "multilabel", "regress" or "embed". labels: the adapter's task.

    Raises ConfigError where the labels do not have what the run's task learns.
    """
    if labels in NOT_YET:
        raise ConfigError(f"run '{config.run}': competition '{config.competition}' has {labels}, and no task learns "
                          "these yet; it can be read, looked at, answered with given objects and scored")
    allowed = LABELS_OF_TASK[config.task]
    if labels not in allowed:
        raise ConfigError(f"run '{config.run}': task '{config.task}' does not fit the {labels} labels of competition "
                          f"'{config.competition}'; allowed: {', '.join(allowed)}")
    if config.task != "classify":
        return config.task
    return "multilabel" if labels == "multilabel" else "multiclass"


def training_targets(task: str, labelled: Labelled) -> tuple[np.ndarray, list[str]]:
    """(targets, what their columns are called) as `TrainingSet` has them. task: as `training_task` gives.

    Raises DataError for labels that are no numbers where the task needs them.
    """
    if task != "regress" or labelled.targets.dtype.kind == "f":
        return labelled.targets, labelled.classes
    return number_cells(labelled.labels, labelled.items.ids, labelled.source), list(labelled.labels)


def number_columns(config: RunConfig, labelled: Labelled, source: Path) -> dict[str, np.ndarray]:
    """The columns of the training table that a run names -> (n,) float64, 0 or more. source: the table's file.

    Raises DataError.
    """
    found = {}
    for key, name in (("sampler.column", config.sampler.column), ("weights.column", config.weights.column)):
        if name is None:
            continue
        cells = labelled.columns.get(name)
        if cells is None:
            raise DataError(f"{source}: column '{name}' of {key} is missing: "
                            f"{did_you_mean(name, list(labelled.columns))}")
        found[name] = number_cells({name: cells}, labelled.items.ids, source)[:, 0]
        low = int(found[name].argmin())
        if found[name][low] < 0:
            raise DataError(f"{source}: {name} of id '{labelled.items.ids[low]}' is {found[name][low]:g}; as "
                            f"{key} it must be 0 or more")
    return found
