"""Greedy selection with replacement, for any score: add the member that helps most, again and again."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

PATIENCE = 6  # rounds without a gain


def greedy_weights(members: np.ndarray, gain: Callable[[np.ndarray], float], rounds: int = 25) -> np.ndarray:
    """Weights (M,) of the best prefix of a greedy selection; multiples of 1/length of that prefix.

    members: (M, ...) float, one array a member; gain(blend) -> float, greater is better. More than 25 rounds bring
    nothing measurable (TabRepo), and after 6 without a gain the search ends. Ties go to a member already chosen, then
    to the earlier one. Source: Caruana et al., ICML 2004.
    """
    counts = np.zeros(len(members), dtype=np.int64)
    total = np.zeros(members.shape[1:], dtype=np.float64 if members.dtype == np.float64 else np.float32)
    best_gain, best_counts, best_length = -np.inf, counts, 0
    for length in range(1, rounds + 1):
        gains = np.array([gain((total + member) / length) for member in members])
        choice = int(np.lexsort((np.arange(len(members)), counts == 0, -gains))[0])
        counts = counts + (np.arange(len(members)) == choice)
        total += members[choice]
        if gains[choice] > best_gain + 1e-12:
            best_gain, best_counts, best_length = float(gains[choice]), counts, length
        elif length - best_length >= PATIENCE:
            break
    return best_counts / best_counts.sum()
