"""What a kernel makes of a unit of vectors: by the member's own way to retrieve, with its own gallery alone."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from made_stages import stage_of

from foldpack.data.items import whole_images
from foldpack.data.rows import Rows
from foldpack.engine.units import plan_units
from foldpack.ensemble.retrieve.nearest import RetrievalError
from foldpack.ensemble.retrieve.retriever import identity_scores
from foldpack.models.checkpoint import METADATA_KEY
from foldpack.models.classifier import ModelError
from foldpack.settings.ensemble import SealedPart
from foldpack.settings.outputs import Vectors
from foldpack.settings.retrieve import Calibration, Neighbours, Rerank, Retrieval
from foldpack.settings.stages import FoldSpec, GallerySpec, RankingDecision, StageSpec
from foldpack.tasks.embed import EMBED

OUTPUTS = Vectors(names=["a", "b", "c", "new"], prior=[0.2, 0.3, 0.4, 0.1], dim=5, none=True)
EVERYTHING = Retrieval(neighbours=2, softmax=0.1, centres=0.3, expand_query=2, expand_gallery=1, alpha=2.0,
                       rerank=Rerank(k1=3, k2=2, own=0.4),
                       calibration=Calibration(kind="sigmoid", scale=9.0, shift=0.6))


def unit(count: int, seed: int, dim: int = 5) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


QUERIES, GALLERY, IDENTITIES = unit(6, 0), unit(14, 1), np.arange(14, dtype=np.int32) % 3


def stage_with(retrieve: Retrieval | None) -> StageSpec:
    """One member of one fold."""
    usual = stage_of(["x", "y"])
    fold = FoldSpec(fold=0, sha256="1" * 64, file="f", header="2" * 64,
                    gallery=GallerySpec(sha256="3" * 64, file="g", header="4" * 64))
    member = usual.members[0].model_copy(update={"folds": [fold], "retrieve": retrieve})
    return StageSpec(name="main", task="embed", outputs=OUTPUTS, members=[member], fuse=Neighbours(neighbours=3),
                     decision=RankingDecision(k=3, none_score=0.5))


def answers(stage: StageSpec, queries: np.ndarray, checkpoint: str = "1" * 64, gallery: np.ndarray = GALLERY) -> Rows:
    """Of one unit."""
    info = {"version": 1, "run": stage.members[0].run, "fold": 0, "checkpoint": checkpoint}

    def sealed(part: SealedPart) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
        assert (part.file, part.header) == ("g", "4" * 64) and part.role.endswith("/gallery")
        tensors = {"vectors": torch.from_numpy(gallery), "identities": torch.from_numpy(IDENTITIES)}
        return tensors, {METADATA_KEY: json.dumps(info)}

    ids = [f"i{k}" for k in range(len(queries))]
    items = whole_images(ids, [Path(f"{name}.png") for name in ids])
    return EMBED.fuser(stage, items, sealed).answers(plan_units(stage)[0], Rows({"vector": queries}))


@pytest.mark.parametrize("retrieve", [None, EVERYTHING])
def test_a_member_retrieves_in_its_own_way_or_in_that_of_the_stage(retrieve: Retrieval | None) -> None:
    scores = answers(stage_with(retrieve), QUERIES).columns["probs"]
    expected = identity_scores(QUERIES, GALLERY, IDENTITIES, 4, retrieve or Retrieval(neighbours=3), True)
    np.testing.assert_allclose(scores, expected, atol=1e-6)


def test_a_lost_query_is_answered_by_the_prior() -> None:
    lost = QUERIES.copy()
    lost[2] = np.nan
    for retrieve in (None, EVERYTHING):
        scores = answers(stage_with(retrieve), lost).columns["probs"]
        assert scores[2].tolist() == pytest.approx([0.2, 0.3, 0.4, 0.1]) and np.isfinite(scores).all()


def test_a_gallery_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ModelError, match="the gallery of other weights, 999999999999; the weights here are 1111"):
        answers(stage_with(None), QUERIES, "9" * 64)
    with pytest.raises(RetrievalError, match=r"queries of shape \(6, 5\) and a gallery of shape \(14, 7\); needed"):
        answers(stage_with(None), QUERIES, gallery=unit(14, 2, 7))


def test_only_vectors_are_retrieved() -> None:
    usual = stage_of(["x", "y"])
    member = usual.members[0].model_copy(update={"retrieve": EVERYTHING})
    with pytest.raises(ValueError, match="retrieve is of vectors; leave it out"):
        StageSpec(**{**dict(usual), "members": [member]})
