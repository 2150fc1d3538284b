"""The kuzushiji score: points with a character, matched to boxes page by page, F1 of the counts of all pages."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from foldpack.metrics.fbeta import fbeta_from_counts


def match_page(boxes: np.ndarray, labels: np.ndarray, points: np.ndarray, guesses: np.ndarray) -> tuple[int, int, int]:
    """(hits, false points, missed boxes) of one page.

    boxes: (B, 4) x, y, width, height; labels: (B,); points: (P, 2) x, y; guesses: (P,). Boxes in their order take the
    first unused point of their label that lies strictly inside, as the organiser's script does.
    """
    points, guesses = np.asarray(points), np.asarray(guesses)  # of a list, `== label` would be no mask
    used = np.zeros(len(points), dtype=bool)
    hits = 0
    for (x, y, width, height), label in zip(boxes, labels, strict=True):
        fits = (guesses == label) & ~used
        if fits.any():
            fits &= (points[:, 0] > x) & (points[:, 0] < x + width) & (points[:, 1] > y) & (points[:, 1] < y + height)
            if fits.any():
                used[fits.argmax()] = True
                hits += 1
    return hits, int(len(points) - hits), int(len(boxes) - hits)


def kuzushiji_f1(truth: Sequence, predicted: Sequence) -> float:
    """F1 of the counts of all pages; 0 when nothing is true nor predicted.

    truth: for each page (boxes (B, 4), labels (B,)); predicted: for each page (points (P, 2), guesses (P,)).
    """
    counts = [match_page(*page, *guess) for page, guess in zip(truth, predicted, strict=True)]
    hits, false, missed = (sum(page[k] for page in counts) for k in range(3))
    return float(fbeta_from_counts(hits, hits + false, hits + missed, 1.0))
