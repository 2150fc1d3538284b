"""Progress bars with an estimate of the time left, on a terminal only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from foldpack.search.find import Progress as Report


@contextmanager
def stage_bars() -> Iterator[Report]:
    """A function (stage, share done) that draws one bar a stage on standard error; silent when that is no terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"),
               TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:
        known: dict[str, int] = {}

        def report(stage: str, share: float) -> None:
            if stage not in known:
                known[stage] = int(bars.add_task(stage, total=1.0))
            bars.update(bars.task_ids[list(known).index(stage)], completed=share)

        yield report
