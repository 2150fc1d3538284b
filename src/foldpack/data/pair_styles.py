"""In which of two styles a small drawing is made, learned without a single example: evidence that `pairs` weighs.

A first guess (`flatness`) is refined by what is known about the set: half of all drawings of alike subjects are in
either style (`style_from_halves`), and the drawings of a pair differ in style (`style_from_pairs`). A style is a
number, above 0 for the flatter one. The numbers below were chosen on imet-mini at 64x64 pixels.
"""

from __future__ import annotations

import numpy as np
from sklearn.linear_model import LogisticRegression

from foldpack.data.pair_looks import bounding_box
from foldpack.errors import DataError

COLOUR_STEP, COLOUR_SHIFT = 6, 2  # channel bins 0-3, 4-9 ... 250-255: a flat colour varies by a few
COLOUR_CODE = np.array([2048, 45, 1])  # bins are 0..42, so every colour gets a number of its own
MIN_SHARE = 0.02  # of the object; smaller colours are mostly blends along outlines
MIN_USERS = 12  # images; a colour of fewer is a subject's, not a style's palette
STEP_EDGES = np.array([0, 1, 3, 6, 10, 16, 24, 40, 70, 110, 256])  # of channel differences, finer where shading lies
GAPS = (1, 2, 3)  # pixels between object and border that get a flag each: a style keeps its own margin
PALETTE_WEIGHT = 6.0  # above the unit of the standardised clues, so that regularisation shrinks it less
COLOURS_WEIGHT, COLOURS_LIMIT = 0.5, 8.0  # the histogram, shrunk more; limit in standard deviations
NO_SPREAD = 1e-9  # added to a spread: a clue that is the same for all images stays finite
PLAIN_FLOOR, HISTOGRAM_FLOOR = 1e-6, 1e-3  # the same, and nearly empty histogram bins are not blown up

HALVES_ROUNDS = 10
HALVES_LIMIT = 2.0  # times the typical distance to the middle; further away counts no more
HALVES_STRENGTH = 0.003  # C of the regression: weak, because many of its labels are wrong
PAIRS_LIMIT = 3.0  # gap in style within a pair; a wider one counts no more
PAIRS_STRENGTH = 0.01  # C: pairs are better labels than halves
CROSS_FITS = 5  # parts; a style comes from a model that was fitted without the pair
ITERATIONS = 60  # most steps of a regression


def neighbour_steps(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Largest channel difference (0..255) of every two neighbouring object pixels, 1-D int16.

    image: (h,w,3) uint8; mask: (h,w) bool.
    """
    wide = image.astype(np.int16)
    right = np.abs(wide[:, 1:] - wide[:, :-1]).max(-1)[mask[:, 1:] & mask[:, :-1]]
    down = np.abs(wide[1:] - wide[:-1]).max(-1)[mask[1:] & mask[:-1]]
    return np.concatenate([right, down])


def object_colours(image: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Codes (int64) of the rounded colours that fill at least `MIN_SHARE` of the object, and the share of each.

    image: (h,w,3) uint8; mask: (h,w) bool with a True pixel.
    """
    rounded = (image[mask].astype(np.int64) + COLOUR_SHIFT) // COLOUR_STEP
    codes, counts = np.unique(rounded @ COLOUR_CODE, return_counts=True)
    share = counts / len(rounded)
    return codes[share >= MIN_SHARE], share[share >= MIN_SHARE]


def flatness(images: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """(n,) float, a first guess of the flat style: equal neighbours, few colours, colours that many images use.

    images: (n,h,w,3) uint8 RGB; masks: (n,h,w) bool.
    """
    palettes = [object_colours(image, mask) for image, mask in zip(images, masks, strict=True)]
    codes, counts = np.unique(np.concatenate([codes for codes, _ in palettes]), return_counts=True)
    users = dict(zip(codes, counts, strict=True))
    equal = np.array([(neighbour_steps(image, mask) == 0).mean() for image, mask in zip(images, masks, strict=True)])
    few = np.array([(share**2).sum() for _, share in palettes])
    common = np.array([(share * np.log([users[code] for code in codes])).sum() for codes, share in palettes])
    return standardise(equal, NO_SPREAD) + standardise(few, NO_SPREAD) + standardise(common, NO_SPREAD)


def standardise(values: np.ndarray, floor: float) -> np.ndarray:
    """(n,) or (n,d) -> the same shape: mean 0 and, but for `floor`, standard deviation 1 along the images."""
    return (values - values.mean(0)) / (values.std(0) + floor)


def style_clues(images: np.ndarray, masks: np.ndarray, histogram: np.ndarray) -> np.ndarray:
    """(n,d) float: step sizes, the object's margins, exact colours of the set's palette, Lab histogram.

    images: (n,h,w,3) uint8 RGB; masks: (n,h,w) bool; histogram: (n,k) float of `pair_looks.describe`.
    """
    steps = [np.sqrt(np.histogram(neighbour_steps(image, mask), STEP_EDGES)[0] / mask.sum())
             for image, mask in zip(images, masks, strict=True)]
    margins = [margin_clues(mask) for mask in masks]
    plain = standardise(np.concatenate([np.stack(steps), np.stack(margins)], axis=1), PLAIN_FLOOR)
    spread = histogram.std(0) + HISTOGRAM_FLOOR * histogram.std() + NO_SPREAD
    colours = (histogram - histogram.mean(0)) / spread
    colours = np.clip(colours, -COLOURS_LIMIT, COLOURS_LIMIT) * COLOURS_WEIGHT
    return np.concatenate([plain, palette_clues(images, masks) * PALETTE_WEIGHT, colours], axis=1)


def margin_clues(mask: np.ndarray) -> np.ndarray:
    """(h,w) bool -> (16,) float: logarithm of the gap between object and each border, and flags for `GAPS`."""
    top, bottom, left, right = bounding_box(mask)
    gaps = np.array([top, mask.shape[0] - 1 - bottom, left, mask.shape[1] - 1 - right])
    return np.concatenate([np.log1p(gaps), gaps <= GAPS[0], gaps == GAPS[1], gaps == GAPS[2]])


def palette_clues(images: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """(n,k) float in 0..1: root of the share that each of the k colours with `MIN_USERS` images has of an object."""
    palettes = [object_colours(image, mask) for image, mask in zip(images, masks, strict=True)]
    codes, counts = np.unique(np.concatenate([codes for codes, _ in palettes]), return_counts=True)
    shared = codes[counts >= MIN_USERS]
    clues = np.zeros((len(images), len(shared)))
    for row, (codes, share) in enumerate(palettes):
        known = np.isin(codes, shared)
        clues[row, np.searchsorted(shared, codes[known])] = np.sqrt(share[known])
    return clues


def style_from_halves(clues: np.ndarray, style: np.ndarray, sets: list[np.ndarray]) -> np.ndarray:
    """(n,) float: a first guess, refined; each candidate set holds both styles equally often.

    clues: (n,d) float; style: (n,) float; sets: index arrays that hold every image once.
    Raises DataError when half of the images have the middle style of their set.
    """
    for _ in range(HALVES_ROUNDS):
        upper, far = np.zeros(len(style), int), np.ones(len(style))
        for members in sets:
            upper[members[np.argsort(-style[members], kind="stable")[: len(members) // 2]]] = 1
            far[members] = np.abs(style[members] - np.median(style[members]))
        if np.median(far) == 0:
            raise DataError(f"most of {len(style)} drawings do not differ in style from the middle of their set; "
                            "pairs must be drawn in two styles")
        far = np.minimum(far / np.median(far), HALVES_LIMIT)
        model = LogisticRegression(C=HALVES_STRENGTH, max_iter=ITERATIONS).fit(clues, upper, sample_weight=far)
        style = model.decision_function(clues)
    return style


def style_from_pairs(clues: np.ndarray, style: np.ndarray, partner: np.ndarray) -> np.ndarray:
    """(n,) float: each pair has one drawing of either style; nobody's style comes from a model that saw its pair.

    clues: (n,d) float; style: (n,) float, says which of a pair is the flat one; partner: (n,) int64, -1 for none.
    Raises DataError for fewer pairs than `CROSS_FITS`.
    """
    left = np.flatnonzero(partner > np.arange(len(partner)))
    right = partner[left]
    if len(left) < CROSS_FITS:
        raise DataError(f"{len(left)} pairs found among {len(style)} images; at least {CROSS_FITS} are needed")
    left_is_flat = style[left] > style[right]
    rows = np.concatenate([np.where(left_is_flat, left, right), np.where(left_is_flat, right, left)])
    flat = np.repeat([1, 0], len(left))
    gap = np.tile(np.minimum(np.abs(style[left] - style[right]), PAIRS_LIMIT), 2)
    part = np.tile(np.arange(len(left)) % CROSS_FITS, 2)

    def styles(fitted: np.ndarray, wanted: np.ndarray) -> np.ndarray:
        model = LogisticRegression(C=PAIRS_STRENGTH, max_iter=ITERATIONS)
        return model.fit(clues[rows[fitted]], flat[fitted], sample_weight=gap[fitted]).decision_function(clues[wanted])

    refined = styles(np.ones(len(rows), bool), np.arange(len(style)))  # images without a partner keep this
    for k in range(CROSS_FITS):
        refined[rows[part == k]] = styles(part != k, rows[part == k])
    return refined
