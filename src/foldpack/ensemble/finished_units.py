"""The answer of whatever is finished: units summed in the plan's order, then the blend, then level 2."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from foldpack.ensemble.level2 import apply_level2
from foldpack.ensemble.member_blend import MemberBlend
from foldpack.spec import EnsembleSpec

LEVEL2_SHARE = 0.02  # of the time left that level 2 may take after a unit; after the last it may take what it needs

Answer = tuple[np.ndarray, float | list[float] | None]  # (n, C) float32 probabilities, and the threshold for them


class FinishedUnits:
    """Collects finished units. The same units give the same bits, whichever was finished first."""

    def __init__(self, spec: EnsembleSpec, n_items: int, runs: list[str], read: Callable[[int], np.ndarray]) -> None:
        """runs: of every unit, in the plan's order; read: (n, C) float32 probabilities of a finished unit."""
        self.spec = spec
        self.n_items = n_items
        self.runs = runs
        self.read = read
        self.added: list[int] = []  # in the plan's order
        self.booster_texts: list[str] = []  # of level 2; empty: it is left out
        self.level2_seconds = 0.0  # that level 2 took last
        self.level2_units = 0  # so many units were there when it answered last
        self._blend = MemberBlend(spec, n_items)

    def add(self, unit: int) -> None:
        """A unit is finished. One that comes after its successors makes the sums anew, in the right order."""
        new = [unit]
        if self.added and unit < self.added[-1]:
            self._blend = MemberBlend(self.spec, self.n_items)
            new = sorted([*self.added, unit])
        for each in new:
            self._blend.add(self.runs[each], self.read(each))
        self.added = sorted({*self.added, unit})

    def blended(self) -> Answer:
        """The blend of the members that are there. Raises ValueError before the first unit."""
        return self._blend.result(), self._blend.rule().threshold

    def level2(self, blended: np.ndarray, seconds_left: float, last: bool) -> Answer | None:
        """Level 2's answer; None where there is none, or while it would take too much of the time.

        blended: (n, C); last: no unit comes after this.
        """
        level2 = self.spec.level2
        if level2 is None or not self.booster_texts or not self._blend.level2_ready():
            return None
        known = self.level2_seconds
        if known and known > (1 / 1.2 if last else LEVEL2_SHARE) * seconds_left:
            return None
        started = time.monotonic()
        probs = apply_level2(self.spec, self.booster_texts, self._blend.member_rows, blended)
        self.level2_seconds = time.monotonic() - started
        self.level2_units = len(self.added)
        return probs, level2.threshold
