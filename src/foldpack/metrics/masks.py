"""Scores of masks, an image at a time: Dice, precision over limits of IoU, and Dice with a 3D Hausdorff distance.

Masks are (H, W) bool. Where both masks of an image are empty, each score says for itself what that is worth.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import distance_transform_edt

from foldpack.errors import FoldpackError

PRECISION_LIMITS = np.arange(50, 100, 5) / 100  # .50:.05:.95, exact
DICE_SHARE, DISTANCE_SHARE = 0.4, 0.6


def equal_masks(true: np.ndarray, guess: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both as bool. Raises FoldpackError where their shapes differ."""
    true, guess = np.asarray(true).astype(bool), np.asarray(guess).astype(bool)
    if true.shape != guess.shape:
        raise FoldpackError(f"the true mask has shape {true.shape}, the predicted one {guess.shape}; needed: one shape")
    return true, guess


def dice(true: np.ndarray, guess: np.ndarray, both_empty: float = 1.0) -> float:
    """2 |A and B| / (|A| + |B|), as F1 of pixels; `both_empty` where nothing is true nor predicted."""
    true, guess = equal_masks(true, guess)
    total = int(np.count_nonzero(true)) + int(np.count_nonzero(guess))
    return 2 * int(np.count_nonzero(true & guess)) / total if total else both_empty


def mean_dice(truth: Sequence[np.ndarray], guesses: Sequence[np.ndarray], both_empty: float = 1.0) -> float:
    """Mean over images (HuBMAP); those that are NaN are left out. NaN where all are."""
    scores = np.array([dice(true, guess, both_empty) for true, guess in zip(truth, guesses, strict=True)])
    return float(np.nanmean(scores)) if not np.isnan(scores).all() else float("nan")


def mask_precision(truth: Sequence[np.ndarray], guesses: Sequence[np.ndarray]) -> float:
    """Mean over images, and over limits of IoU from .50 to .95, of whether the IoU is above the limit (TGS salt).

    With one mask an image that is TP / (TP + FP + FN). 1 where both are empty, 0 where one is. The grader of MLE-bench
    counts an empty prediction as a full mask where the truth covers more than half of the image; this does not.
    """
    return float(np.mean([_image_precision(true, guess) for true, guess in zip(truth, guesses, strict=True)]))


def _image_precision(true: np.ndarray, guess: np.ndarray) -> float:
    true, guess = equal_masks(true, guess)
    either = int(np.count_nonzero(true | guess))
    if not either:
        return 1.0
    return float(np.mean(int(np.count_nonzero(true & guess)) / either > PRECISION_LIMITS))


def hausdorff(true: np.ndarray, guess: np.ndarray) -> float:
    """The farthest that a voxel of one mask is from the other, in a volume whose sides are 1, as a share of its
    diagonal: [0, 1]. NaN where both are empty, 1 where one is. true, guess: (D, H, W) bool.
    """
    true, guess = equal_masks(true, guess)
    if not true.any() or not guess.any():
        return float("nan") if not true.any() and not guess.any() else 1.0
    steps = [1 / side for side in true.shape]
    farthest = max(float(distance_transform_edt(~one, sampling=steps)[other].max())
                   for one, other in ((true, guess), (guess, true)))
    return farthest / float(np.sqrt(true.ndim))


def dice_hausdorff(slices: Sequence[tuple[np.ndarray, np.ndarray]],
                   volumes: Sequence[tuple[np.ndarray, np.ndarray]]) -> float:
    """.4 mean Dice of slices + .6 (1 - mean Hausdorff distance of volumes) (UW-Madison GI tract).

    Each a pair of true and predicted mask of one class. Pairs that are empty on both sides are left out of both means.
    The grader of MLE-bench throws all classes of a volume together and calls a large prediction 1 unseen; here each
    class has its own volume, and every distance is measured. NaN where nothing is true nor predicted at all.
    """
    scores = np.array([dice(true, guess, float("nan")) for true, guess in slices])
    distances = np.array([hausdorff(true, guess) for true, guess in volumes])
    if np.isnan(scores).all() or np.isnan(distances).all():
        return float("nan")
    return float(DICE_SHARE * np.nanmean(scores) + DISTANCE_SHARE * (1 - np.nanmean(distances)))
