"""Which images are nearly the same: hashed, compared, joined, told."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from foldpack.data.image_hash import HASH_BITS, hash_images
from foldpack.data.items import Items
from foldpack.data.near_duplicates import Grouping, Link, near_hashes, near_vectors

LARGE_GROUP = 0.02  # share of the images above which a group is doubted
NAMED = 5  # so many examples are printed
NAMED_BROKEN = 20  # and so many broken images
StageReport = Callable[[str, float], None]  # (what is done, its share)


@dataclass(frozen=True)
class Embedder:
    """A network to compare images with: its timm name, its weights, and the least cosine of near-duplicates."""

    arch: str
    weights: Path
    similarity: float


@dataclass(frozen=True)
class Groups:
    """groups: (n,) int64, numbered by their first image. hashed, embedded: the joined pairs that are farthest apart."""

    groups: np.ndarray
    broken: list[str]  # reasons, each naming its file
    hashed: list[Link]
    embedded: list[Link] = field(default_factory=list)


def group_images(items: Items, distance: int, embedder: Embedder | None, report: StageReport) -> Groups:
    """Images that are near by hash, or by embedding, share a group; every other one and every broken one is alone."""
    threads, paths = os.cpu_count() or 1, items.images
    if embedder is not None:
        from foldpack.predict.embed import embed_images, load_embedder  # brings torch

        net, config = load_embedder(embedder.arch, embedder.weights)
    hashes, reasons = hash_images(paths, items.reader, threads, lambda share: report("hashing", share))
    sound = np.flatnonzero([not reason for reason in reasons])
    hashed = Grouping(len(sound))
    for near in near_hashes(hashes[sound], distance, lambda share: report("comparing hashes", share)):
        hashed.join(near)
    labels, embedded = hashed.labels, []
    if embedder is not None:
        vectors = embed_images([paths[row] for row in sound], items.reader, net, config, threads,
                               lambda share: report("embedding", share))
        joined = Grouping(len(sound))
        for near in near_vectors(vectors, embedder.similarity, lambda share: report("comparing embeddings", share)):
            joined.join(near)
        embedded = of_rows(joined.examples(NAMED), sound)
        joined.join((np.arange(len(sound)), first_of(hashed.labels), np.zeros(len(sound))))
        labels = joined.labels
    whole = Grouping(len(paths))
    whole.join((sound, sound[first_of(labels)], np.zeros(len(sound))))
    broken = [reason for reason in reasons if reason]
    return Groups(whole.numbers(), broken, of_rows(hashed.examples(NAMED), sound), embedded)


def first_of(labels: np.ndarray) -> np.ndarray:
    """(n,) the first row of each row's group."""
    _, first, of_row = np.unique(labels, return_index=True, return_inverse=True)
    return first[of_row]


def of_rows(links: list[Link], rows: np.ndarray) -> list[Link]:
    """Links between the places of `rows` -> between the rows."""
    return [Link(int(rows[link.first]), int(rows[link.second]), link.distance) for link in links]


def group_lines(found: Groups, ids: list[str], train: int) -> list[str]:
    """What to print. train: so many of the ids are training images; test images follow."""
    size = np.bincount(found.groups)
    repeated = int((size[found.groups] > 1).sum())
    lines = [f"{reason}: a group of its own" for reason in found.broken[:NAMED_BROKEN]]
    if len(found.broken) > NAMED_BROKEN:
        lines.append(f"{len(found.broken) - NAMED_BROKEN} more images are broken: each is a group of its own")
    lines.append(f"{len(ids)} images in {len(size)} groups; {repeated} images are not alone, the largest group has "
                 f"{size.max(initial=0)}")
    if len(ids) > train:
        shared = np.intersect1d(found.groups[:train], found.groups[train:])
        inside = int(np.isin(found.groups[train:], shared).sum())
        lines.append(f"{inside} of {len(ids) - train} test images share a group with a training image")
    lines += [f"joined, {link.distance:.0f} bits of {HASH_BITS} apart: {ids[link.first]} {ids[link.second]}"
              for link in found.hashed]
    lines += [f"joined, cosine {1 - link.distance:.4f}: {ids[link.first]} {ids[link.second]}"
              for link in found.embedded]
    if size.max(initial=0) > max(2, LARGE_GROUP * len(ids)):
        example = ids[int(np.flatnonzero(found.groups == size.argmax())[0])]
        lines.append(f"warning: the largest group, that of '{example}', holds {size.max()} of {len(ids)} images; look "
                     "at it, and at the pairs above, which are the farthest joined: a smaller --distance joins less")
    return lines
