"""The command groups: which images are nearly the same, so that no fold and no score is split between them."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from foldpack.competitions.image_table import read_test_items, read_train_table
from foldpack.competitions.registry import get_competition
from foldpack.data.group_file import write_group_file
from foldpack.data.image_hash import HASH_BITS, hash_images
from foldpack.data.items import Items
from foldpack.data.near_duplicates import Grouping, Link, near_hashes, near_vectors
from foldpack.errors import DataError

LARGE_GROUP = 0.02  # share of the images above which a group is doubted
DISTANCE = 40  # bits of 256; docs/decisions/0032-groups.md has what this finds
NAMED = 5  # so many examples are printed
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


def register(app: typer.Typer) -> None:
    """Add this command to the `foldpack` application."""
    app.command("groups")(groups)


def groups(
    data: Annotated[Path, typer.Option(help="the competition's folder, as downloaded")],
    competition: Annotated[str, typer.Option(help="the adapter that reads the folder")],
    out: Annotated[Path, typer.Option(help="where to write id,group")] = Path("groups.csv"),
    distance: Annotated[int, typer.Option(min=0, max=HASH_BITS // 2, help="bits of 256 that may differ")] = DISTANCE,
    test: Annotated[bool, typer.Option("--test", help="look at the test images too")] = False,
    net: Annotated[str | None, typer.Option(help="also compare embeddings of this timm network")] = None,
    weights: Annotated[Path | None, typer.Option(help="with --net: its weights, .safetensors")] = None,
    similarity: Annotated[float | None, typer.Option(help="with --net: least cosine of near-duplicates")] = None,
) -> None:
    """Find images that are nearly the same and write the group of each, for `foldpack folds --groups`."""
    embedder = chosen_embedder(net, weights, similarity)
    layout = get_competition(competition)
    train = read_train_table(layout, data)[0]
    tested = read_test_items(layout, data) if test else Items([], [])
    items = Items(train.ids + tested.ids, train.paths + tested.paths)
    if twice := set(train.ids) & set(tested.ids):
        raise DataError(f"{data}: id '{min(twice)}' is that of a training image and of a test image ({len(twice)} "
                        "are); a table of groups holds an id once, so leave --test out")
    from foldpack.search.progress import stage_bars

    with stage_bars() as report:
        found = group_images(items.paths, distance, embedder, report)
    write_group_file(out, items.ids, [str(group) for group in found.groups])
    print("\n".join([*group_lines(found, items.ids, len(train)), f"groups {out}"]))


def chosen_embedder(net: str | None, weights: Path | None, similarity: float | None) -> Embedder | None:
    """What --net, --weights and --similarity say. Raises DataError for one without the others."""
    if net is None and weights is None and similarity is None:
        return None
    if net is None or weights is None or similarity is None:
        lacking = [name for name, value in (("--net", net), ("--weights", weights), ("--similarity", similarity))
                   if value is None]
        raise DataError(f"{lacking[0]} is missing: --net, --weights and --similarity belong together")
    if not 0 < similarity <= 1:
        raise DataError(f"--similarity {similarity:g}: a cosine above 0 and at most 1 is needed")
    return Embedder(net, weights, similarity)


def group_images(paths: list[Path], distance: int, embedder: Embedder | None, report: StageReport) -> Groups:
    """Images that are near by hash, or by embedding, share a group; every other one and every broken one is alone."""
    threads = os.cpu_count() or 1
    if embedder is not None:
        from foldpack.predict.embed import embed_images, load_embedder  # brings torch

        net, config = load_embedder(embedder.arch, embedder.weights)
    hashes, reasons = hash_images(paths, threads, lambda share: report("hashing", share))
    sound = np.flatnonzero([not reason for reason in reasons])
    hashed = Grouping(len(sound))
    for near in near_hashes(hashes[sound], distance, lambda share: report("comparing hashes", share)):
        hashed.join(near)
    labels, embedded = hashed.labels, []
    if embedder is not None:
        vectors = embed_images([paths[row] for row in sound], net, config, threads,
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
    lines = [f"{reason}: a group of its own" for reason in found.broken]
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
