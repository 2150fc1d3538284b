"""How likely two images of a candidate set show the same subject, and the best pairs by that: the matching of `pairs`.

A score is a weighted sum of distances between looks, the evidence of the tags and the chance that the styles differ.
The weights are learned from the pairs that the last weights found.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment
from sklearn.linear_model import LogisticRegression

from foldpack.errors import DataError

FIRST_WEIGHTS = (-2.0, 0.5, 1.5)  # of each look's distance, the tags, the styles; where the learning starts
PRIOR_IMAGES = 0.5  # images of average tags that are added to a set, so that no share in a small set is 0
SHARE_LIMITS = (1e-4, 0.97)  # of subjects with a tag: an estimate may lie above 1, and 0 would be infinite evidence
STYLE_LIMIT = 6.0  # log odds; a style is never surer than 99.75 %
STYLE_FLOOR = 1e-3  # added to a probability before its logarithm: equal styles weigh, but never forbid
NOT_ITSELF = -1e6  # score of an image with itself, below all others
STRENGTH, ITERATIONS = 1.0, 100  # of the regression: scikit-learn's own


def candidate_sets(complete_labels: np.ndarray) -> list[np.ndarray]:
    """(n,c) bool -> indices of the images with identical complete labels, sets in the order of their first image."""
    _, first, code = np.unique(complete_labels, axis=0, return_index=True, return_inverse=True)
    return [np.flatnonzero(code.ravel() == k) for k in np.argsort(first)]


def tag_evidence(tags: np.ndarray, rate: np.ndarray, keep: float) -> np.ndarray:
    """(m,m) float: log likelihood ratio of "same subject" to "two subjects of this set", by what both images carry.

    tags: (m,t) float of 0 and 1, of one candidate set; rate: (t,) share of all images that carry a tag;
    keep: share of a subject's tags that its images carry, each by its own chance.
    """
    owners = np.clip((tags.sum(0) + PRIOR_IMAGES * rate) / (len(tags) + PRIOR_IMAGES) / keep, *SHARE_LIMITS)
    both, one = np.log(1 / owners), np.log((1 - keep) / (1 - keep * owners))
    none = np.log((owners * (1 - keep) ** 2 + 1 - owners) / (1 - keep * owners) ** 2)
    mixed = tags @ (one * (1 - tags)).T
    return tags @ (both * tags).T + mixed + mixed.T + (1 - tags) @ (none * (1 - tags)).T


def pair_features(members: np.ndarray, looks: dict[str, np.ndarray], tags: np.ndarray, keep: float) -> np.ndarray:
    """(m,m,k) float: of any two members of a set, a distance for each look, then the tag evidence.

    members: (m,) indices; looks: (n,d) float each; tags: (n,t) float of 0 and 1.
    """
    planes = []
    for look in looks.values():
        rows = look[members].astype(np.float64)
        squares = (rows * rows).sum(1)
        planes.append(np.sqrt(np.maximum(squares[:, None] + squares - 2 * rows @ rows.T, 0)))
    return np.stack([*planes, tag_evidence(tags[members], tags.mean(0), keep)], axis=-1)


def opposite(style: np.ndarray) -> np.ndarray:
    """(m,) float log odds of the flat style -> (m,m) float: log probability that two images differ in style."""
    flat = 1 / (1 + np.exp(-np.clip(style, -STYLE_LIMIT, STYLE_LIMIT)))
    return np.log(flat[:, None] * (1 - flat) + (1 - flat[:, None]) * flat + STYLE_FLOOR)


def first_weights(looks: int) -> np.ndarray:
    """(looks+2,) float: where the learning starts."""
    distance, tags, style = FIRST_WEIGHTS
    return np.array([distance] * looks + [tags, style])


def pair_scores(features: np.ndarray, style: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(m,m) float, symmetric: the higher, the likelier the same subject.

    features: (m,m,k) of `pair_features`; style: (m,) float; weights: (k+1,), the style's last.
    """
    scores = features @ weights[:-1] + weights[-1] * opposite(style)
    np.fill_diagonal(scores, NOT_ITSELF)
    return (scores + scores.T) / 2


def assign(scores: np.ndarray) -> np.ndarray:
    """(m,m) float -> (m,) int: the one-to-one choice of a successor with the best sum; pairs are cycles of two."""
    return linear_sum_assignment(-scores)[1]


def partners(chosen: list[np.ndarray], sets: list[np.ndarray], count: int) -> np.ndarray:
    """(count,) int64: who chose each other, -1 for images in longer cycles. chosen: of `assign`, set by set."""
    partner = np.full(count, -1, np.int64)
    for members, successor in zip(sets, chosen, strict=True):
        mutual = successor[successor] == np.arange(len(members))
        partner[members[mutual]] = members[successor[mutual]]
    return partner


def fit_weights(chosen: list[np.ndarray], known: list[np.ndarray], sets: list[np.ndarray],
                style: np.ndarray) -> np.ndarray:
    """(k+1,) float: the weights that best tell the chosen pairs from all other candidates of their sets.

    chosen: of `assign`; known: of `pair_features`; both set by set. Raises DataError where nothing was paired.
    """
    rows, hits = [], []
    for members, features, successor in zip(sets, known, chosen, strict=True):
        if len(members) > 2:  # else there is nothing to tell apart
            i, j = np.triu_indices(len(members), 1)
            rows.append(np.concatenate([features, opposite(style[members])[..., None]], axis=-1)[i, j])
            hits.append((successor[i] == j) & (successor[j] == i))
    if not any(hit.any() for hit in hits):
        raise DataError(f"no pairs found in {len(hits)} sets of more than two images with the same complete labels; "
                        "more images, or fewer complete labels, are needed")
    model = LogisticRegression(C=STRENGTH, max_iter=ITERATIONS).fit(np.concatenate(rows), np.concatenate(hits))
    return model.coef_[0]
