"""Masks as run lengths. Everywhere in the house: (k, 2) int64 of start and length, pixels counted from 0 down the
columns, sorted, not overlapping."""

from __future__ import annotations

import numpy as np


def read_runs(text: str, base: int = 1) -> np.ndarray:
    """`1 3 10 2` -> runs. base: the number of the first pixel. Raises ValueError with what is wrong."""
    words = text.split()
    if strange := next((word for word in words if not word.isdecimal()), None):
        raise ValueError(f"'{strange}' is no whole number")
    if len(words) % 2:
        raise ValueError(f"{len(words)} numbers are no pairs of start and length")
    runs = np.array(words, dtype=np.int64).reshape(-1, 2)
    runs[:, 0] -= base
    if len(runs) and runs[:, 0].min() < 0:
        raise ValueError(f"a run begins at {runs[:, 0].min() + base}, and pixels are counted from {base}")
    if len(runs) and runs[:, 1].min() < 1:
        raise ValueError("a run has no length")
    runs = runs[np.argsort(runs[:, 0], kind="stable")]
    if (runs[:-1].sum(axis=1) > runs[1:, 0]).any():
        at = int(np.flatnonzero(runs[:-1].sum(axis=1) > runs[1:, 0])[0])
        raise ValueError(f"the runs at {runs[at, 0] + base} and {runs[at + 1, 0] + base} share pixels")
    return runs


def runs_text(runs: np.ndarray, base: int = 1) -> str:
    """The text of runs, as `read_runs` reads it. base: the number of the first pixel."""
    return " ".join(f"{start + base} {length}" for start, length in runs.tolist())


def mask_of(runs: np.ndarray, height: int, width: int) -> np.ndarray:
    """(height, width) bool. Raises ValueError for a run that goes beyond it."""
    if len(runs) and runs.sum(axis=1).max() > height * width:
        raise ValueError(f"a run ends at pixel {runs.sum(axis=1).max()} of {height * width}")
    edges = np.zeros(height * width + 1, dtype=np.int8)
    edges[runs[:, 0]] += 1
    np.subtract.at(edges, runs.sum(axis=1), 1)
    return np.cumsum(edges[:-1], dtype=np.int8).astype(bool).reshape(width, height).T


def runs_of(mask: np.ndarray) -> np.ndarray:
    """(height, width) bool -> runs."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.T.ravel().astype(np.int8), [0]])))
    return np.stack([edges[::2], edges[1::2] - edges[::2]], axis=1).astype(np.int64)


def turned_runs(runs: np.ndarray, height: int, width: int) -> np.ndarray:
    """Runs along the rows of a picture -> down its columns. Raises ValueError for a run that goes beyond it."""
    return runs_of(mask_of(runs, width, height).T)
