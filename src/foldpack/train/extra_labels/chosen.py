"""`foldpack pseudo` and `foldpack complete`: labels out of predictions, for each fold of those of its own models."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from foldpack.errors import DataError
from foldpack.settings.run import ConfigError
from foldpack.train.extra_labels.choose import confidence_of, sure_classes, sure_labels, sure_values
from foldpack.train.extra_labels.labels_file import LabelsInfo, read_labels, read_tensor, write_labels

Say = Callable[[str], None]
# What an item's labels are -> the rules that choose by them.
RULES = {"multiclass": ("confidence", "gap", "per_class"), "multilabel": ("low", "high"), "regress": ("spread",)}
SHOWN = 5  # classes that a line names


@dataclass(frozen=True)
class Rules:
    """Which predictions become labels. None: not asked for."""

    confidence: float | None = None  # one class an item: its probability, at least
    gap: float | None = None  # one class an item: logit of the first less that of the second, at least
    per_class: int | None = None  # one class an item: the surest so many of each
    low: float | None = None  # several labels: each has at most this probability
    high: float | None = None  # or at least this
    spread: float | None = None  # values: standard deviation over the runs or views of the fold, at most
    weigh: bool = False  # an item counts as much as its probability

    def check(self, task: str) -> None:
        """Raises ConfigError for rules that do not fit the labels, or out of range."""
        given = [name for names in RULES.values() for name in names if getattr(self, name) is not None]
        allowed = RULES[task]
        if strange := [name for name in given if name not in allowed]:
            raise ConfigError(f"--{strange[0].replace('_', '-')} does not choose among {task} predictions; allowed: "
                              + ", ".join(f"--{name.replace('_', '-')}" for name in allowed))
        if task == "multilabel" and not (self.low is not None and self.high is not None and self.low < self.high):
            raise ConfigError("predictions of several labels need --low and --high, such as --low 0.05 --high 0.9")
        if task == "regress" and self.spread is None:
            raise ConfigError("predictions of values need --spread, the largest standard deviation of a chosen one")
        if task == "multiclass" and not given:
            raise ConfigError("choose by --confidence, --gap or --per-class, such as --confidence 0.9")
        if task == "regress" and self.weigh:
            raise ConfigError("--weigh is by probability, and these are values; leave it out")
        for name in ("confidence", "low", "high"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise ConfigError(f"--{name} is {value:g}; a probability lies in 0 to 1")


def choose_pseudo(predictions: Path, out: Path, rules: Rules, say: Say = print) -> LabelsInfo:
    """Write the labels of those test items that the models of a fold are sure of. Raises DataError, ConfigError."""
    info = read_labels(predictions, "predictions")
    if info.items != "test":
        raise DataError(f"{predictions}: it is of the training items; needed: `foldpack predict --items test`")
    rules.check(info.task)
    arrays: dict[str, np.ndarray] = {}
    for fold in info.folds:
        said = read_tensor(predictions, f"fold{fold}")
        rows = np.setdiff1d(chosen_rows(info, predictions, fold, said, rules), info.lost)
        labels = said[rows]
        arrays[f"rows{fold}"], arrays[f"labels{fold}"] = rows.astype(np.int64), labels
        sure = confidence_of(labels, info.task == "multiclass") if rules.weigh else np.ones(len(rows))
        arrays[f"weights{fold}"] = sure.astype(np.float32)
        say(f"{out.name}: fold {fold}: {len(rows)} of {len(said)} test items{by_class(info, labels, rules)}")
        if not len(rows):
            raise DataError(f"{predictions}: no test item is chosen for fold {fold}; choose less strictly")
    told = info.model_copy(update={"content": "pseudo", "high": rules.high})
    write_labels(out, told, arrays)
    return told


def chosen_rows(info: LabelsInfo, path: Path, fold: int, said: np.ndarray, rules: Rules) -> np.ndarray:
    """Of one fold, by what its own models say and nothing else."""
    if info.task == "multiclass":
        sound = np.setdiff1d(np.arange(len(said)), info.lost)  # a lost one takes no other's place in a class
        return sound[sure_classes(said[sound], rules.confidence, rules.gap, rules.per_class)]
    if info.task == "multilabel":
        assert rules.low is not None and rules.high is not None
        return sure_labels(said, rules.low, rules.high)
    spread = read_tensor(path, f"spread{fold}")
    if np.isnan(spread).all():
        raise DataError(f"{path}: one run with one view has no spread; predict with two runs, or a run of two views")
    assert rules.spread is not None
    return sure_values(spread, rules.spread)


def by_class(info: LabelsInfo, labels: np.ndarray, rules: Rules) -> str:
    """How many of the most frequent classes, for a line; nothing of values."""
    if info.task == "regress" or not len(labels):
        return ""
    found = labels.argmax(axis=1) if info.task == "multiclass" else np.nonzero(labels >= (rules.high or 1))[1]
    counts = Counter(info.classes[number] for number in found.tolist())
    none = [name for name in info.classes if name not in counts]
    told = ", ".join(f"{name} {count}" for name, count in counts.most_common(SHOWN))
    return f": {told}{', ...' if len(counts) > SHOWN else ''}" + (f"; none of {len(none)} classes" if none else "")


def choose_completions(predictions: Path, out: Path, above: float, say: Say = print) -> LabelsInfo:
    """Write which labels training items seem to lack: those of at least the probability `above`. Labels that they have
    stay. Raises DataError, ConfigError."""
    info = read_labels(predictions, "predictions")
    if info.items == "test":
        raise DataError(f"{predictions}: it is of test items; needed: `foldpack predict --items train`, or oof")
    if info.task != "multilabel":
        raise DataError(f"{predictions}: {info.task} items lack no labels; completion is for several labels an item")
    if not 0 < above <= 1:
        raise ConfigError(f"--above is {above:g}; a probability lies in 0 to 1")
    arrays: dict[str, np.ndarray] = {}
    for name in [""] if info.items == "oof" else [str(fold) for fold in info.folds]:
        said = read_tensor(predictions, f"fold{name}" if name else "oof")
        rows, classes = np.nonzero((said >= above) & ~np.isin(np.arange(len(said)), info.lost)[:, None])
        arrays[f"rows{name}"], arrays[f"classes{name}"] = rows.astype(np.int64), classes.astype(np.int64)
        say(f"{out.name}: {f'fold {name}: ' if name else ''}{len(rows)} labels of {len(np.unique(rows))} of "
            f"{len(said)} training items, those that they have included")
    told = info.model_copy(update={"content": "complete"})
    write_labels(out, told, arrays)
    return told
