"""Find the two drawings of each subject in a multi-label image set, from the images and labels alone.

For sets where every subject was drawn twice, in two styles, and the pairs are not given (imet-mini): a random split
would put one drawing into training and the other into validation. Some labels are complete, so both drawings of a
subject carry the same ones; the others are missing at random. Deterministic, no file access.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from sklearn.linear_model import LogisticRegression

from foldpack.data.pair_looks import (
    describe,
    flatness,
    object_mask,
    style_clues,
    style_from_halves,
    style_from_pairs,
)


@dataclass(frozen=True)
class Pairing:
    """groups (n,) int64: images that must stay together. partner (n,) int64: the matched image, -1 where none.
    certainty (n,) float in 0..1: softmax share of the partner among all candidates of the image (under-confident).
    style (n,) float: > 0 the flatter style. evidence: named figures to print."""

    groups: np.ndarray
    partner: np.ndarray
    certainty: np.ndarray
    style: np.ndarray
    evidence: dict[str, float]


def find_pairs(
    images: np.ndarray, labels: np.ndarray, complete: np.ndarray, keep: float = 0.85, merge: float = 0.1
) -> Pairing:
    """images (n,h,w,3) uint8 RGB; labels (n,c) bool; complete (c,) bool: which labels are never missing;
    keep: share of the other labels that an image still shows; merge: candidates at least this likely join the group."""
    masks = np.stack([object_mask(image) for image in images])
    looks = describe(images, masks)
    clues = style_clues(images, masks, looks[-1])
    sets = candidate_sets(labels[:, complete])
    tags = labels[:, ~complete].astype(np.float64)
    known = [pair_features(s, looks, tags, keep) for s in sets]
    style = style_from_halves(clues, flatness(images, masks), sets)
    coef = np.array([-2.0] * len(looks) + [0.5, 1.5])
    for _ in range(4):
        for _ in range(3):
            chosen = [assign(scores(f, style[s], coef)) for s, f in zip(sets, known, strict=True)]
            coef = fit_scores(chosen, known, sets, style)
        partner = partners(chosen, sets, len(images))
        style = style_from_pairs(clues, style, partner)
    weights = [scores(f, style[s], coef) for s, f in zip(sets, known, strict=True)]
    chosen = [assign(w) for w in weights]
    partner = partners(chosen, sets, len(images))
    groups, certainty = conservative_groups(chosen, weights, sets, len(images), merge)
    evidence = evidence_of(tags, sets, partner, style, groups, certainty)
    return Pairing(groups, partner, certainty, style, evidence)


def share_labels(labels: np.ndarray, partner: np.ndarray) -> np.ndarray:
    """(n, C) bool labels, (n,) partner (-1: none) -> (n, C) bool: both drawings of a pair have the labels of either."""
    shared = labels.copy()
    paired = partner >= 0
    shared[paired] |= labels[partner[paired]]
    return shared


def candidate_sets(complete_labels):
    """Index arrays of the images with identical complete labels, in order of first appearance."""
    _, first, code = np.unique(complete_labels, axis=0, return_index=True, return_inverse=True)
    return [np.flatnonzero(code.ravel() == k) for k in np.argsort(first)]


def tag_evidence(tags, rate, keep):
    """(m,m) float: log likelihood ratio "same subject" / "two subjects of this set" of every pair's tags."""
    p = np.clip((tags.sum(0) + 0.5 * rate) / (len(tags) + 0.5) / keep, 1e-4, 0.97)
    both, one = np.log(1 / p), np.log((1 - keep) / (1 - keep * p))
    none = np.log((p * (1 - keep) ** 2 + 1 - p) / (1 - keep * p) ** 2)
    mixed = tags @ (one * (1 - tags)).T
    return tags @ (both * tags).T + mixed + mixed.T + (1 - tags) @ (none * (1 - tags)).T


def pair_features(s, looks, tags, keep):
    """(m,m,k) float: a distance for each look, then the tag evidence."""
    planes = []
    for look in looks:
        x = look[s].astype(np.float64)
        sq = (x * x).sum(1)
        planes.append(np.sqrt(np.maximum(sq[:, None] + sq - 2 * x @ x.T, 0)))
    return np.stack([*planes, tag_evidence(tags[s], tags.mean(0), keep)], axis=-1)


def opposite(style):
    """(m,m) float: log probability that the two images are drawn in different styles."""
    p = 1 / (1 + np.exp(-np.clip(style, -6, 6)))
    return np.log(p[:, None] * (1 - p) + (1 - p[:, None]) * p + 1e-3)


def scores(features, style, coef):
    out = features @ coef[:-1] + coef[-1] * opposite(style)
    np.fill_diagonal(out, -1e6)
    return (out + out.T) / 2


def assign(score):
    """(m,) int: best one-to-one successor; pairs show as cycles of two."""
    return linear_sum_assignment(-score)[1]


def partners(chosen, sets, n):
    partner = np.full(n, -1, np.int64)
    for s, c in zip(sets, chosen, strict=True):
        pair = c[c] == np.arange(len(s))
        partner[s[pair]] = s[c[pair]]
    return partner


def fit_scores(chosen, known, sets, style):
    """Weights that best tell the chosen pairs from all other candidates of their sets."""
    rows, hits = [], []
    for c, f, s in zip(chosen, known, sets, strict=True):
        if len(s) > 2:
            i, j = np.triu_indices(len(s), 1)
            rows.append(np.concatenate([f, opposite(style[s])[..., None]], axis=-1)[i, j])
            hits.append((c[i] == j) & (c[j] == i))
    return LogisticRegression(C=1.0, max_iter=100).fit(np.concatenate(rows), np.concatenate(hits)).coef_[0]


def conservative_groups(chosen, weights, sets, n, merge):
    """Join the assigned images, and every rival at least `merge` likely for both sides."""
    links, certainty = [], np.zeros(n)
    for s, c, w in zip(sets, chosen, weights, strict=True):
        share = np.exp(w - w.max(1, keepdims=True))
        share /= share.sum(1, keepdims=True)
        both = np.minimum(share, share.T)
        certainty[s] = both[np.arange(len(s)), c]
        i, j = np.nonzero(both >= merge)
        links += [np.stack([s, s[c]]), np.stack([s[i], s[j]])]
    i, j = np.concatenate(links, axis=1)
    code = connected_components(coo_matrix((np.ones(len(i)), (i, j)), shape=(n, n)), directed=False)[1]
    return code.astype(np.int64), certainty


def agreement(tags, a, b):
    """P(one image shows a tag | the other shows it)."""
    return float(2 * (tags[a] * tags[b]).sum() / max((tags[a].sum() + tags[b].sum()), 1))


def evidence_of(tags, sets, partner, style, groups, certainty):
    a = np.flatnonzero(partner >= 0)
    b = partner[a]
    chance_a = np.concatenate([np.repeat(s, len(s) - 1) for s in sets if len(s) > 1])
    chance_b = np.concatenate([np.concatenate([np.delete(s, k) for k in range(len(s))]) for s in sets if len(s) > 1])
    size = np.bincount(groups)
    return {
        "odd_sets": float(sum(len(s) % 2 for s in sets)),
        "in_pairs": len(a) / len(partner),
        "style_differs": float((style[a] * style[b] < 0).mean()),
        "tag_agreement": agreement(tags, a, b),
        "tag_agreement_chance": agreement(tags, chance_a, chance_b),
        "groups": float(len(size)),
        "largest_group": float(size.max()),
        "in_groups_over_2": float(size[size > 2].sum() / len(partner)),
    }
