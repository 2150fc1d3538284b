"""The embedding map of `foldpack neighbours`: a fold's queries and gallery in two dimensions, a picture for each."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from sklearn.decomposition import PCA

from foldpack.errors import DataError
from foldpack.look.sheet import fill_sheet
from foldpack.train.pages.likeness import compare
from foldpack.train.pages.neighbours import FoldSpace
from foldpack.train.pages.retrieved import Retrieved
from foldpack.train.pages.thumbs import Thumbs

TEMPLATE = Path(__file__).with_name("map.html")
SIDE = 72  # pixels of a picture
LEGEND = 20  # identities that are listed with their colours
SEED = 0
GALLERY, RIGHT, WRONG, UNKNOWN = range(4)  # what a point is, as the page's script counts it


@dataclass(frozen=True)
class MapAsked:
    """What the map shows. by: "pca" or "umap"; fold: whose networks; None: the first; points: about so many at most."""

    out: Path
    by: str = "pca"
    fold: int | None = None
    points: int = 1200


def require_umap(by: str) -> None:
    """Raises DataError where UMAP is asked for and not there."""
    if by == "umap" and find_spec("umap") is None:
        raise DataError("--by umap: the package umap-learn is not installed; install it with: pip install umap-learn, "
                        "or leave --by out: pca needs nothing more")


def plane_of(space: FoldSpace, by: str) -> tuple[np.ndarray, str]:
    """((m + q, 2) float, what the axes are): the gallery's items, then the queries. Fitted on the gallery alone; what
    one fold's network makes is comparable with that of no other fold."""
    if by == "umap" and len(space.gallery) > 3:
        import umap

        made = umap.UMAP(n_components=2, metric="cosine", random_state=SEED, n_jobs=1,
                         n_neighbors=min(15, len(space.gallery) - 1)).fit(space.gallery)
        return np.concatenate([made.embedding_, made.transform(space.vectors)]), "UMAP by cosine"
    count = min(2, *space.gallery.shape)
    made = PCA(n_components=count, random_state=SEED).fit(space.gallery)
    plane = made.transform(np.concatenate([space.gallery, space.vectors]))
    share = float(np.nan_to_num(made.explained_variance_ratio_).sum())
    return np.pad(plane, ((0, 0), (0, 2 - count))), f"PCA: these two directions have {share:.0%} of the variance"


def shown_points(identities: np.ndarray, alone: np.ndarray, most: int) -> np.ndarray:
    """(k,) int, ascending: which points are drawn, about `most` at the most: whole identities, in an order drawn by
    chance, and as large a share of those of none.

    identities: (n,) int; alone: (n,) bool, the points of no identity.
    """
    if len(identities) <= most:
        return np.arange(len(identities))
    none = np.flatnonzero(alone)
    room = most * (len(identities) - len(none)) // len(identities)
    known, counts = np.unique(identities[~alone], return_counts=True)
    order = np.random.default_rng(SEED).permutation(len(known))
    taken = known[order[np.cumsum(counts[order]) <= max(room, counts[order[0]] if len(order) else 0)]]
    spread = none[np.unique(np.linspace(0, len(none) - 1, min(len(none), most - room)).round().astype(int))]
    return np.sort(np.concatenate([np.flatnonzero(np.isin(identities, taken) & ~alone), spread]))


def kind_of(rank: int) -> int:
    """What a query is. rank: as of `Likeness`."""
    return UNKNOWN if rank < 0 else RIGHT if rank == 0 else WRONG


def map_html(said: Retrieved, asked: MapAsked) -> str:
    """The page. Raises DataError for a fold that there is not."""
    known = {space.fold: space for space in said.spaces}
    if asked.fold is not None and asked.fold not in known:
        raise DataError(f"--fold {asked.fold}: {said.name} has no such fold; allowed: {', '.join(map(str, known))}")
    space = said.spaces[0] if asked.fold is None else known[asked.fold]
    plane, axes = plane_of(space, asked.by)
    truth = said.run.targets[space.queries]
    rank = compare(space, truth, 1).rank
    identities, items = np.concatenate([space.identities, truth]), len(space.identities)
    alone = identities == (len(said.names) - 1 if said.run.meta.none else -1)
    shown = shown_points(identities, alone, asked.points)
    rows = np.concatenate([np.full(items, -1) if space.items is None else space.items, space.queries])
    thumbs, points = Thumbs(SIDE), []
    for place in shown.tolist():
        row, query = int(rows[place]), place >= items
        kind = kind_of(int(rank[place - items])) if query else GALLERY
        picture = said.card(row, [], thumbs).picture if row >= 0 else ""
        points.append([round(float(plane[place, 0]), 4), round(float(plane[place, 1]), 4), int(identities[place]), kind,
                       said.run.ids[row] if row >= 0 else "", picture])
    counts = np.bincount(identities[shown][[one[3] != UNKNOWN for one in points]], minlength=len(said.names))
    legend = [int(k) for k in np.argsort(-counts, kind="stable")[:LEGEND] if counts[k]]
    return fill_sheet(
        TEMPLATE, title=f"Map of {said.name}, fold {space.fold}", axes=axes, shown=len(shown), count=len(identities),
        left_out=thumbs.left_out, data={"points": points, "names": said.names, "legend": legend})
