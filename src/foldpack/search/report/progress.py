"""Progress bars with an estimate of the time left, on a terminal only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn

from foldpack.search.find import Progress as Report


def bar_columns(last: ProgressColumn) -> list[ProgressColumn]:
    """How every bar of ours looks: what it is, how far, and a column that says how long still."""
    return [TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"), last]


@contextmanager
def stage_bars() -> Iterator[Report]:
    """A function (stage, share done) that draws one bar a stage on standard error; silent when that is no terminal."""
    console = Console(stderr=True)
    with Progress(*bar_columns(TimeRemainingColumn()), console=console, disable=not console.is_terminal) as bars:
        known: dict[str, int] = {}

        def report(stage: str, share: float) -> None:
            if stage not in known:
                known[stage] = int(bars.add_task(stage, total=1.0))
            bars.update(bars.task_ids[list(known).index(stage)], completed=share)

        yield report
