"""What a task is: the one object that knows what a prediction is. Decided in docs/decisions/0038-stages-on-paper.md."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import nn

from foldpack.data.items import Items
from foldpack.data.rows import Rows
from foldpack.engine.layout import Layout
from foldpack.ensemble.finished_units import Fuser
from foldpack.models.classifier import MakeNet
from foldpack.predict.batch import Batch
from foldpack.predict.view import View
from foldpack.settings.ensemble import SealedPart
from foldpack.settings.network import NetConfig
from foldpack.settings.stages import StageSpec

# A sealed part of the spec -> its tensors on the CPU, and its metadata. Raises SealedError.
OpenSealed = Callable[[SealedPart], tuple[dict[str, torch.Tensor], dict[str, str]]]


class Task(Protocol):
    """From pixels to the rows of a unit, and from units to the rows of a stage. outputs: those of the StageSpec."""

    name: str

    def layout(self, outputs: Any, items: Items) -> Layout:
        """How large the rows of one unit are."""

    def build(self, net: NetConfig, width: int, make: MakeNet | None = None) -> nn.Module:
        """The network of a checkpoint that gives so many numbers, without its weights. Raises ModelError.

        make: a network of a project's own, where `net.arch` names one."""

    def probe(self, net: nn.Module, pixels: torch.Tensor) -> torch.Tensor:
        """(2, C') raw numbers that a network says to two normalised pictures: for the golden check."""

    def predict(self, net: nn.Module, batch: Batch, views: list[View]) -> list[Rows]:
        """Rows of a batch for each view, on the CPU, narrow, coordinates in pixels of the file."""

    def merge_views(self, views: list[Rows], how: str, outputs: Any) -> Rows:
        """One answer out of several views: the same in out-of-fold predictions, search and kernel."""

    def fuser(self, stage: StageSpec, items: Items, sealed: OpenSealed) -> Fuser:
        """What makes one answer of the units of a stage. sealed: opens what else is sealed beside their weights."""

    def fallback(self, outputs: Any, items: Items) -> Rows:
        """A row an image, for those that are lost: the prior, no box, no neighbour."""
