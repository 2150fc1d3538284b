"""Galleries: the embeddings of a checkpoint's training items with their identities, which queries are compared with.

Safetensors like the weights, and bound to them: a gallery names the hash of its checkpoint.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from foldpack.models.checkpoint import METADATA_KEY, read_tensors, write_tensors
from foldpack.models.classifier import ModelError
from foldpack.settings.strict_model import StrictModel, parse_strict


class GalleryInfo(StrictModel):
    """Whose embeddings these are."""

    version: Literal[1] = 1
    run: str
    fold: int
    checkpoint: str  # SHA-256 of the plain weights, in hex


@dataclass(frozen=True, eq=False)
class Gallery:
    """vectors: (m, D) float32 of length 1; identities: (m,) int32, columns of the scores."""

    vectors: np.ndarray
    identities: np.ndarray


def save_gallery(path: Path, gallery: Gallery, info: GalleryInfo) -> None:
    """Write it atomically."""
    tensors = {"vectors": torch.from_numpy(gallery.vectors), "identities": torch.from_numpy(gallery.identities)}
    write_tensors(path, tensors, json.dumps(info.model_dump(mode="json"), sort_keys=True))


def read_gallery(path: Path, checkpoint: str) -> Gallery:
    """Read a plain gallery. checkpoint: the hash of the weights that it must belong to. Raises ModelError."""
    return parse_gallery(*read_tensors(path), checkpoint, str(path))


def parse_gallery(tensors: dict[str, torch.Tensor], metadata: dict[str, str], checkpoint: str, source: str) -> Gallery:
    """The contents of a safetensors file -> Gallery. Raises ModelError for what is none, or is of other weights."""
    try:
        data = json.loads(metadata.get(METADATA_KEY, ""))
    except ValueError:
        raise ModelError(f"{source}: no gallery of foldpack; train the run again") from None
    info = parse_strict(GalleryInfo, data, source, ModelError)
    if info.checkpoint != checkpoint:
        raise ModelError(f"{source}: the gallery of other weights, {info.checkpoint[:12]}; the weights here are "
                         f"{checkpoint[:12]}; train the run again")
    vectors, identities = (tensors.get(name, torch.empty(0)).numpy() for name in ("vectors", "identities"))
    if vectors.ndim != 2 or identities.shape != (len(vectors),):
        raise ModelError(f"{source}: vectors of shape {vectors.shape} with identities of shape {identities.shape}; "
                         "needed: (m, D) and (m,); train the run again")
    if not len(vectors):
        raise ModelError(f"{source}: the gallery is empty, so no identity can be found; a fold must learn from items "
                         "of some: make other folds, and train the run again")
    return Gallery(vectors, identities)
