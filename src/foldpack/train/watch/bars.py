"""A training on a terminal: below the lines that it prints bars of run, fold and epoch, and a line of numbers."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from rich.console import Console, RenderableType
from rich.progress import Progress, TextColumn
from rich.text import Text

from foldpack.search.report.progress import bar_columns
from foldpack.train.watch.watch import Show, Standing


@contextmanager
def training_bars() -> Iterator[Show | None]:
    """Draws how a training stands on standard error; None where that or standard output is no terminal: the lines that
    training prints say it all there. Of several processes that train a fold together the first one draws.

    Nothing is drawn but when it is asked for: a thread that draws would hold a lock while worker processes are forked.
    """
    console = Console(stderr=True)
    drawn = console.is_terminal and not console.is_dumb_terminal and sys.stdout.isatty()
    if not drawn or os.environ.get("RANK", "0") != "0":
        yield None
        return
    with TrainingBars(console) as bars:
        yield bars.show


class TrainingBars(Progress):
    """Vanishes at its end."""

    def __init__(self, console: Console) -> None:
        self.numbers = ""
        super().__init__(*bar_columns(TextColumn("{task.fields[left]}")), console=console, auto_refresh=False,
                         transient=True)

    def show(self, standing: Standing) -> None:
        """Draw it."""
        shown = bar_rows(standing)
        for place, (title, share, left) in enumerate(shown):
            if place == len(self.task_ids):
                self.add_task(title, total=1.0, left=left)
            self.update(self.task_ids[place], description=title, completed=share, left=left)
        self.numbers = numbers_line(standing)
        self.refresh()

    def get_renderables(self) -> Iterable[RenderableType]:
        """The bars, and the numbers below."""
        yield self.make_tasks_table(self.tasks)
        if self.numbers:
            yield Text(self.numbers, no_wrap=True, overflow="ellipsis")


def bar_rows(now: Standing) -> list[tuple[str, float, str]]:
    """(title, share done, time left) of the run, its fold and its epoch."""
    return [(now.run, now.run_share, left_text(now.run_left)),
            (f"fold {now.fold}, {now.place + 1} of {now.folds}", now.fold_share, left_text(now.fold_left)),
            (f"epoch {now.epoch}, {now.epoch + 1} of {now.epochs}", now.share,
             "predicting" if now.share == 1 else left_text(now.epoch_left))]


def left_text(seconds: float | None) -> str:
    """`0:01:10 left`."""
    return "" if seconds is None else f"{timedelta(seconds=round(seconds))} left"


def numbers_line(now: Standing) -> str:
    """Loss, score, speed and memory."""
    parts = []
    if now.loss is not None:
        parts.append(f"loss {now.loss:.4f}")
    if now.score is not None:
        parts.append(f"{now.metric} {now.score:.4f}")
    if now.best is not None:
        parts.append(f"best {now.best:.4f} in epoch {now.best_epoch}")
    if now.images_per_second is not None:
        parts.append(f"{now.images_per_second:,.0f} images/s")
    parts.append(f"{now.memory / 1e9:.1f} GB")
    if now.gpu is not None:
        parts.append(f"GPU {now.gpu / 1e9:.1f} GB")
    return ", ".join(parts)
