"""Workers in processes: what they answer, who is lost, and who is left out."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foldpack.data.rows import Rows
from foldpack.engine import pool as pools
from foldpack.engine.deadline import OutOfTime
from foldpack.engine.layout import ColumnKind, Dense
from foldpack.engine.pool import MAX_STARTS, InlinePool, ProcessPool
from foldpack.engine.store import UnitStore
from foldpack.engine.work import Shard, ShardDone, ShardFailed, WorkerLost, WorkEvent, WorkPool
from foldpack.errors import FoldpackError

ROWS = 12


@dataclass
class Numbers:
    """Predicts 100 * unit + row; some devices and units misbehave."""

    bad_device: str = ""
    device: str = ""
    built: int = -1

    def open(self, device: str) -> None:
        if device == self.bad_device:
            raise RuntimeError("no kernel image")
        self.device = device

    def load(self, unit: int) -> Any:
        return unit

    def build(self, unit: int, loaded: Any) -> None:
        assert loaded == unit
        self.built = unit

    def predict(self, unit: int, start: int, stop: int, views: int, check: Callable[[], None]) -> Rows:
        check()
        if unit == 7:
            raise FoldpackError("unit 7 is damaged")
        if unit == 6:
            raise RuntimeError("device-side assert")
        if unit == 8:
            os.kill(os.getpid(), signal.SIGKILL)
        if unit == 9:
            time.sleep(600)
        return Rows({"number": 100 * unit + np.arange(start, stop, dtype=np.float32)})


def make_store(folder: Path) -> UnitStore:
    store = UnitStore(folder, Dense(ROWS, {"number": ColumnKind("float32")}))
    store.remove_halves()
    for unit in range(10):
        store.begin(f"u{unit}")
    return store


KEYS = [f"u{unit}" for unit in range(10)]


def collect(pool: WorkPool, count: int, seconds: float = 60.0) -> list[WorkEvent]:
    events: list[WorkEvent] = []
    until = time.monotonic() + seconds
    while len(events) < count and time.monotonic() < until:
        events += pool.wait(0.5)
    return events


@pytest.mark.parametrize("kind", ["inline", "fork"])
def test_shards_end_in_the_store(tmp_path: Path, kind: str) -> None:
    store = make_store(tmp_path)
    pool: WorkPool = (InlinePool(Numbers(), store, KEYS, "cpu", lambda: None) if kind == "inline" else
                      ProcessPool(Numbers(), store, KEYS, ["cpu", "cpu"], "fork", 1, lambda text: None))
    try:
        shards = [Shard(unit, start, start + 4, 1) for unit in (0, 1) for start in (0, 4, 8)]
        for shard in shards:
            pool.give(shard, None)
        events = collect(pool, len(shards))
    finally:
        pool.close()
    assert sorted((event.shard.unit, event.shard.start) for event in events if isinstance(event, ShardDone)) == \
        [(shard.unit, shard.start) for shard in shards]
    for unit in (0, 1):
        rows = store.finish(f"u{unit}", keep=True)
        assert rows.columns["number"].tolist() == [100 * unit + row for row in range(ROWS)]


@pytest.mark.parametrize("kind", ["inline", "fork"])
def test_a_damaged_unit_is_a_failure_with_its_reason(tmp_path: Path, kind: str) -> None:
    store = make_store(tmp_path)
    pool: WorkPool = (InlinePool(Numbers(), store, KEYS, "cpu", lambda: None) if kind == "inline" else
                      ProcessPool(Numbers(), store, KEYS, ["cpu"], "fork", 1, lambda text: None))
    try:
        pool.give(Shard(7, 0, 4, 1), None)
        [event] = collect(pool, 1)
    finally:
        pool.close()
    assert isinstance(event, ShardFailed) and event.reason == "unit 7 is damaged"


@pytest.mark.parametrize("kind", ["inline", "fork"])
def test_an_error_that_nobody_foresaw_costs_its_unit_and_shows_its_traceback(tmp_path: Path, kind: str) -> None:
    store = make_store(tmp_path)
    pool: WorkPool = (InlinePool(Numbers(), store, KEYS, "cpu", lambda: None) if kind == "inline" else
                      ProcessPool(Numbers(), store, KEYS, ["cpu"], "fork", 1, lambda text: None))
    try:
        pool.give(Shard(6, 0, 4, 1), None)
        [event] = collect(pool, 1)
        pool.give(Shard(0, 0, 4, 1), None)
        [done] = collect(pool, 1)
    finally:
        pool.close()
    assert isinstance(event, ShardFailed) and "test_pool.py" in event.reason
    assert event.reason.endswith("RuntimeError: device-side assert") and isinstance(done, ShardDone)


def test_the_deadline_inside_a_shard_is_no_failure(tmp_path: Path) -> None:
    def late() -> None:
        raise OutOfTime

    pool = InlinePool(Numbers(), make_store(tmp_path), KEYS, "cpu", late)
    pool.give(Shard(0, 0, 4, 1), None)
    with pytest.raises(OutOfTime):
        pool.wait(0.0)
    pool.close()


def test_a_killed_worker_gives_its_shards_back_and_is_started_again(tmp_path: Path) -> None:
    said: list[str] = []
    pool = ProcessPool(Numbers(), make_store(tmp_path), KEYS, ["cpu"], "fork", 1, said.append)
    try:
        pool.give(Shard(8, 0, 4, 1), None)
        pool.give(Shard(0, 0, 4, 1), None)
        [lost] = collect(pool, 1)
        assert isinstance(lost, WorkerLost) and lost.shards == [Shard(8, 0, 4, 1), Shard(0, 0, 4, 1)]
        assert lost.reason == "process ended with code -9"
        pool.give(Shard(0, 0, 4, 1), None)
        [done] = collect(pool, 1)
        assert isinstance(done, ShardDone) and done.shard == Shard(0, 0, 4, 1)
    finally:
        pool.close()
    assert said == ["worker 0 on cpu is lost: process ended with code -9; starting it again"]


def test_a_worker_whose_device_an_error_has_ended_is_started_again(tmp_path: Path,
                                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    """An illegal access ends a GPU for the whole process; the next units must not fail with it."""
    assert pools.device_answers("cpu")
    monkeypatch.setattr(pools, "device_answers", lambda device: False)
    pool = ProcessPool(Numbers(), make_store(tmp_path), KEYS, ["cpu"], "fork", 1, lambda text: None)
    try:
        pool.give(Shard(6, 0, 4, 1), None)
        failed, lost = collect(pool, 2)
        assert isinstance(failed, ShardFailed) and isinstance(lost, WorkerLost) and lost.shards == []
        pool.give(Shard(0, 0, 4, 1), None)
        [done] = collect(pool, 1)
        assert isinstance(done, ShardDone)
    finally:
        pool.close()


def test_a_worker_that_hangs_is_ended(tmp_path: Path) -> None:
    pool = ProcessPool(Numbers(), make_store(tmp_path), KEYS, ["cpu"], "fork", 1, lambda text: None)
    try:
        pool.give(Shard(9, 0, 4, 1), None)
        assert pool.wait(1.0) == []
        pool.recover(Shard(9, 0, 4, 1))
        [lost] = collect(pool, 1)
    finally:
        pool.close()
    assert isinstance(lost, WorkerLost) and lost.reason == "no answer for rows 0 to 4 in time"


def test_a_device_that_does_not_work_is_left_out(tmp_path: Path) -> None:
    said: list[str] = []
    pool = ProcessPool(Numbers(bad_device="cuda:1"), make_store(tmp_path), KEYS, ["cpu", "cuda:1"], "fork", 1,
                       said.append)
    try:
        [lost] = collect(pool, 1)
        assert isinstance(lost, WorkerLost) and "RuntimeError: no kernel image" in lost.reason
        assert (pool.devices, pool.capacity) == (1, 2) and said[0].endswith("going on without it")
        pool.give(Shard(0, 0, 4, 1), None)
        [done] = collect(pool, 1)
        assert isinstance(done, ShardDone) and done.worker == 0
    finally:
        pool.close()


def test_when_no_worker_is_left_it_is_an_error(tmp_path: Path) -> None:
    pool = ProcessPool(Numbers(bad_device="cpu"), make_store(tmp_path), KEYS, ["cpu"], "fork", 1, lambda text: None)
    try:
        with pytest.raises(FoldpackError, match="no worker is left, the last one on cpu: the device cannot be used"):
            collect(pool, 1)
    finally:
        pool.close()


def test_a_worker_that_dies_again_and_again_is_left_out(tmp_path: Path) -> None:
    pool = ProcessPool(Numbers(), make_store(tmp_path), KEYS, ["cpu"], "fork", 1, lambda text: None)
    try:
        for _ in range(MAX_STARTS - 1):
            pool.give(Shard(8, 0, 4, 1), None)
            [lost] = collect(pool, 1)
            assert isinstance(lost, WorkerLost)
        pool.give(Shard(8, 0, 4, 1), None)
        with pytest.raises(FoldpackError, match="no worker is left"):
            collect(pool, 1)
    finally:
        pool.close()
