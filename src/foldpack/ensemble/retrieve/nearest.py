"""The nearest items by cosine, exactly, in blocks of queries and of items, on a GPU or the CPU.

Equal cosines go by place. A block of similarities is in memory at a time, whatever the number of items.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import pad

from foldpack.errors import FoldpackError
from foldpack.predict.device import pick_device

BLOCK_ITEMS = 1 << 11  # of a gallery, at a time
BLOCK_SIMILARITIES = 1 << 22  # in memory at a time, 16 MiB: they are read again while the cache has them
GPU_BLOCKS = 16  # so many times as large on a GPU
GROUP_ITEMS = 64  # whose best one is looked at before the others
GPU_WORTH = 10**11  # multiplications from which on a GPU is looked for
LOW_HALF = 0xFFFFFFFF  # of a key: 32 bits for the place


class RetrievalError(FoldpackError):
    """Queries and a gallery that do not fit."""


@dataclass(frozen=True, eq=False)
class Nearest:
    """places: (n, k) int64 in the gallery, nearest first, -1 of a lost query; cosines: (n, k) float32, NaN then;
    lowest: (n,) float32, the cosine of the farthest item, where it was asked for."""

    places: np.ndarray
    cosines: np.ndarray
    lowest: np.ndarray


def nearest_items(queries: np.ndarray, gallery: np.ndarray, count: int, own: np.ndarray | None = None,
                  farthest: bool = False, block: int = BLOCK_SIMILARITIES) -> Nearest:
    """The `count` nearest items of each query, or all where there are fewer.

    queries: (n, D) and gallery: (m, D) float32 of length 1; a query that is not finite is lost. own: (n,) int, the
    place of each query itself, which is left out; None: none of them is in the gallery. block: similarities in memory
    at a time. Raises RetrievalError for vectors that do not fit.
    """
    check_vectors(queries, gallery)
    count = min(count, len(gallery) - (own is not None))
    n, blocks = len(queries), block_sizes(len(queries) * gallery.size, block)
    places, cosines = np.full((n, count), -1, np.int64), np.full((n, count), np.nan, np.float32)
    lowest = np.full(n, np.nan, np.float32)
    parts = row_parts(np.flatnonzero(finite_rows_of(queries)), min(len(gallery), blocks.items), blocks.similarities)
    best: list[torch.Tensor | None] = [None] * len(parts)
    for first in range(0, len(gallery), blocks.items):
        items = blocks.load(gallery[first : first + blocks.items])
        for number, rows in enumerate(parts):
            similar = blocks.multiply(queries[rows], items)
            if farthest:
                lowest[rows] = np.fmin(lowest[rows], similar.amin(dim=1).cpu().numpy())
            if own is not None:
                hide_own(similar, torch.from_numpy(own[rows] - first).to(similar.device))
            best[number] = better_keys(best[number], similar, first, count)
    for rows, keys in zip(parts, best, strict=True):
        assert keys is not None  # a gallery has items
        places[rows], cosines[rows] = read_keys(keys)
    return Nearest(places, cosines, lowest)


class Blocks:
    """Similarities by the block, in one piece of memory that is used again. items, similarities: of a block at most."""

    def __init__(self, device: torch.device, items: int, similarities: int) -> None:
        self.device, self.items, self.similarities = device, items, similarities
        self._memory = torch.empty(0, device=device)

    def load(self, vectors: np.ndarray) -> torch.Tensor:
        """(n, D) on the device."""
        return torch.from_numpy(np.ascontiguousarray(vectors)).to(self.device)

    def multiply(self, queries: np.ndarray, items: torch.Tensor) -> torch.Tensor:
        """(rows, items) cosines, which stand until the next call."""
        size = len(queries) * len(items)
        if size > len(self._memory):
            self._memory = torch.empty(size, device=self.device)
        return torch.mm(self.load(queries), items.T, out=self._memory[:size].view(len(queries), len(items)))


def block_sizes(multiplications: int, similarities: int = BLOCK_SIMILARITIES) -> Blocks:
    """Blocks on a GPU that works where it is worth the while, else on the CPU. similarities: of a block of the CPU."""
    if multiplications >= GPU_WORTH and torch.cuda.is_available():
        device = pick_device()
        if device.type != "cpu":
            return Blocks(device, GPU_BLOCKS * BLOCK_ITEMS, GPU_BLOCKS * similarities)
    return Blocks(torch.device("cpu"), BLOCK_ITEMS, similarities)


def check_vectors(queries: np.ndarray, gallery: np.ndarray) -> None:
    """Raises RetrievalError for an empty gallery, and for vectors of another size than its own."""
    if not len(gallery):
        raise RetrievalError("the gallery is empty, so no identity can be found; a fold must learn from items of some")
    if queries.ndim != 2 or gallery.ndim != 2 or queries.shape[1] != gallery.shape[1]:
        raise RetrievalError(f"queries of shape {queries.shape} and a gallery of shape {gallery.shape}; needed: (n, D) "
                             "and (m, D) with the same D; take the gallery of these weights")


def finite_rows_of(vectors: np.ndarray) -> np.ndarray:
    """(n,) bool: the vectors without NaN."""
    return np.isfinite(vectors).all(axis=1)


def row_parts(rows: np.ndarray, width: int, block: int) -> list[np.ndarray]:
    """Some rows in parts, each of which has at most `block` numbers with a column for each of `width` items."""
    size = max(1, block // max(1, width))
    return [rows[first : first + size] for first in range(0, len(rows), size)]


def hide_own(similar: torch.Tensor, own: torch.Tensor) -> None:
    """Put a query that is an item of the block itself behind all others. own: (rows,) its column, or none of them."""
    rows = torch.nonzero((own >= 0) & (own < similar.shape[1]))[:, 0]
    similar[rows, own[rows]] = -torch.inf


def better_keys(best: torch.Tensor | None, similar: torch.Tensor, first: int, count: int) -> torch.Tensor:
    """(rows, at most count) int64 keys of the best items so far and of a block (rows, items), best first.

    first: the block's first place, behind all earlier ones: of equals the earlier stay.
    """
    if best is None or best.shape[1] < count:
        keys = block_keys(similar, first, count)
        best = keys if best is None else torch.cat([best, keys], dim=1)
        return best.topk(min(count, best.shape[1])).values
    groups = in_groups(similar)
    worst = key_cosines(best[:, -1:])
    row, group = torch.nonzero(groups.amax(dim=2) > worst, as_tuple=True)
    near = groups[row, group]
    pair, inside = torch.nonzero(near > worst[row], as_tuple=True)
    if not len(pair):
        return best
    row, places = row[pair], group[pair] * GROUP_ITEMS + inside + first  # by row
    counts = torch.bincount(row, minlength=len(best))
    slot = torch.arange(len(row), device=row.device) - (counts.cumsum(0) - counts)[row]
    more = torch.full((len(best), int(counts.max())), torch.iinfo(torch.int64).min, device=row.device)
    more[row, slot] = ordered_keys(near[pair, inside], places)
    return torch.cat([best, more], dim=1).topk(count).values


def block_keys(similar: torch.Tensor, first: int, count: int) -> torch.Tensor:
    """(rows, at most count) keys of the best items of one block.

    Groups of items are ordered by their best one: the best `count` items lie in the best `count` groups, also among
    equals, since an earlier group has the earlier places.
    """
    width = similar.shape[1]
    places = torch.arange(width, device=similar.device)[None]
    if width > 2 * count * GROUP_ITEMS:
        groups = in_groups(similar)
        tops = groups.amax(dim=2)
        chosen = ~ordered_keys(tops, torch.arange(tops.shape[1], device=similar.device)[None]).topk(count).values
        chosen = (chosen & LOW_HALF)[:, :, None]
        similar = groups.gather(1, chosen.expand(-1, -1, GROUP_ITEMS)).flatten(1)
        places = (chosen * GROUP_ITEMS + torch.arange(GROUP_ITEMS, device=similar.device)).flatten(1)
    keys = ordered_keys(similar, places + first)
    return keys.topk(min(count, keys.shape[1])).values


def in_groups(similar: torch.Tensor) -> torch.Tensor:
    """(rows, items) -> (rows, groups, GROUP_ITEMS), the last group filled up with what is behind all others."""
    missing = -similar.shape[1] % GROUP_ITEMS
    filled = pad(similar, (0, missing), value=-torch.inf) if missing else similar
    return filled.view(len(similar), -1, GROUP_ITEMS)


def ordered_keys(cosines: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """int64 that order as float32 cosines do, and among equal ones the earlier place is greater; each is unique."""
    bits = (cosines + 0.0).view(torch.int32)  # -0 becomes 0
    return ((bits ^ ((bits >> 31) & 0x7FFFFFFF)).long() << 32) | (~places & LOW_HALF)


def key_cosines(keys: torch.Tensor) -> torch.Tensor:
    """float32 cosines of keys."""
    bits = (keys >> 32).int()
    return (bits ^ ((bits >> 31) & 0x7FFFFFFF)).view(torch.float32)


def read_keys(keys: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """(places int64, cosines float32) of keys."""
    return (~keys & LOW_HALF).cpu().numpy(), key_cosines(keys).cpu().numpy()
