"""A whole list of shards on workers that die or fail: every row is there in the end, and no process is left."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foldpack.data.rows import Rows
from foldpack.engine.deadline import OutOfTime
from foldpack.engine.layout import ColumnKind, Dense
from foldpack.engine.pool import InlinePool, ProcessPool, receive_order
from foldpack.engine.store import UnitStore
from foldpack.engine.work import Shard, ShardDone, ShardFailed, WorkerLost, WorkEvent
from foldpack.errors import FoldpackError

KEYS = ["a" * 40, "b" * 40]


@dataclass
class Counting:
    """Says unit, row and views; does what a row tells it to."""

    device: str = ""
    deadly: str = ""  # a file: whoever removes it dies at row 4
    built: int = -1

    def open(self, device: str) -> None:
        self.device = device

    def load(self, unit: int) -> int:
        if unit == 1 and self.device == "refuses":
            raise FoldpackError("the weights are damaged")
        return unit

    def build(self, unit: int, loaded: Any) -> None:
        assert unit == loaded
        self.built = unit

    def predict(self, unit: int, start: int, stop: int, views: int, check: Any) -> Rows:
        check()
        assert self.built == unit
        if start == 4 and self.deadly:
            try:
                os.unlink(self.deadly)
            except FileNotFoundError:
                pass
            else:
                os.kill(os.getpid(), signal.SIGKILL)
        if start == 6 and self.device == "hangs":
            time.sleep(600)
        if start == 6 and self.device == "bug":
            raise ZeroDivisionError("a bug")
        rows = np.arange(start, stop, dtype=np.float32)
        return Rows({"number": rows + 100 * unit, "views": np.full(stop - start, views, np.float32)})


@pytest.fixture
def store(tmp_path: Path) -> UnitStore:
    made = UnitStore(tmp_path / "units", Dense(8, {name: ColumnKind("float32") for name in ("number", "views")}))
    made.remove_halves()
    for key in KEYS:
        made.begin(key)
    return made


SHARDS = [Shard(unit, start, start + 2, 3) for unit in (0, 1) for start in (0, 2, 4, 6)]


def require_all(store: UnitStore) -> None:
    for unit, key in enumerate(KEYS):
        rows = store.finish(key, keep=True).columns
        assert rows["number"].tolist() == [row + 100 * unit for row in range(8)]
        assert set(rows["views"].tolist()) == {3.0}


def open_pool(predictor: Counting, store: UnitStore, devices: list[str], said: list[str]) -> ProcessPool:
    return ProcessPool(predictor, store, KEYS, devices, "fork", 1, said.append)


def drive(pool: ProcessPool | InlinePool, shards: list[Shard], seconds: float = 60) -> list[WorkEvent]:
    """Hand out shards as an engine does; lost ones again."""
    waiting, out, events = list(shards), 0, []
    until = time.monotonic() + seconds
    while (waiting or out) and time.monotonic() < until:
        while waiting and out < pool.capacity:
            pool.give(waiting.pop(0), None)
            out += 1
        for event in pool.wait(0.2):
            events.append(event)
            lost = event.shards if isinstance(event, WorkerLost) else []
            waiting = [*lost, *waiting]
            out -= len(lost) if isinstance(event, WorkerLost) else 1
    return events


def test_inline_does_one_shard_at_a_time(store: UnitStore) -> None:
    pool = InlinePool(Counting(), store, KEYS, "cpu", lambda: None)
    assert (pool.capacity, pool.devices, pool.wait(0.0)) == (1, 1, [])
    events = drive(pool, SHARDS)
    assert [event.shard for event in events if isinstance(event, ShardDone)] == SHARDS
    require_all(store)
    pool.close()


def test_inline_gives_failures_on_and_lets_the_deadline_through(store: UnitStore) -> None:
    pool = InlinePool(Counting(), store, KEYS, "refuses", lambda: None)
    assert pool.give(SHARDS[4], None) == 0
    (event,) = pool.wait(0)
    assert isinstance(event, ShardFailed) and event.reason == "the weights are damaged"
    assert isinstance(event.failure, FoldpackError)
    pool.close()

    def late() -> None:
        raise OutOfTime("late")

    pool = InlinePool(Counting(), store, KEYS, "cpu", late)
    pool.give(SHARDS[0], None)
    with pytest.raises(OutOfTime):
        pool.wait(0)
    pool.close()


def test_processes_share_the_work_and_give_the_same_rows(store: UnitStore) -> None:
    said: list[str] = []
    pool = open_pool(Counting(), store, ["one", "two"], said)
    try:
        assert (pool.capacity, pool.devices) == (4, 2)
        events = drive(pool, SHARDS)
        done = [event for event in events if isinstance(event, ShardDone)]
        assert sorted(event.shard.start + 10 * event.shard.unit for event in done) == [0, 2, 4, 6, 10, 12, 14, 16]
        assert {event.worker for event in done} == {0, 1} and all(event.seconds >= 0 for event in done)
        require_all(store)
        assert said == []
    finally:
        pool.close()


def test_the_shards_of_a_dead_worker_come_back_and_it_is_started_again(store: UnitStore, tmp_path: Path) -> None:
    deadly = tmp_path / "deadly"
    deadly.touch()
    said: list[str] = []
    pool = open_pool(Counting(deadly=str(deadly)), store, ["one", "two"], said)
    try:
        events = drive(pool, SHARDS)
        (lost,) = [event for event in events if isinstance(event, WorkerLost)]
        assert lost.shards[0].start == 4 and lost.reason == "process ended with code -9"
        assert f"worker {lost.worker} on" in said[0] and "is lost: process ended with code -9; starting it" in said[0]
        require_all(store)
    finally:
        pool.close()


def test_an_error_of_the_work_is_told_with_its_traceback_when_it_is_a_bug(store: UnitStore) -> None:
    for device, shard, words in (("refuses", SHARDS[4], ["the weights are damaged"]),
                                 ("bug", SHARDS[3], ["Traceback", "in predict", "ZeroDivisionError: a bug"])):
        pool = open_pool(Counting(), store, [device], [])
        try:
            (event,) = drive(pool, [shard])
            assert isinstance(event, ShardFailed) and all(word in event.reason for word in words)
            assert len(words) > 1 or event.reason == words[0]
        finally:
            pool.close()


def test_no_process_is_left(store: UnitStore) -> None:
    pool = open_pool(Counting(), store, ["hangs", "two"], [])
    pool.give(SHARDS[3], None)
    pool.wait(0.5)
    started = time.monotonic()
    pool.close()
    assert time.monotonic() - started < 60  # one of them sleeps 600 s
    assert not [process for process in multiprocessing.active_children() if process.name.startswith("worker")]


def test_an_order_is_none_when_the_pipe_has_ended() -> None:
    theirs, orders = multiprocessing.Pipe(duplex=False)
    orders.send("work")
    assert receive_order(theirs) == "work"  # type: ignore[comparison-overlap]
    orders.send(None)
    assert receive_order(theirs) is None
    orders.close()
    assert receive_order(theirs) is None
