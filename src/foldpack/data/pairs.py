"""Find the two drawings of each subject in a multi-label image set, from the images and labels alone.

For sets where every subject was drawn twice, in two styles, and the pairs are not given (imet-mini): a random split
would put one drawing into training and the other into validation. Some labels are complete, so both drawings of a
subject carry the same ones; the others are missing at random. Deterministic, no file access.
`docs/decisions/0009-found-pairs.md` says why, and how sure the pairs are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from foldpack.data.pair_looks import describe, object_mask
from foldpack.data.pair_scores import (
    assign,
    candidate_sets,
    first_weights,
    fit_weights,
    pair_features,
    pair_scores,
    partners,
)
from foldpack.data.pair_styles import flatness, style_clues, style_from_halves, style_from_pairs
from foldpack.errors import DataError

STYLE_ROUNDS = 4  # styles from pairs, pairs from styles
WEIGHT_ROUNDS = 3  # pairs from weights, weights from pairs, within each of these


@dataclass(frozen=True)
class Pairing:
    """What was found for n images, row by row."""

    groups: np.ndarray  # (n,) int64 from 0: images that must stay together
    partner: np.ndarray  # (n,) int64: the matched image, -1 where none
    certainty: np.ndarray  # (n,) float in 0..1: softmax share of the match among all candidates; under-confident
    style: np.ndarray  # (n,) float: above 0 the flatter style
    evidence: dict[str, float]  # named figures to print, see `evidence_of`


def find_pairs(images: np.ndarray, labels: np.ndarray, complete: np.ndarray, keep: float = 0.85,
               merge: float = 0.1) -> Pairing:
    """Pairs, and the groups that a split must keep whole. Raises DataError for input that does not fit.

    images: (n,h,w,3) uint8 RGB; labels: (n,c) bool; complete: (c,) bool, which labels are never missing;
    keep: share of the other labels that an image still carries, above 0 and below 1;
    merge: candidates at least this likely, above 0 and at most 1, join the group.
    """
    check_shapes(images, labels, complete)
    check_shares(keep, merge)
    sets = candidate_sets(labels[:, complete])
    check_sets(sets)
    masks = np.stack([object_mask(image) for image in images])
    looks = describe(images, masks)
    clues = style_clues(images, masks, looks["histogram"])
    tags = labels[:, ~complete].astype(np.float64)
    known = [pair_features(members, looks, tags, keep) for members in sets]
    style = style_from_halves(clues, flatness(images, masks), sets)
    weights = first_weights(len(looks))
    for _ in range(STYLE_ROUNDS):
        for _ in range(WEIGHT_ROUNDS):
            chosen = [assign(scores) for scores in all_scores(known, sets, style, weights)]
            weights = fit_weights(chosen, known, sets, style)
        style = style_from_pairs(clues, style, partners(chosen, sets, len(images)))
    scores = all_scores(known, sets, style, weights)
    chosen = [assign(each) for each in scores]
    partner = partners(chosen, sets, len(images))
    groups, certainty = conservative_groups(chosen, scores, sets, merge)
    return Pairing(groups, partner, certainty, style, evidence_of(tags, sets, partner, style, groups))


def share_labels(labels: np.ndarray, partner: np.ndarray) -> np.ndarray:
    """Both drawings of a pair get the labels of either; the others keep theirs.

    labels: (n,c) bool; partner: (n,) int64, -1 where none. Returns (n,c) bool. Raises DataError for unequal lengths.
    """
    if len(labels) != len(partner):
        raise DataError(f"labels of {len(labels)} images, partners of {len(partner)}; each image needs both")
    shared = labels.copy()
    paired = partner >= 0
    shared[paired] |= labels[partner[paired]]
    return shared


def check_shapes(images: np.ndarray, labels: np.ndarray, complete: np.ndarray) -> None:
    """Raises DataError unless the three arrays fit together and some labels are complete."""
    if images.ndim != 4 or images.shape[-1] != 3 or images.dtype != np.uint8:
        raise DataError(f"images of shape {images.shape}, {images.dtype}; expected (n, h, w, 3), uint8")
    if labels.ndim != 2 or labels.dtype != bool:
        raise DataError(f"labels of shape {labels.shape}, {labels.dtype}; expected (n, classes), bool")
    if len(images) != len(labels):
        raise DataError(f"{len(images)} images, labels of {len(labels)}; each image needs a row of labels")
    if complete.shape != labels.shape[1:] or complete.dtype != bool:
        raise DataError(f"'complete' of shape {complete.shape}, {complete.dtype}, for {labels.shape[1]} classes; "
                        "expected one bool for each class")
    if not complete.any():
        raise DataError(f"none of {len(complete)} labels is complete; pairs are looked for among images with the same "
                        "complete labels, so name some")


def check_shares(keep: float, merge: float) -> None:
    """Raises DataError for a share out of range."""
    if not 0 < keep < 1:
        raise DataError(f"keep {keep:g}: must be above 0 and below 1; labels that never miss are complete")
    if not 0 < merge <= 1:
        raise DataError(f"merge {merge:g}: must be above 0 and at most 1")


def check_sets(sets: list[np.ndarray]) -> None:
    """Raises DataError when the complete labels leave too little to compare."""
    sizes = np.array([len(members) for members in sets])
    if not (sizes > 2).any() or 2 * (sizes % 2).sum() > sizes.sum():  # each odd set leaves one image without a pair
        raise DataError(f"{sizes.sum()} images have {len(sizes)} different sets of complete labels; too few images are "
                        "alike, so take fewer labels for complete, or more images")


def all_scores(known: list[np.ndarray], sets: list[np.ndarray], style: np.ndarray,
               weights: np.ndarray) -> list[np.ndarray]:
    """`pair_scores` of every candidate set, (m,m) float each."""
    return [pair_scores(features, style[members], weights) for members, features in zip(sets, known, strict=True)]


def conservative_groups(chosen: list[np.ndarray], scores: list[np.ndarray], sets: list[np.ndarray],
                        merge: float) -> tuple[np.ndarray, np.ndarray]:
    """Join the assigned images, and every rival at least `merge` likely for both sides.

    chosen: of `assign`; scores: of `pair_scores`; both set by set. Returns groups (n,) int64, certainty (n,) float.
    """
    count = sum(map(len, sets))
    links, certainty = [], np.zeros(count)
    for members, successor, score in zip(sets, chosen, scores, strict=True):
        share = np.exp(score - score.max(1, keepdims=True))
        share /= share.sum(1, keepdims=True)
        both = np.minimum(share, share.T)
        certainty[members] = both[np.arange(len(members)), successor]
        i, j = np.nonzero(both >= merge)
        links += [np.stack([members, members[successor]]), np.stack([members[i], members[j]])]
    i, j = np.concatenate(links, axis=1)
    graph = coo_matrix((np.ones(len(i)), (i, j)), shape=(count, count))
    return connected_components(graph, directed=False)[1].astype(np.int64), certainty


def evidence_of(tags: np.ndarray, sets: list[np.ndarray], partner: np.ndarray, style: np.ndarray,
                groups: np.ndarray) -> dict[str, float]:
    """Figures that say how far to trust the pairs. tags: (n,t) float of 0 and 1; the rest as in `Pairing`.

    odd_sets: candidate sets that cannot be all pairs. in_pairs, in_groups_over_2: shares of the images.
    style_differs: share of the pairs. tag_agreement: chance that a partner carries a tag, given that the image does:
    `keep` when all pairs are right, tag_agreement_chance when candidates are paired blindly.
    """
    paired = np.flatnonzero(partner >= 0)
    other = partner[paired]
    carriers = np.stack([tags[members].sum(0) for members in sets])  # (sets, t)
    others = np.array([[len(members) - 1] for members in sets])  # candidates of each image
    size = np.bincount(groups)
    return {
        "odd_sets": float(sum(len(members) % 2 for members in sets)),
        "in_pairs": len(paired) / len(partner),
        "style_differs": float((style[paired] * style[other] < 0).mean()),
        "tag_agreement": float((tags[paired] * tags[other]).sum() / max(tags[paired].sum(), 1)),
        "tag_agreement_chance": float((carriers * (carriers - 1)).sum() / max((carriers * others).sum(), 1)),
        "groups": float(len(size)),
        "largest_group": float(size.max()),
        "in_groups_over_2": float(size[size > 2].sum() / len(partner)),
    }
