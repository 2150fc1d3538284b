"""The answer of units of probabilities: the blend of the members that are there, then level 2."""

from __future__ import annotations

import time

import numpy as np

from foldpack.data.rows import Rows
from foldpack.engine.units import Unit
from foldpack.ensemble.level2 import apply_level2
from foldpack.ensemble.member_blend import MemberBlend
from foldpack.settings.stages import Decision, StageSpec

LEVEL2_SHARE = 0.02  # of the time left that level 2 may take after a unit; after the last it may take what it needs


class ScoreFuser:
    """Fuses one column (n, C) float32 of units: `tasks.protocol.Fuser`."""

    def __init__(self, stage: StageSpec, n_items: int, starts: np.ndarray | None = None, column: str = "probs") -> None:
        """starts: where the items of each image begin; None: an item an image."""
        self.stage = stage
        self.starts = starts
        self.column = column
        self.booster_texts: list[str] = []
        self.level2_seconds = 0.0
        self._blend = MemberBlend(stage, n_items)
        self._blended: np.ndarray | None = None  # (n, C); None: something has changed

    def add(self, unit: Unit, rows: Rows) -> None:
        """Take one finished unit in; what is raised leaves the sums as they were."""
        self._blend.add(unit.member.run, rows.columns[self.column])
        self._blended = None

    def forget(self, run: str) -> None:
        """Take all units of a run out again."""
        self._blend.forget(run)
        self._blended = None

    def blended(self) -> np.ndarray:
        """(n, C) float32. Raises ValueError before the first unit."""
        if self._blended is None:
            self._blended = self._blend.result()
        return self._blended

    def result(self) -> tuple[Rows, Decision]:
        """The blend of the members that are there, and what to decide of it. Raises ValueError before the first."""
        return Rows({self.column: self.blended()}, self.starts), self._blend.rule().decision

    def level2(self, seconds_left: float, last: bool) -> tuple[Rows, Decision] | None:
        """Level 2's answer; None where there is none, or while it would take too much of the time."""
        if not self.booster_texts or not self._blend.level2_ready():
            return None
        known = self.level2_seconds
        if known and known > (1 / 1.2 if last else LEVEL2_SHARE) * seconds_left:
            return None
        started = time.monotonic()
        probs = apply_level2(self.stage, self.booster_texts, self._blend.member_rows, self.blended())
        self.level2_seconds = time.monotonic() - started
        return Rows({"probs": probs}, self.starts), self.stage.level2[0].decision or self.stage.decision
