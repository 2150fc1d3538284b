"""What a process that trains for others is asked to do, and what it says: plain data, so that any machine reads it.

This module is imported by Dask's workers: it takes no time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from foldpack.errors import FoldpackError

Event = dict[str, Any]
Tell = Callable[[Event], None]
GONE = "its scheduler is gone; what is finished is kept: run the command again"


class ClusterError(FoldpackError):
    """A cluster that cannot be used, or a worker that cannot train what it is asked to."""


class ChildDied(RuntimeError):
    """The process that trained ended without a word: the system has killed it, or it crashed."""


@dataclass(frozen=True)
class Order:
    """One piece of work. Whoever does it twice does no harm: what is finished is kept."""

    name: str  # unique within a command: "clothing_lite0 fold 2", "trial 7"
    do: Literal["check", "fold", "trial"]
    project: str  # the folder that FILE.py and competition.yml are seen from
    data: str
    folds_csv: str
    runs: str
    configs: list[dict[str, Any]]  # check: all that will be trained; else one
    folds: list[int] = field(default_factory=list)  # fold: one; trial: those that it is scored on
    near: bool = True  # the runs are on this machine's disk: decoded images may lie there too
    threads: int = 1  # of torch
    expected: dict[str, Any] = field(default_factory=dict)  # check: what has to be the same there

    def plain(self) -> dict[str, Any]:
        """As JSON takes it."""
        return asdict(self)

    @classmethod
    def read(cls, data: dict[str, Any]) -> Order:
        """What `plain` gave."""
        return cls(**data)

    def on(self, threads: int) -> Order:
        """The same, for a machine with so many threads to spare."""
        return replace(self, threads=threads)


@dataclass(frozen=True)
class Outcome:
    """How an order ended: exactly one of the four is there."""

    result: dict[str, Any] | None = None
    error: str | None = None  # text of a FoldpackError: the user can mend it
    bug: str | None = None  # a traceback
    stopped: bool = False  # nobody wanted it any more

    @classmethod
    def read(cls, data: dict[str, Any]) -> Outcome:
        """What `asdict` gave."""
        return cls(**data)
