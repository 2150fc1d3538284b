"""What a small drawing looks like, and in which of two styles it is drawn: the evidence that `pairs` weighs.

Pure functions of uint8 images. The background must be one flat colour.
"""

from __future__ import annotations

import cv2
import numpy as np
from sklearn.linear_model import LogisticRegression

MIN_OBJECT = 20  # pixels; a smaller object means that the background guess failed
GREY = np.array([60.0, 0.0, 0.0], np.float32)  # what replaces the background, in CIE Lab


def object_mask(image):
    """(h,w) bool: pixels off the flat background colour (the commonest colour on the border, corners count more)."""
    im = image.astype(np.int16)
    corners = im[[0, 0, -1, -1], [0, -1, 0, -1]]
    rim = np.concatenate([im[0], im[-1], im[:, 0], im[:, -1], np.repeat(corners, 8, axis=0)])
    colours, counts = np.unique(rim, axis=0, return_counts=True)
    mask = np.abs(im - colours[counts.argmax()]).max(-1) > 12
    return mask if mask.sum() >= MIN_OBJECT else np.ones_like(mask)


def describe(images, masks):
    """Five (n,d) float arrays, each divided by its own median distance: colours 8x8, blurred colours 10x10,
    edge strength 16x16, edge directions 4x4x6 (all on the object's own box) and a Lab histogram of the object."""
    rows = [describe_one(im, mask) for im, mask in zip(images, masks, strict=True)]
    looks = [np.stack(column) for column in zip(*rows, strict=True)]
    return [look / median_distance(look) for look in looks]


def median_distance(x):
    """Median distance between far-apart rows (n//2 apart, so the choice is fixed)."""
    return np.median(np.linalg.norm(x - np.roll(x, len(x) // 2, axis=0), axis=1)) + 1e-9


def describe_one(image, mask):
    lab = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    ys, xs = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    part = np.s_[ys[0] : ys[-1] + 1, xs[0] : xs[-1] + 1]
    box = np.where(mask[part][..., None], lab[part], GREY)
    small = cv2.resize(box, (32, 32), interpolation=cv2.INTER_AREA)
    blurred = cv2.resize(cv2.GaussianBlur(small, (0, 0), 2.5), (10, 10), interpolation=cv2.INTER_AREA)
    light = small[..., 0]
    gx, gy = cv2.Sobel(light, cv2.CV_32F, 1, 0), cv2.Sobel(light, cv2.CV_32F, 0, 1)
    strength = np.hypot(gx, gy)
    edges = cv2.resize(cv2.GaussianBlur(strength, (0, 0), 1.5), (16, 16))
    bins = np.minimum((np.arctan2(gy, gx) % np.pi) / np.pi * 6, 5).astype(int)
    turns = np.stack([(strength * (bins == k)).reshape(4, 8, 4, 8).sum((1, 3)) for k in range(6)])
    colour = np.histogramdd(
        lab[mask], [np.linspace(0, 100.1, 6), np.linspace(-100, 100, 9), np.linspace(-110, 110, 9)]
    )[0]
    colour = np.stack([cv2.GaussianBlur(plane, (0, 0), 0.7) for plane in colour])
    square = pad_square(box)
    colours = cv2.resize(square, (8, 8), interpolation=cv2.INTER_AREA)
    return (
        colours.ravel(),
        blurred.ravel(),
        edges.ravel() / (np.linalg.norm(edges) + 1e-3),
        turns.ravel() / (np.linalg.norm(turns) + 1e-3),
        np.sqrt(colour.ravel() / colour.sum()),
    )


def pad_square(box):
    h, w = box.shape[:2]
    side = max(h, w)
    out = np.broadcast_to(GREY, (side, side, 3)).copy()
    y, x = (side - h) // 2, (side - w) // 2
    out[y : y + h, x : x + w] = box
    return out


def neighbour_steps(image, mask):
    """Largest channel difference of each pair of neighbouring object pixels."""
    im = image.astype(np.int16)
    right = np.abs(im[:, 1:] - im[:, :-1]).max(-1)[mask[:, 1:] & mask[:, :-1]]
    down = np.abs(im[1:] - im[:-1]).max(-1)[mask[1:] & mask[:-1]]
    return np.concatenate([right, down])


def object_colours(image, mask):
    """Colours (rounded to 6 steps of 256) that fill at least 2 % of the object, and the share of each."""
    q = (image[mask].astype(np.int64) + 2) // 6
    values, counts = np.unique(q @ [2048, 45, 1], return_counts=True)
    share = counts / len(q)
    return values[share >= 0.02], share[share >= 0.02]


def flatness(images, masks):
    """(n,) float: first guess of the flat style: equal neighbours, few colours, colours that many images use."""
    palette = [object_colours(im, m) for im, m in zip(images, masks, strict=True)]
    used = dict(zip(*np.unique(np.concatenate([v for v, _ in palette]), return_counts=True), strict=True))
    equal = np.array([(neighbour_steps(im, m) == 0).mean() for im, m in zip(images, masks, strict=True)])
    few = np.array([(share**2).sum() for _, share in palette])
    common = np.array([(share * np.log([used[v] for v in values])).sum() for values, share in palette])
    return sum((a - a.mean()) / (a.std() + 1e-9) for a in (equal, few, common))


def style_clues(images, masks, colours):
    """(n,d) float, standardised: step sizes, margins of the object, exact shared colours, Lab histogram."""
    edges = [0, 1, 3, 6, 10, 16, 24, 40, 70, 110, 256]
    steps, margins, palette = [], [], []
    for im, m in zip(images, masks, strict=True):
        steps.append(np.sqrt(np.histogram(neighbour_steps(im, m), edges)[0] / m.sum()))
        ys, xs = np.flatnonzero(m.any(1)), np.flatnonzero(m.any(0))
        gaps = np.array([ys[0], len(m) - 1 - ys[-1], xs[0], m.shape[1] - 1 - xs[-1]])
        margins.append(np.concatenate([np.log1p(gaps), gaps <= 1, gaps == 2, gaps == 3]))
        palette.append(object_colours(im, m))
    values, counts = np.unique(np.concatenate([v for v, _ in palette]), return_counts=True)
    shared = values[counts >= 12]
    exact = np.zeros((len(images), len(shared)))
    for row, (v, share) in enumerate(palette):
        known = np.isin(v, shared)
        exact[row, np.searchsorted(shared, v[known])] = np.sqrt(share[known])
    plain = np.concatenate([np.stack(steps), np.stack(margins)], axis=1)
    plain = (plain - plain.mean(0)) / (plain.std(0) + 1e-6)
    colours = (colours - colours.mean(0)) / (colours.std(0) + 1e-3 * colours.std() + 1e-9)
    return np.concatenate([plain, exact * 6, np.clip(colours, -8, 8) * 0.5], axis=1)


def style_from_halves(clues, style, sets, rounds=10):
    """Refine a first guess: each candidate set holds both styles equally often, so its upper half is the flat style."""
    for _ in range(rounds):
        upper, far = np.zeros(len(style), int), np.ones(len(style))
        for s in sets:
            upper[s[np.argsort(-style[s], kind="stable")[: len(s) // 2]]] = 1
            far[s] = np.abs(style[s] - np.median(style[s]))
        far = np.minimum(far / np.median(far), 2)
        style = logistic(0.003).fit(clues, upper, sample_weight=far).decision_function(clues)
    return style


def style_from_pairs(clues, style, partner, folds=5):
    """Each pair has one drawing of each style; scores come from a model that has not seen the pair (5 folds)."""
    a = np.flatnonzero(partner > np.arange(len(partner)))
    b = partner[a]
    a, b = np.where(style[a] > style[b], a, b), np.where(style[a] > style[b], b, a)
    rows, flat = np.concatenate([a, b]), np.repeat([1, 0], len(a))
    gap = np.tile(np.minimum(np.abs(style[a] - style[b]), 3), 2)
    part = np.tile(np.arange(len(a)) % folds, 2)
    out = logistic(0.01).fit(clues[rows], flat, sample_weight=gap).decision_function(clues)
    for k in range(folds):
        fit = part != k
        model = logistic(0.01).fit(clues[rows[fit]], flat[fit], sample_weight=gap[fit])
        out[rows[~fit]] = model.decision_function(clues[rows[~fit]])
    return out


def logistic(c):
    return LogisticRegression(C=c, max_iter=60)
