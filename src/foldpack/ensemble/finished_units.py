"""The answer of whatever is finished: units summed in the plan's order, then the blend, then level 2."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from foldpack.ensemble.level2 import apply_level2
from foldpack.ensemble.member_blend import MemberBlend
from foldpack.settings.stages import Decision, StageSpec

LEVEL2_SHARE = 0.02  # of the time left that level 2 may take after a unit; after the last it may take what it needs

Answer = tuple[np.ndarray, Decision]  # (n, C) float32 probabilities, and what to decide of them


class FinishedUnits:
    """Collects finished units. The same units give the same bits, whichever was finished first."""

    def __init__(self, stage: StageSpec, n_items: int, runs: list[str], read: Callable[[int], np.ndarray]) -> None:
        """runs: of every unit, in the plan's order; read: (n, C) float32 probabilities of a finished unit."""
        self.stage = stage
        self.n_items = n_items
        self.runs = runs
        self.read = read
        self.added: list[int] = []  # in the plan's order
        self.booster_texts: list[str] = []  # of level 2; empty: it is left out
        self.level2_seconds = 0.0  # that level 2 took last
        self.level2_units = 0  # so many units were there when it answered last
        self._blend = MemberBlend(stage, n_items)

    def add(self, unit: int) -> None:
        """A unit is finished. One that comes after later units of its run makes the run's sums anew, in order."""
        run, probs = self.runs[unit], self.read(unit)  # what it raises has changed nothing yet
        if not any(other > unit for other in self._units_of(run)):
            self._blend.add(run, probs)
        else:
            try:
                self._make_anew(run, [*self._units_of(run), unit])
            except Exception:
                self._make_anew(run, self._units_of(run))
                raise
        self.added = sorted({*self.added, unit})

    def drop(self, unit: int) -> None:
        """Take a unit out again; nothing if it is not there."""
        if unit in self.added:
            self.added.remove(unit)
            self._make_anew(self.runs[unit], self._units_of(self.runs[unit]))

    def _units_of(self, run: str) -> list[int]:
        return [unit for unit in self.added if self.runs[unit] == run]

    def _make_anew(self, run: str, units: list[int]) -> None:
        """The sums of one run; those of others do not depend on them."""
        self._blend.forget(run)
        for unit in sorted(units):
            self._blend.add(run, self.read(unit))

    def blended(self) -> Answer:
        """The blend of the members that are there. Raises ValueError before the first unit."""
        return self._blend.result(), self._blend.rule().decision

    def level2(self, blended: np.ndarray, seconds_left: float, last: bool) -> Answer | None:
        """Level 2's answer; None where there is none, or while it would take too much of the time.

        blended: (n, C); last: no unit comes after this.
        """
        if not self.booster_texts or not self._blend.level2_ready():
            return None
        known = self.level2_seconds
        if known and known > (1 / 1.2 if last else LEVEL2_SHARE) * seconds_left:
            return None
        started = time.monotonic()
        probs = apply_level2(self.stage, self.booster_texts, self._blend.member_rows, blended)
        self.level2_seconds = time.monotonic() - started
        self.level2_units = len(self.added)
        return probs, self.stage.level2[0].decision or self.stage.decision
