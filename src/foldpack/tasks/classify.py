"""Task `classify`: a probability of each class for every image."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from foldpack.data.items import Items
from foldpack.data.rows import Rows
from foldpack.engine.layout import ColumnKind, Dense
from foldpack.ensemble.score_fuser import ScoreFuser
from foldpack.ensemble.view_rows import merged_logits
from foldpack.models.classifier import MakeNet, build_classifier
from foldpack.predict.batch import Batch, logit_rows
from foldpack.predict.view import View
from foldpack.settings.network import NetConfig
from foldpack.settings.outputs import Classes
from foldpack.settings.stages import StageSpec
from foldpack.tasks.protocol import OpenSealed


class ClassifyTask:
    """Column `probs` (n, C) float32 in [0, 1]; of views `logits` (n, C). Items may be images, or boxes in them."""

    name = "classify"

    def layout(self, outputs: Classes, items: Items) -> Dense:
        """Probabilities have their place: one row an item."""
        starts = None if items.box is None else items.starts
        return Dense(len(items.ids), {"probs": ColumnKind("float32", (len(outputs.names),))}, starts)

    def build(self, net: NetConfig, width: int, make: MakeNet | None = None) -> nn.Module:
        """A network of timm's, or a project's own. Raises ModelError."""
        return build_classifier(net, width, make=make)

    def probe(self, net: nn.Module, pixels: torch.Tensor) -> torch.Tensor:
        """Logits."""
        return net(pixels)

    def predict(self, net: nn.Module, batch: Batch, views: list[View]) -> list[Rows]:
        """Column `logits` for each view."""
        return logit_rows(net, batch, views)

    def merge_views(self, views: list[Rows], how: str, outputs: Classes) -> Rows:
        """Column `probs`."""
        return merged_logits(views, how, outputs)

    def fuser(self, stage: StageSpec, items: Items, sealed: OpenSealed) -> ScoreFuser:
        """A blend of scores."""
        return ScoreFuser(stage, len(items), None if items.box is None else items.starts, groups=items.groups)

    def fallback(self, outputs: Classes, items: Items) -> Rows:
        """The training prior for every item."""
        prior = np.asarray(outputs.prior, np.float32)
        starts = None if items.box is None else items.starts
        return Rows({"probs": np.broadcast_to(prior, (len(items), len(prior)))}, starts)


CLASSIFY = ClassifyTask()
