"""Task `embed`: a vector for every image; the gallery of its checkpoint says which identities are near."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from foldpack.data.items import Items
from foldpack.data.rows import Rows
from foldpack.engine.layout import ColumnKind, Dense
from foldpack.engine.units import Unit
from foldpack.ensemble.retrieve.retriever import Retriever
from foldpack.ensemble.score_fuser import ScoreFuser
from foldpack.ensemble.view_rows import merged_vectors
from foldpack.models.classifier import MakeNet
from foldpack.models.embedder import build_embedder
from foldpack.models.gallery import parse_gallery
from foldpack.predict.batch import Batch, view_outputs
from foldpack.predict.view import View
from foldpack.settings.ensemble import SealedPart, gallery_role
from foldpack.settings.network import NetConfig
from foldpack.settings.outputs import Vectors
from foldpack.settings.retrieve import Neighbours, Retrieval
from foldpack.settings.stages import StageSpec
from foldpack.tasks.protocol import OpenSealed


class EmbedTask:
    """Column `vector` (n, D) float32 of length 1, of views as of units; of a stage `probs` (n, C), in [0, 1]."""

    name = "embed"

    def layout(self, outputs: Vectors, items: Items) -> Dense:
        """Vectors have their place: one row an item."""
        starts = None if items.box is None else items.starts
        return Dense(len(items.ids), {"vector": ColumnKind("float32", (outputs.dim,))}, starts)

    def build(self, net: NetConfig, width: int, make: MakeNet | None = None) -> nn.Module:
        """A timm network whose last layer is the vector. Raises ModelError."""
        return build_embedder(net, width, make=make)

    def probe(self, net: nn.Module, pixels: torch.Tensor) -> torch.Tensor:
        """Vectors."""
        return net(pixels)

    def predict(self, net: nn.Module, batch: Batch, views: list[View]) -> list[Rows]:
        """Column `vector` for each view."""
        return [Rows({"vector": vectors}) for vectors in view_outputs(net, batch, views)]

    def merge_views(self, views: list[Rows], how: str, outputs: Vectors) -> Rows:
        """The direction of the mean of the views."""
        return merged_vectors(views)

    def fuser(self, stage: StageSpec, items: Items, sealed: OpenSealed) -> NeighbourFuser:
        """Scores of identities by each checkpoint's gallery, then a blend of them."""
        return NeighbourFuser(stage, items, sealed)

    def fallback(self, outputs: Vectors, items: Items) -> Rows:
        """No vector: NaN, which the fuser answers by the prior."""
        starts = None if items.box is None else items.starts
        return Rows({"vector": np.full((len(items), outputs.dim), np.nan, dtype=np.float32)}, starts)


class NeighbourFuser(ScoreFuser):
    """Fuses column `vector` (n, D) float32 of units: `tasks.protocol.Fuser`."""

    def __init__(self, stage: StageSpec, items: Items, sealed: OpenSealed) -> None:
        """sealed: opens the galleries."""
        super().__init__(stage, len(items), None if items.box is None else items.starts, groups=items.groups)
        assert isinstance(stage.fuse, Neighbours) and isinstance(stage.outputs, Vectors)  # as every spec is checked
        self._usual, self._none = Retrieval(neighbours=stage.fuse.neighbours), stage.outputs.none
        self._sealed = sealed

    def answers(self, unit: Unit, rows: Rows) -> Rows:
        """Column `probs` (m, C): the scores of identities, the mean of those of the images of an answer.

        Raises as `retriever`, and RetrievalError for a gallery of vectors of another size.
        """
        scores = self.retriever(unit).scores(rows.columns["vector"])
        lost = np.isnan(scores).any(axis=1)
        scores[lost] = np.asarray(self.stage.outputs.prior, np.float32)
        return super().answers(unit, Rows({"probs": scores}, lost=lost))

    def retriever(self, unit: Unit) -> Retriever:
        """The gallery of a unit's checkpoint. Raises SealedError or ModelError for one that cannot be read, or is of
        other weights."""
        asked, role = unit.fold.gallery, gallery_role(unit.member.run, unit.fold.fold)
        assert asked is not None  # as every spec is checked
        opened = self._sealed(SealedPart(role, str(asked.file), str(asked.header)))
        gallery = parse_gallery(*opened, unit.fold.sha256, role)
        return Retriever(gallery.vectors, gallery.identities, len(self.stage.outputs.names),
                         unit.member.retrieve or self._usual, self._none)


EMBED = EmbedTask()
