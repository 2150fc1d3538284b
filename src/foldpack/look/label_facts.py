"""What the labels of the training items are: how often each class stands there, or how values spread."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from foldpack.competitions.protocol import Labelled
from foldpack.look.objects import object_counts, object_notes, object_texts

RARE = 5  # a class of fewer items cannot be in every fold of five
BINS = 10  # of the values' spread


@dataclass(frozen=True)
class LabelFacts:
    """counts: (class or range of values, items that have it), in the order of the columns."""

    kind: str  # in words
    counts: list[tuple[str, int]]
    notes: list[str] = field(default_factory=list)
    odd: list[str] = field(default_factory=list)  # what a competitor should not overlook


def find_label_facts(labelled: Labelled) -> LabelFacts:
    """What stands in the labels of a competition."""
    if labelled.rows is not None:
        kind = "boxes" if "box" in labelled.rows.columns else "masks"
        return LabelFacts(kind, object_counts(labelled, labelled.rows), object_notes(labelled.rows))
    if labelled.targets.dtype.kind == "f":
        return value_facts(labelled.targets, labelled.classes)
    if labelled.targets.ndim == 2:
        return facts_of_counts("several classes an item", labelled, labelled.targets.sum(axis=0), [
            f"{without} of {len(labelled.targets)} items have no class"
            for without in [int((~labelled.targets.any(axis=1)).sum())] if without])
    kind = "one identity an item" if labelled.none else "one class an item"
    return facts_of_counts(kind, labelled, np.bincount(labelled.targets, minlength=len(labelled.classes)), [])


def facts_of_counts(kind: str, labelled: Labelled, counts: np.ndarray, odd: list[str]) -> LabelFacts:
    """Classes with their counts, and what is odd about them. counts: (C,) int."""
    pairs = list(zip(labelled.classes, counts.tolist(), strict=True))
    nowhere = [name for name, count in pairs if count == 0]
    rare = [name for name, count in pairs if 0 < count < RARE]
    odd = list(odd)
    if nowhere:
        odd.append(f"{len(nowhere)} of {len(pairs)} classes are on no training item, such as '{nowhere[0]}'")
    if rare:
        odd.append(f"{len(rare)} of {len(pairs)} classes have fewer than {RARE} items, such as '{rare[0]}'")
    return LabelFacts(kind, pairs, odd=odd)


def value_facts(values: np.ndarray, names: list[str]) -> LabelFacts:
    """How values spread. values: (n, T) float64."""
    notes = [f"{name}: {column.min():g} to {column.max():g}, mean {column.mean():.4g}, {len(np.unique(column))} "
             f"different" for name, column in zip(names, values.T, strict=True)]
    counts, edges = np.histogram(values[:, 0], bins=BINS)
    pairs = [(f"{low:.4g} to {high:.4g}", int(count))
             for (low, high), count in zip(pairwise(edges.tolist()), counts, strict=True)]
    kind = "a number an item" if len(names) == 1 else f"{len(names)} numbers an item (counted: {names[0]})"
    return LabelFacts(kind, pairs, notes)


def label_texts(labelled: Labelled, row: int) -> list[str]:
    """What is known of one item, as people write it."""
    if labelled.rows is not None:
        return object_texts(labelled, labelled.rows, row)
    if len(labelled.labels) == 1:
        return [next(iter(labelled.labels.values()))[row] or "(none)"]
    if labelled.targets.dtype.kind == "f":
        return [f"{name} {cells[row]}" for name, cells in labelled.labels.items()]
    target = labelled.targets[row]
    chosen = np.flatnonzero(target) if target.ndim else [int(target)]
    return [labelled.classes[k] for k in chosen] or ["(none)"]
