"""Where out-of-fold predictions are wrong: counts and worst items. Arrays in, rows out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Mistake:
    """An item that is answered wrongly. row: of the predictions; k: the class that it is shown under."""

    row: int
    k: int
    kind: str = ""  # "missed" or "false alarm" of several labels


def confusion(truth: np.ndarray, answer: np.ndarray, classes: int) -> np.ndarray:
    """(classes, classes) int64: how many items of a row's class were answered with a column's. truth, answer: (n,)."""
    return np.bincount(truth * classes + answer, minlength=classes * classes).reshape(classes, classes)


def confused_pairs(table: np.ndarray) -> list[tuple[int, int, int]]:
    """(class, class that it is taken for, count) of a confusion matrix, the most frequent first."""
    off = table.copy()
    np.fill_diagonal(off, 0)
    pairs = [(int(k), int(j), int(off[k, j])) for k, j in zip(*np.nonzero(off), strict=True)]
    return sorted(pairs, key=lambda one: (-one[2], one[0], one[1]))


def worst_of_classes(truth: np.ndarray, probs: np.ndarray, each: int) -> list[list[Mistake]]:
    """By class, that with the most mistakes first: its wrongly answered items, those first whose own class has the
    lowest probability. truth: (n,) int; probs: (n, C)."""
    wrong = probs.argmax(axis=1) != truth
    own = probs[np.arange(len(truth)), truth]
    return ordered_by_count([np.flatnonzero(wrong & (truth == k)) for k in range(probs.shape[1])], own, each)


def ordered_by_count(rows: list[np.ndarray], key: np.ndarray, each: int) -> list[list[Mistake]]:
    """Classes with rows, those with most first, and `each` rows of each, that with the lowest key first."""
    order = sorted((k for k in range(len(rows)) if len(rows[k])), key=lambda k: (-len(rows[k]), k))
    return [[Mistake(int(row), k) for row in rows[k][np.argsort(key[rows[k]], kind="stable")][:each]] for k in order]


def worst_of_labels(truth: np.ndarray, said: np.ndarray, probs: np.ndarray, each: int) -> list[list[Mistake]]:
    """By class, that with the most mistakes first: what was missed, the lowest probability first, then false alarms,
    the highest first; half of `each` are of either kind where there are as many.

    truth, said: (n, C) bool; probs: (n, C).
    """
    order = sorted(range(probs.shape[1]), key=lambda k: (-int((said[:, k] != truth[:, k]).sum()), k))
    found = []
    for k in order:
        missed = np.flatnonzero(truth[:, k] & ~said[:, k])
        alarms = np.flatnonzero(~truth[:, k] & said[:, k])
        missed = missed[np.argsort(probs[missed, k], kind="stable")]
        alarms = alarms[np.argsort(-probs[alarms, k], kind="stable")]
        half = max(each - len(alarms), (each + 1) // 2)
        kept = [Mistake(int(row), k, "missed") for row in missed[:half]]
        kept += [Mistake(int(row), k, "false alarm") for row in alarms[: each - len(kept)]]
        if kept:
            found.append(kept)
    return found


def share(part: float, whole: float) -> str:
    """`0.83`, or "" of nothing."""
    return f"{part / whole:.2f}" if whole else ""


def class_rows(truth: np.ndarray, answer: np.ndarray, names: list[str]) -> list[list[str]]:
    """Class, its items, recall, precision and the class that it is taken for most often; that with the most mistakes
    first. truth, answer: (n,) int."""
    table = confusion(truth, answer, len(names))
    pairs = {}
    for k, j, count in reversed(confused_pairs(table)):
        pairs[k] = f"{names[j]} ({count})"
    wrong = table.sum(axis=1) - table.diagonal()
    order = sorted(range(len(names)), key=lambda k: (-int(wrong[k]), k))
    return [[names[k], str(table[k].sum()), share(table[k, k], table[k].sum()), share(table[k, k], table[:, k].sum()),
             pairs.get(k, "")] for k in order]


def label_rows(truth: np.ndarray, said: np.ndarray, names: list[str]) -> list[list[str]]:
    """Class, items that carry it, found, missed, false alarms, recall and precision; that with the most mistakes first.
    truth, said: (n, C) bool."""
    hits, missed, alarms = ((each).sum(axis=0) for each in (truth & said, truth & ~said, said & ~truth))
    order = sorted(range(len(names)), key=lambda k: (-int(missed[k] + alarms[k]), k))
    return [[names[k], str(hits[k] + missed[k]), str(hits[k]), str(missed[k]), str(alarms[k]),
             share(hits[k], hits[k] + missed[k]), share(hits[k], hits[k] + alarms[k])] for k in order]


def value_rows(truth: np.ndarray, values: np.ndarray, names: list[str]) -> list[list[str]]:
    """Column, its mean absolute error, root of the mean squared error, mean of prediction less truth, and the
    correlation of the two. truth, values: (n, T)."""
    rows = []
    for name, one, other in zip(names, truth.T, values.T, strict=True):
        off = other - one
        varies = len(one) > 1 and one.std() > 0 and other.std() > 0
        rows.append([name, f"{np.abs(off).mean():.4g}", f"{np.sqrt((off**2).mean()):.4g}", f"{off.mean():+.4g}",
                     f"{np.corrcoef(one, other)[0, 1]:.3f}" if varies else ""])
    return rows


def worst_values(truth: np.ndarray, values: np.ndarray, each: int) -> list[list[Mistake]]:
    """By column: the items whose prediction is farthest from the truth. truth, values: (n, T)."""
    off = np.abs(values - truth)
    return [[Mistake(int(row), k) for row in np.argsort(-off[:, k], kind="stable")[:each]] for k in range(off.shape[1])]
