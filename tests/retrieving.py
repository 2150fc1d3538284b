"""Finished runs of vectors, made up, and as members of a stage: with the way to retrieve that the search has chosen."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from foldpack.data.rows import Rows
from foldpack.data.runs import (
    FoldMeta,
    Run,
    RunMeta,
    gallery_path,
    write_array,
    write_meta,
    write_oof,
    write_oof_rows,
)
from foldpack.models.gallery import Gallery, GalleryInfo, save_gallery
from foldpack.search.retrieval.choice import with_retrieval
from foldpack.settings.retrieve import Neighbours, Retrieval
from foldpack.settings.run import EmbedConfig
from foldpack.settings.stages import StageSpec

DIGEST, FOLDS = "0" * 64, 4


def as_member(run: Run, stage: StageSpec) -> Run:
    """The run as the kernel will use it."""
    if not isinstance(stage.fuse, Neighbours):
        return run
    [member] = [one for one in stage.members if one.run == run.meta.run]
    return with_retrieval(run, member.retrieve or Retrieval(neighbours=stage.fuse.neighbours))


def pictures(seed: int, noise: float, identities: int = 12, each: int = 8, new: int = 24, dim: int = 24):
    """(vectors, identities): of known ones, and of others that are seen once."""
    rng = np.random.default_rng(seed)
    y = np.concatenate([np.repeat(np.arange(identities), each), np.full(new, identities)])
    faces = np.concatenate([rng.normal(size=(identities, dim))[y[:-new]], rng.normal(size=(new, dim))])
    vectors = faces / np.linalg.norm(faces, axis=1, keepdims=True) + noise * rng.normal(size=faces.shape) / np.sqrt(dim)
    order = rng.permutation(len(y))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)[order], y[order]


def write_run(folder: Path, name: str, vectors: np.ndarray, y: np.ndarray, embed: EmbedConfig | None = None) -> Path:
    """A finished run of vectors, whose folds take turns; the gallery of a fold has the known items of the others."""
    place, fold = folder / name, np.arange(len(y)) % FOLDS
    place.mkdir(parents=True)
    write_oof_rows(place / "oof.csv", [f"i{k}" for k in range(len(y))], fold)
    digests = [write_oof(place / "oof", [Rows({"vector": vectors})], "float32"), write_array(place / "targets.npy", y)]
    classes = [f"w{k}" for k in range(y.max())] + ["new"]
    for one in range(FOLDS):
        known = np.flatnonzero((fold != one) & (y < y.max()))
        save_gallery(gallery_path(place, one), Gallery(vectors[known], y[known].astype(np.int32)),
                     GalleryInfo(run=name, fold=one, checkpoint=DIGEST))
    write_meta(place, RunMeta(
        run=name, competition="digits-retrieval", task="embed", classes=classes, none=True,
        prior=(np.bincount(y) / len(y)).tolist(), embed=embed or EmbedConfig(dim=vectors.shape[1]), size=32,
        views=["identity"], metric="map5", score=0.5, seconds_per_image=0.01, config_sha256=DIGEST, folds_sha256=DIGEST,
        folds=[FoldMeta(fold=one, items=int((fold == one).sum()), score=0.5, epoch=1, sha256=DIGEST, gallery=DIGEST)
               for one in range(FOLDS)], oof_sha256=digests[0], targets_sha256=digests[1], versions={}))
    return place
