"""The candidate table: what level 2 sees. One row for each class that some member finds likely for an item.

The table is made from predictions alone: no truth goes in, so the presence of a row can tell nothing that it would
not tell in the kernel. Idea: the level 2 of lopuhin's kuzushiji solution (MIT), made from classes' ranks and scores
instead of their numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy.special import logit

from foldpack.ensemble.thresholds import top_classes

CANDIDATE_ROWS = 4096  # items of one block of the table
# Log-odds are rounded: a booster's cut may be a value of the training rows itself, and a kernel whose probabilities
# differ in the seventh digit would fall to the other side of it.
CANDIDATE_DIGITS = 3

# (first item, end item) -> (M, end - first, C) float32 probabilities of the members, in the order of the fit
MemberRows = Callable[[int, int], np.ndarray]

SHARED_FEATURES = (
    "mean", "min", "max", "spread", "blend", "blend_rank", "blend_gap", "in_top", "is_first", "class", "prior",
    "candidates",
)


@dataclass(frozen=True)
class CandidateTable:
    """item, label: (R,) int32, sorted by item, then label; features: (R, F) float32, columns as `candidate_columns`."""

    item: np.ndarray
    label: np.ndarray
    features: np.ndarray

    def spread(self, scores: np.ndarray, items: int, classes: int) -> np.ndarray:
        """(R,) scores of the rows -> (items, classes) float32, 0 where there is no row."""
        table = np.zeros((items, classes), dtype=np.float32)
        table[self.item, self.label] = scores
        return table


def candidate_columns(members: list[str]) -> list[str]:
    """Names of the features: score, rank and gap of every member, then what they share."""
    return [f"{what}:{name}" for name in members for what in ("score", "rank", "gap")] + list(SHARED_FEATURES)


def candidate_blocks(
    members: MemberRows, blend: Callable[[int, int], np.ndarray], prior: np.ndarray, items: int, top: int,
    reject: int | None = None
) -> Iterator[tuple[int, int, CandidateTable]]:
    """(first item, end item, their table with items counted from 0) for all items, in blocks that fit in memory.

    members, blend: (first, end) -> their rows, (M, rows, C) and (rows, C); see `candidate_table`.
    """
    for first in range(0, items, CANDIDATE_ROWS):
        end = min(first + CANDIDATE_ROWS, items)
        yield first, end, candidate_table(members(first, end), blend(first, end), prior, top, reject)


def candidate_table(
    probs: np.ndarray, blend: np.ndarray, prior: np.ndarray, top: int = 3, reject: int | None = None
) -> CandidateTable:
    """The union of every member's `top` classes for each item, and the reject class of the task for every item.

    probs: (M, n, C) float32 in [0, 1]; blend: (n, C) float32; prior: (C,) share of each class in the training labels;
    reject: the class that means "none of these", or None. Scores are log-odds; ranks count from 1 up to top + 1,
    gaps are to the member's best class.
    """
    members, items, classes = probs.shape
    chosen = np.zeros((items, classes), dtype=bool)
    for member in probs:
        np.put_along_axis(chosen, top_classes(member, top), True, axis=1)
    if reject is not None:
        chosen[:, reject] = True
    item, label = (part.astype(np.int32) for part in np.nonzero(chosen))
    columns: list[np.ndarray] = []
    scores, first, inside = [], np.zeros(len(item)), np.zeros(len(item))
    for member in probs:
        score, rank, gap = member_features(member, item, label, top)
        columns += [score, rank, gap]
        scores.append(score)
        first += rank == 1
        inside += rank <= top
    together = np.array(scores)
    blend_score, blend_rank, blend_gap = member_features(blend, item, label, top)
    columns += [together.mean(axis=0), together.min(axis=0), together.max(axis=0), together.std(axis=0)]
    columns[-4:] = [column.round(CANDIDATE_DIGITS) for column in columns[-4:]]
    columns += [blend_score, blend_rank, blend_gap, inside, first, label.astype(np.float32), prior[label]]
    columns.append(np.bincount(item, minlength=items)[item])
    return CandidateTable(item, label, np.stack(columns, axis=1).astype(np.float32))


def member_features(
    probs: np.ndarray, item: np.ndarray, label: np.ndarray, top: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(log-odds, rank up to top + 1, gap to the best class) of each row, (R,) float32. probs: (n, C)."""
    odds = log_odds(probs[item, label]).round(CANDIDATE_DIGITS)
    best = top_classes(probs, top)
    place = np.full(len(item), top + 1, dtype=np.float32)
    for rank in range(best.shape[1]):
        place[best[item, rank] == label] = rank + 1
    gap = odds - log_odds(probs.max(axis=1)).round(CANDIDATE_DIGITS)[item]
    return odds, place, gap.round(CANDIDATE_DIGITS)


def log_odds(probs: np.ndarray) -> np.ndarray:
    """log(p / (1 - p)) with p kept 1e-6 from 0 and 1, float32."""
    return logit(np.clip(probs, 1e-6, 1 - 1e-6)).astype(np.float32)
