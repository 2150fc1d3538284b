"""Which units are finished, fused in the plan's order whichever was finished first."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from foldpack.data.rows import Rows
from foldpack.engine.units import Unit
from foldpack.sealed.format import DataKey
from foldpack.settings.ensemble import EnsembleSpec
from foldpack.settings.stages import Decision, StageSpec


class Fuser(Protocol):
    """Makes one answer of the units of a stage. The same units give the same bits."""

    def answers(self, unit: Unit, rows: Rows) -> Rows:
        """The rows of a finished unit, one an image, as one an answer: images that are answered together become one.
        What is lost has the fallback's entries, and its mark."""

    def add(self, unit: Unit, rows: Rows) -> None:
        """Take the answers of one finished unit in; what is raised has changed nothing. Units of a run come in the
        plan's order."""

    def forget(self, run: str) -> None:
        """Take all units of a run out again."""

    def result(self) -> tuple[Rows, Decision]:
        """The answer of what is there, and its decision, by the plan's prefix. Raises ValueError before the first."""


class Level2(Fuser, Protocol):
    """A fuser with a second, better answer, where there is time for it."""

    seconds: float  # that it took last
    stale: bool  # units came or went since

    def better(self, seconds_left: float, last: bool) -> tuple[Rows, Decision] | None:
        """That answer; None while members are missing or it would take too long. last: no unit comes after."""


# How it is opened on top of a fuser, with sealed files by header hash and keys by file id; None where it is missing.
OpenLevel2 = Callable[[EnsembleSpec, StageSpec, Fuser, dict[str, Path], dict[str, DataKey]], Level2 | None]


class FinishedUnits:
    """Collects finished units. The same units give the same bits, whichever was finished first."""

    def __init__(self, fuser: Fuser, units: list[Unit], read: Callable[[int], Rows]) -> None:
        """units: in the plan's order; read: the rows of a finished unit, one an image."""
        self.fuser = fuser
        self.units = units
        self.read = read
        self.added: list[int] = []  # in the plan's order

    def add(self, unit: int) -> None:
        """A unit is finished. One that comes after later units of its run makes the run anew, in order."""
        own, rows = self._units_like(unit), self._answers(unit)  # what it raises has changed nothing yet
        if not any(other > unit for other in own):
            self.fuser.add(self.units[unit], rows)
        else:
            try:
                self._make_anew(unit, [*own, unit])
            except Exception:
                self._make_anew(unit, own)
                raise
        self.added = sorted({*self.added, unit})

    def drop(self, unit: int) -> None:
        """Take a unit out again; nothing if it is not there."""
        if unit in self.added:
            self.added.remove(unit)
            self._make_anew(unit, self._units_like(unit))

    def _answers(self, unit: int) -> Rows:
        return self.fuser.answers(self.units[unit], self.read(unit))

    def _units_like(self, unit: int) -> list[int]:
        """Finished units of its run."""
        return [other for other in self.added if self.units[other].member.run == self.units[unit].member.run]

    def _make_anew(self, unit: int, units: list[int]) -> None:
        """What is known of one run; other runs do not depend on it."""
        self.fuser.forget(self.units[unit].member.run)
        for other in sorted(units):
            self.fuser.add(self.units[other], self._answers(other))
