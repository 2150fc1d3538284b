"""Level 2 as a step of the search, of files and of runs alike: fit, judge, write the boosters or leave the blend."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from foldpack.ensemble.candidates import MemberRows
from foldpack.search.cells.cells import Cells
from foldpack.search.find import Found, Progress
from foldpack.search.level2.files import level2_numbers, remove_boosters, write_level2
from foldpack.search.level2.fit import Level2Options, fit_level2, gather_candidates
from foldpack.settings.stages import Level2Spec


@dataclass(frozen=True)
class Level2Source:
    """What level 2 is fitted on. names: of the members, in order; members, blend: (first, end) -> their rows, as in

    the kernel; cells: the blend, with the targets; prior: (C,) float32 share of each class, None for real values;
    doubts: why the blend's own score is not fully known; with any of them no gain over it is believed.
    """

    names: list[str]
    members: MemberRows
    blend: Callable[[int, int], np.ndarray]
    cells: Cells
    prior: np.ndarray | None
    doubts: tuple[str, ...] = ()


def add_level2(
    source: Level2Source,
    found: Found,
    folds: np.ndarray,
    options: Level2Options,
    folder: Path,
    progress: Progress | None = None,
) -> tuple[Level2Spec | None, dict, list[str]]:
    """(entry of the YAML, or None where the blend stands; numbers of the report; notes).

    folder: for the boosters' texts. Ctrl-C leaves the blend, and no numbers; so does one before, during the choice.
    Raises DataError as `require_level2_fits` does.
    """
    if found.interrupted:
        remove_boosters(folder)
        return None, {}, ["level 2 was not tried: the blend stands"]
    assert source.prior is not None  # else `require_level2_fits` has refused it
    report = None if progress is None else lambda share: progress("level 2", share)
    try:
        table = gather_candidates(source.members, source.blend, source.prior, source.cells.items, options)
        fitted = fit_level2(table, source.cells, folds, found.metric, found.rule, options, source.names, report)
        fitted.notes.extend(f"level 2 is not believed: {doubt}" for doubt in source.doubts)
    except KeyboardInterrupt:
        remove_boosters(folder)
        return None, {}, ["level 2 was interrupted: the blend stands"]
    believed = fitted.believed(found.metric)
    remove_boosters(folder)  # of an earlier search, whose YAML will be replaced too
    part = write_level2(folder, fitted, found.metric, source.names) if believed else None
    return part, level2_numbers(fitted, found.metric), fitted.notes
