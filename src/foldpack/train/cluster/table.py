"""What runs where: a table on a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table

from foldpack.train.cluster.orders import Event, Order, Outcome

SPARE_LINES = 6  # of a terminal, that the table leaves free


@dataclass
class Row:
    """How one order stands."""

    state: str = "waiting"
    worker: str = ""
    epoch: int | None = None
    epochs: int = 0
    score: float | None = None
    left: float | None = None  # seconds
    begun: int = 0  # how often
    ended: bool = False


class Board:
    """All orders of a command. Use it as a context."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console()
        self.rows: dict[str, Row] = {}
        self.said: set[str] = set()
        shown = self.console.is_terminal and not self.console.is_dumb_terminal
        self.live = Live(console=self.console, auto_refresh=False) if shown else None

    def say(self, line: str) -> None:
        """A line of text, above the table."""
        self.said.add(line)
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def expect(self, names: Iterable[str]) -> None:
        """These orders will come."""
        self.rows |= {name: Row() for name in names}
        self.draw()

    def event(self, order: Order, event: Event) -> None:
        """A worker has said something of an order."""
        row = self.rows.setdefault(order.name, Row())
        if "worker" in event:
            row.worker = f"{event['host']} {event['worker'].rpartition(':')[2]}"
        if "begins" in event:
            self.begin(order, row)
        if "say" in event and event["say"].startswith("warning") and event["say"] not in self.said:
            self.say(event["say"])
        if "resumed" in event.get("entry", {}):
            self.say(f"{order.name}: goes on in epoch {event['entry']['resumed']}")
        if "epoch" in event.get("entry", {}):
            self.end_epoch(order, row, event["entry"])
        self.draw()

    def begin(self, order: Order, row: Row) -> None:
        """A worker has taken an order up."""
        row.begun += 1
        row.state, row.epoch = "begins", None
        if self.live is None or row.begun > 1:
            self.say(f"{order.name}: " + ("begins on" if row.begun == 1 else "its worker is gone, taken up by")
                     + f" {row.worker}")

    def end_epoch(self, order: Order, row: Row, entry: Event) -> None:
        """An epoch is done."""
        row.state, row.epoch, row.epochs = "trains", entry["epoch"], entry["epoch"] + 1 + entry["left"]
        row.left = entry["left"] * entry["seconds"]
        score = ""
        if "score" in entry:
            row.score = entry["score"]
            score = f", {order.configs[0]['metric']} {row.score:.4f}"
        if self.live is None:
            fold = "" if order.do == "fold" else f" fold {entry['fold']}"
            worker = f", on {row.worker}" if row.worker else ""
            self.say(f"{order.name}{fold} epoch {entry['epoch']}: lr {entry['lr']:.3g}, loss {entry['loss']:.4f}"
                     f"{score}, {entry['seconds']} s, epochs to go: {entry['left']}{worker}")

    def ended(self, order: Order, outcome: Outcome, state: str = "") -> None:
        """An order has an outcome. state: what the table says of it, where there is more to say."""
        row = self.rows.setdefault(order.name, Row())
        row.ended, row.left = True, None
        row.state = state or ("stopped" if outcome.stopped else "finished" if outcome.result is not None else "failed")
        self.draw()

    def left(self) -> float | None:
        """Seconds to go, guessed from those orders that are in work, over as many workers; None: nothing is known."""
        working = [row.left for row in self.rows.values() if row.left is not None]
        if not working:
            return None
        waiting = sum(row.state == "waiting" for row in self.rows.values())
        epoch = [row.left / max(1, row.epochs - 1 - (row.epoch or 0)) * row.epochs for row in self.rows.values()
                 if row.left]
        whole = max(epoch, default=0.0)
        return max(working) + whole * -(-waiting // len(working))

    def table(self) -> Table:
        """All rows that there is room for: those that are done go first."""
        table = Table(box=None, pad_edge=False)
        for name in ("", "state", "epoch", "score", "worker", "left"):
            table.add_column(name, no_wrap=True)
        room = max(4, self.console.height - SPARE_LINES)
        shown = sorted(self.rows.items(), key=lambda item: (item[1].ended, item[1].state == "waiting"))[:room]
        for name, row in shown:
            table.add_row(name, row.state, "" if row.epoch is None else f"{row.epoch + 1} of {row.epochs}",
                          "" if row.score is None else f"{row.score:.4f}", row.worker, clock(row.left))
        done, left = sum(row.ended for row in self.rows.values()), self.left()
        table.caption = f"{done} of {len(self.rows)} done" + ("" if left is None else f", about {clock(left)} left")
        return table

    def draw(self) -> None:
        """Show the table as it stands, on a terminal."""
        if self.live is not None:
            self.live.update(self.table(), refresh=True)

    def __enter__(self) -> Self:
        if self.live is not None:
            self.live.start()
        return self

    def __exit__(self, *failure: object) -> None:
        if self.live is not None:
            self.live.stop()


def clock(seconds: float | None) -> str:
    """`0:01:10`."""
    return "" if seconds is None else str(timedelta(seconds=round(seconds)))
