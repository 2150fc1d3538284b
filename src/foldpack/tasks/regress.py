"""Task `regress`: numbers for every image, in the units of the training targets."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from foldpack.data.items import Items
from foldpack.data.rows import Rows
from foldpack.engine.layout import ColumnKind, Dense
from foldpack.ensemble.score_fuser import ScoreFuser
from foldpack.ensemble.view_rows import merged_values
from foldpack.models.classifier import MakeNet
from foldpack.models.regressor import build_regressor
from foldpack.predict.batch import Batch, view_outputs
from foldpack.predict.view import View
from foldpack.settings.network import NetConfig
from foldpack.settings.outputs import Values
from foldpack.settings.stages import StageSpec
from foldpack.tasks.protocol import OpenSealed


class RegressTask:
    """Column `value` (n, T) float32, of views as of units and stages."""

    name = "regress"

    def layout(self, outputs: Values, items: Items) -> Dense:
        """Values have their place: one row an item."""
        starts = None if items.box is None else items.starts
        return Dense(len(items.ids), {"value": ColumnKind("float32", (len(outputs.names),))}, starts)

    def build(self, net: NetConfig, width: int, make: MakeNet | None = None) -> nn.Module:
        """A timm network and the units of its targets. Raises ModelError."""
        return build_regressor(net, width, make=make)

    def probe(self, net: nn.Module, pixels: torch.Tensor) -> torch.Tensor:
        """Values."""
        return net(pixels)

    def predict(self, net: nn.Module, batch: Batch, views: list[View]) -> list[Rows]:
        """Column `value` for each view."""
        return [Rows({"value": values}) for values in view_outputs(net, batch, views)]

    def merge_views(self, views: list[Rows], how: str, outputs: Values) -> Rows:
        """The mean of the views."""
        return merged_values(views)

    def fuser(self, stage: StageSpec, items: Items, sealed: OpenSealed) -> ScoreFuser:
        """A blend of values."""
        return ScoreFuser(stage, len(items), None if items.box is None else items.starts, "value", items.groups)

    def fallback(self, outputs: Values, items: Items) -> Rows:
        """The mean of the training targets for every item."""
        mean = np.asarray(outputs.prior, np.float32)
        starts = None if items.box is None else items.starts
        return Rows({"value": np.broadcast_to(mean, (len(items), len(mean)))}, starts)


REGRESS = RegressTask()
