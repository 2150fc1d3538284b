"""The page of `foldpack neighbours`: out-of-fold queries beside the nearest items of their gallery, right and wrong."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from foldpack.files import write_atomic
from foldpack.look.sheet import Card, fill_sheet
from foldpack.train.pages.likeness import Likeness, compare, false_friends, recalls, worst_first
from foldpack.train.pages.map import MapAsked, map_html, require_umap
from foldpack.train.pages.mistakes import class_rows
from foldpack.train.pages.neighbours import FoldSpace, unknown_note
from foldpack.train.pages.retrieved import Retrieved, read_retrieved
from foldpack.train.pages.thumbs import Thumbs
from foldpack.train.run import Say
from foldpack.train.steps import RECALL_AT

TEMPLATE = Path(__file__).with_name("nearest.html")
ROWS = 40  # identities in numbers


@dataclass(frozen=True)
class NeighboursAsked:
    """What the page shows. queries: the worst so many; nearest: items of each kind beside each."""

    queries: int = 40
    nearest: int = 3


@dataclass(frozen=True)
class Beside:
    """A query with what lies nearest to it."""

    query: Card
    wrong: list[Card]
    right: list[Card]


def near_cards(said: Retrieved, space: FoldSpace, found: tuple[np.ndarray, np.ndarray], first: str,
               thumbs: Thumbs) -> list[Card]:
    """Items of a gallery. found: their places and cosines; first: what is said of the first beside."""
    cards: list[Card] = []
    for place, cosine in zip(found[0].tolist(), found[1].tolist(), strict=True):
        if place < 0:
            break
        texts = [f"{said.names[space.identities[place]]} {cosine:.3f}", *([first] if first and not cards else [])]
        cards.append(Card("", texts, "") if space.items is None else
                     said.card(int(space.items[place]), texts, thumbs))
    return cards


def beside(said: Retrieved, space: FoldSpace, near: Likeness, row: int, thumbs: Thumbs) -> Beside:
    """A query of a fold, by its place among them."""
    image, rank = int(space.queries[row]), int(near.rank[row])
    before = f"{rank} items of others are nearer" if rank > 0 else ""
    return Beside(said.card(image, [said.identity(image)], thumbs),
                  near_cards(said, space, (near.wrong[row], near.wrong_cosines[row]), "", thumbs),
                  near_cards(said, space, (near.right[row], near.right_cosines[row]), before, thumbs))


def chosen(said: Retrieved, every: list[Likeness], order: list[np.ndarray], key: list[np.ndarray],
           count: int, thumbs: Thumbs) -> list[Beside]:
    """The first `count` queries of all folds. order: of each fold's; key: what it goes by, ascending."""
    flat = [(float(key[fold][row]), fold, int(row)) for fold, rows in enumerate(order) for row in rows]
    return [beside(said, said.spaces[fold], every[fold], row, thumbs)
            for _, fold, row in sorted(flat, key=lambda one: one[0])[:count]]


def recall_rows(said: Retrieved, every: list[Likeness]) -> list[list[str]]:
    """Fold, queries, those without an item to find, and recall at each k; all folds together last."""
    parts = [(str(space.fold), near.rank) for space, near in zip(said.spaces, every, strict=True)]
    if len(parts) > 1:
        parts.append(("all", np.concatenate([near.rank for near in every])))
    return [[name, str(len(rank)), str(int((rank < 0).sum())),
             *("" if np.isnan(share) else f"{share:.4f}" for share in recalls(rank, RECALL_AT))]
            for name, rank in parts]


def identity_rows(said: Retrieved, every: list[Likeness]) -> list[list[str]]:
    """By identity: queries that the gallery can answer, how many of them find it, and what is taken for it."""
    truth, answer = [], []
    for space, near in zip(said.spaces, every, strict=True):
        there = near.rank >= 0
        place = np.where(near.rank == 0, near.right[:, 0], near.wrong[:, 0])[there]
        truth.append(said.run.targets[space.queries[there]])
        answer.append(space.identities[place])
    rows = class_rows(np.concatenate(truth).astype(np.int64), np.concatenate(answer).astype(np.int64), said.names)
    return [row for row in rows if row[1] != "0"]


def nearest_html(said: Retrieved, asked: NeighboursAsked) -> tuple[str, list[list[str]]]:
    """The page, and the rows of its totals."""
    every = [compare(space, said.run.targets[space.queries], asked.nearest) for space in said.spaces]
    thumbs, totals, identities = Thumbs(), recall_rows(said, every), identity_rows(said, every)
    worst = chosen(said, every, [worst_first(near) for near in every], [near.margin for near in every],
                   asked.queries, thumbs)
    strange = chosen(said, every, [false_friends(near) for near in every],
                     [-near.wrong_cosines[:, 0] for near in every], asked.queries // 2, thumbs)
    page = fill_sheet(
        TEMPLATE, title=f"Neighbours of {said.name}", metric=said.score[0], score=said.score[1],
        count=len(said.run.ids), total_head=["fold", "queries", "without an answer", *map(str, RECALL_AT)],
        totals=totals, identity_head=["identity", "queries", "found first", "precision", "taken for"],
        identities=identities[:ROWS], more=max(0, len(identities) - ROWS), worst=worst, strange=strange,
        note=unknown_note(said.spaces), left_out=thumbs.left_out)
    return page, totals


def show_neighbours(name: str, runs: Path, root: Path, asked: NeighboursAsked, where: MapAsked, out: Path,
                    say: Say = print) -> None:
    """Write both pages. name: of a run, or an ensemble's YAML; root: the competition's folder. Raises FoldpackError."""
    require_umap(where.by)
    said = read_retrieved(name, runs, root)
    drawn = map_html(said, where)
    page, totals = nearest_html(said, asked)
    write_atomic(out, page)
    write_atomic(where.out, drawn)
    for fold, queries, without, *shares in totals:
        told = ", ".join(f"{k} {share}" for k, share in zip(RECALL_AT, shares, strict=True) if share)
        say(f"{said.name}: fold {fold}: recall@ {told} over {queries} queries, {without} of them without an answer")
    say(f"page {out}")
    say(f"page {where.out}")
