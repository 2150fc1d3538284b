"""The boxes of units as those of a stage: all of them, without those that overlap a better one."""

from __future__ import annotations

import numpy as np
import torch
from torchvision.ops import batched_nms

from foldpack.data.rows import Rows
from foldpack.engine.units import Unit
from foldpack.settings.outputs import BoxUnion, HandOnDecision
from foldpack.settings.stages import Decision, StageSpec


class BoxFuser:
    """Fuses columns `box` (N, 4) xyxy, `score` (N,) and `label` (N,), ragged by image: `tasks.protocol.Fuser`."""

    def __init__(self, stage: StageSpec) -> None:
        self.stage = stage
        self._units: dict[str, list[Rows]] = {}  # by run

    def answers(self, unit: Unit, rows: Rows) -> Rows:
        """Each image is answered alone."""
        return rows

    def add(self, unit: Unit, rows: Rows) -> None:
        """Take one finished unit in."""
        self._units.setdefault(unit.member.run, []).append(rows)

    def forget(self, run: str) -> None:
        """Take all units of a run out again."""
        self._units.pop(run, None)

    def result(self) -> tuple[Rows, Decision]:
        """The boxes that are kept, in the order of the members and of their rows; an image is lost where it is so in
        every unit. Raises ValueError before the first unit.
        """
        units = [rows for member in self.stage.members for rows in self._units.get(member.run, [])]
        if not units:
            raise ValueError("no finished unit has found boxes")
        fused = Rows.joined([self._fuse([rows.take(slice(row, row + 1)) for rows in units])
                             for row in range(len(units[0]))])
        lost = np.all([np.zeros(len(rows), bool) if rows.lost is None else rows.lost for rows in units], axis=0)
        return Rows(fused.columns, fused.starts, lost=lost), self.stage.decision

    def _fuse(self, units: list[Rows]) -> Rows:
        """One image."""
        assert isinstance(self.stage.fuse, BoxUnion) and isinstance(self.stage.decision, HandOnDecision)
        rows = Rows.joined(units)
        box, score, label = (torch.from_numpy(np.array(rows.columns[name])) for name in ("box", "score", "label"))
        kept = np.sort(batched_nms(box.float(), score.float(), label.long(), self.stage.fuse.nms).numpy())
        kept = kept[rows.columns["score"][kept] >= self.stage.decision.min_score]
        return Rows({name: column[kept] for name, column in rows.columns.items()}, np.array([0, len(kept)]))
