"""The answer of units of probabilities: the blend of the members that are there."""

from __future__ import annotations

import numpy as np

from foldpack.data.answer_groups import AnswerGroups
from foldpack.data.rows import Rows
from foldpack.engine.units import Unit
from foldpack.ensemble.member_blend import MemberBlend
from foldpack.settings.stages import Decision, StageSpec


class ScoreFuser:
    """Fuses one column (n, C) float32 of units: `tasks.protocol.Fuser`."""

    def __init__(self, stage: StageSpec, n_items: int, starts: np.ndarray | None = None, column: str = "probs",
                 groups: AnswerGroups | None = None) -> None:
        """starts: where the items of each image begin; None: an item an image. groups: images that are answered
        together, where some are."""
        self.stage = stage
        self.starts = starts
        self.column = column
        self.groups = groups
        self._blend = MemberBlend(stage, n_items if groups is None else len(groups))
        self._blended: np.ndarray | None = None  # (n, C); None: something has changed

    def answers(self, unit: Unit, rows: Rows) -> Rows:
        """The mean of the images of each answer, without those that are lost."""
        if self.groups is None:
            return rows
        return Rows({self.column: self.groups.mean(rows.columns[self.column], rows.lost)})

    def add(self, unit: Unit, rows: Rows) -> None:
        """Take the answers of one finished unit in; what is raised leaves the sums as they were."""
        self._blend.add(unit.member.run, rows.columns[self.column])
        self._blended = None

    def forget(self, run: str) -> None:
        """Take all units of a run out again."""
        self._blend.forget(run)
        self._blended = None

    def result(self) -> tuple[Rows, Decision]:
        """The blend of the members that are there, and what to decide of it. Raises ValueError before the first."""
        if self._blended is None:
            self._blended = self._blend.result()
        return Rows({self.column: self._blended}, self.starts), self._blend.rule().decision
