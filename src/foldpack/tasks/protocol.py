"""What a task is: the one object that knows what a prediction is. Decided in docs/decisions/0038-stages-on-paper.md.

`Any` stands for the types of `settings/stages.py`: outputs (Classes, Vectors, Boxes, Values), StageSpec and Decision.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import nn

from foldpack.data.items import Items
from foldpack.data.rows import Rows
from foldpack.engine.layout import Layout
from foldpack.engine.units import Unit
from foldpack.predict.batch import Batch
from foldpack.predict.views import View
from foldpack.settings.network import NetConfig


class Fuser(Protocol):
    """Collects the finished units of a stage. The same units give the same bits, whichever was finished first."""

    def add(self, unit: Unit, rows: Rows) -> None:
        """Take one finished unit in; what is raised has changed nothing. Units of a run come in the plan's order."""

    def forget(self, run: str) -> None:
        """Take all units of a run out again."""

    def result(self) -> tuple[Rows, Any]:
        """The answer of what is there, and its Decision, by the plan's prefix. Raises ValueError before the first."""

    def level2(self, seconds_left: float, last: bool) -> tuple[Rows, Any] | None:
        """Level 2's answer; None where there is none, or while it would take too long. last: no unit comes after."""


class Task(Protocol):
    """From pixels to the rows of a unit, and from units to the rows of a stage."""

    name: str

    def layout(self, outputs: Any, items: Items) -> Layout:
        """How large the rows of one unit are."""

    def build(self, nets: list[NetConfig], outputs: Any) -> nn.Module:
        """The network of a unit, without its weights; of several configurations where a member is joint."""

    def probe(self, net: nn.Module, pixels: torch.Tensor) -> torch.Tensor:
        """(2, C') raw numbers that a network says to two normalised pictures: for the golden check."""

    def predict(self, net: nn.Module, batch: Batch, views: list[View]) -> list[Rows]:
        """Rows of a batch for each view, on the CPU, narrow, coordinates in pixels of the file."""

    def merge_views(self, views: list[Rows], how: str, outputs: Any) -> Rows:
        """One answer out of several views: the same in out-of-fold predictions, search and kernel."""

    def fuser(self, stage: Any, items: Items, read: Callable[[Unit], Rows]) -> Fuser:
        """What makes one answer of the units of a StageSpec. read: the rows of a finished unit."""

    def fallback(self, outputs: Any, items: Items) -> Rows:
        """What stands for lost rows: the prior, no box, no neighbour."""
