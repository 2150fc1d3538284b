"""What the kernel says: lines for people on the screen, decisions for machines in a JSON lines file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

LOG_NAME = "foldpack_log.jsonl"


class RunLog:
    """The log of one run. Each decision is a line `{"t": seconds, "event": ..., ...}` of the file."""

    def __init__(self, elapsed: Callable[[], float], path: Path | None = None) -> None:
        """elapsed: seconds since the start of the process; path: file of the decisions, None: none is kept."""
        self._elapsed = elapsed
        self._path = path
        self.events: list[dict[str, object]] = []

    def say(self, text: str) -> None:
        """One line on the screen, with the seconds since the start."""
        print(f"[{self._elapsed():7.1f} s] {text}", flush=True)

    def note(self, event: str, **facts: object) -> None:
        """One decision: on the screen and in the file. A full disk costs the file's line, nothing else."""
        entry: dict[str, object] = {"t": round(self._elapsed(), 2), "event": event, **facts}
        self.events.append(entry)
        self.say(f"{event}: " + ", ".join(f"{name} {value}" for name, value in facts.items() if value not in ({}, [])))
        if self._path is None:
            return
        try:
            with open(self._path, "a", encoding="utf-8") as file:
                file.write(json.dumps(entry) + "\n")
        except OSError as failure:
            self._path = None
            self.say(f"decisions are no longer written to the file ({failure})")

    def progress(self, done: int, units: int, rows: int, all_rows: int, per_second: float, eta: float, left: float,
                 waiting: float) -> None:
        """How far the run is. per_second: image views; eta, left: seconds; waiting: share of the time for images."""
        share = 100 * rows / max(1, all_rows)
        ready = f"ready in {clock_text(eta)}" if per_second > 0 else "ready in: not measured yet"
        self.say(f"{done}/{units} units, {share:.0f} %, {per_second:.1f} views/s, {ready}, "
                 f"deadline in {clock_text(left)}, {clock_text(left - eta)} to spare, "
                 f"{100 * waiting:.0f} % of the time waiting for images")


def clock_text(seconds: float) -> str:
    """[-]h:mm:ss."""
    whole = int(abs(seconds))
    sign = "-" if seconds <= -1 else ""
    return f"{sign}{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"
