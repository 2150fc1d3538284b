"""Killed at any moment and started again: the same rows in the end, and what was whole is not predicted twice."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from virtual_pool import Machine, play

from foldpack.data.rows import Rows
from foldpack.engine.cost import CostModel
from foldpack.engine.deadline import Deadline
from foldpack.engine.engine import Engine, EngineHooks
from foldpack.engine.layout import ColumnKind, Dense, Layout, Ragged
from foldpack.engine.pool import InlinePool
from foldpack.engine.runlog import RunLog
from foldpack.engine.store import UnitStore
from foldpack.engine.work import ShardFailed, UnitWork

ROWS, SHARD_ROWS, VIEWS = 22, 5, 3
UNITS = [UnitWork(f"a/fold{fold}", "a", VIEWS) for fold in range(2)]
KEYS = ["a" * 40, "b" * 40]
LAYOUTS: dict[str, Layout] = {"dense": Dense(ROWS, {"probs": ColumnKind("float32", (2,))}),
                              "ragged": Ragged(ROWS, 12, 9)}


class Killed(BaseException):
    """The end of the process, wherever it is."""


class Mortal:
    """Predicts rows that tell unit, row and views. Its process dies after so many steps."""

    def __init__(self, layout: Layout, steps: float) -> None:
        self.layout, self.left = layout, steps
        self.asked: Counter[tuple[int, int, int]] = Counter()  # unit, first row, views

    def step(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise Killed

    def open(self, device: str) -> None:
        pass

    def load(self, unit: int) -> int:
        return unit

    def build(self, unit: int, loaded: Any) -> None:
        self.step()

    def predict(self, unit: int, start: int, stop: int, views: int, check: Callable[[], None]) -> Rows:
        self.step()
        self.asked[unit, start, views] += 1
        rows = np.arange(start, stop)
        counts = rows % 4 if isinstance(self.layout, Ragged) else np.ones(len(rows), dtype=int)
        each = np.repeat(rows + 100 * unit, counts).astype(np.float32)
        starts = np.concatenate([[0], np.cumsum(counts)]) if isinstance(self.layout, Ragged) else None
        return Rows({"probs": np.stack([each, np.full(len(each), views, np.float32)], axis=1)}, starts,
                    lost=rows == 13)


def process(folder: Path, layout: Layout, steps: float, monkeypatch: pytest.MonkeyPatch, fail: bool = True
            ) -> tuple[Mortal, UnitStore, list[int]]:
    """One process: it takes up what is there, and dies after so many predictions, writes and renames."""
    store = UnitStore(folder / "units", layout)
    store.remove_halves(KEYS)
    mortal = Mortal(layout, steps)
    finished = [unit for unit, key in enumerate(KEYS) if store.finished(key)]
    pool = InlinePool(mortal, store, KEYS, "cpu", lambda: None)

    def failed(event: ShardFailed) -> None:
        if fail:
            raise event.failure or AssertionError(event.reason)
        store.drop(KEYS[event.shard.unit])

    hooks = EngineHooks(begin=lambda unit: store.begin(KEYS[unit]), failed=failed,
                        finish=lambda unit, whole: (finished.append(unit), store.finish(KEYS[unit], whole))[0],
                        rows_ready=lambda rows, seconds: True, images_left=lambda: 0.0)
    deadline = Deadline(1.0, 0.0)
    engine = Engine(UNITS, ROWS, SHARD_ROWS, pool, CostModel({"a": 1e-9}), deadline, hooks, RunLog(deadline.elapsed),
                    set(finished))
    real = {name: getattr(os, name) for name in ("pwrite", "replace", "rename", "fsync", "posix_fallocate")}
    with monkeypatch.context() as patch:
        for name, call in real.items():
            patch.setattr(os, name, lambda *arguments, call=call: (mortal.step(), call(*arguments))[1])
        try:
            engine.run()
        except Killed:
            pass
        finally:
            pool.close()
    return mortal, store, finished


def rows_of(store: UnitStore) -> list[tuple[bytes, ...]]:
    """All that a finished store says, to the last bit."""
    found = [store.read(key) for key in KEYS]
    return [(rows.columns["probs"].tobytes(), rows.lost.tobytes() if rows.lost is not None else b"",
             rows.starts.tobytes() if rows.starts is not None else b"") for rows in found]


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("foldpack.engine.runlog.RunLog.say", lambda self, text: None)


@pytest.mark.parametrize("kind", list(LAYOUTS))
def test_killed_at_every_moment_the_rows_are_the_same_and_no_whole_shard_is_predicted_twice(
        kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = LAYOUTS[kind]
    unbroken, store, _ = process(tmp_path / "whole", layout, float("inf"), monkeypatch)
    wanted, steps = rows_of(store), int(1e6)
    moments = 0
    while True:
        folder = tmp_path / f"killed{moments}"
        first, left, _ = process(folder, layout, moments, monkeypatch)
        there = {unit: np.ones(ROWS) if left.finished(key) else left.begin(key).views for unit, key in enumerate(KEYS)
                 if left.finished(key) or left.part(key).exists()}
        second, store, _ = process(folder, layout, steps, monkeypatch)
        assert rows_of(store) == wanted
        twice = {(unit, start) for unit, start, _ in first.asked} & {(unit, start) for unit, start, _ in second.asked}
        whole = {(unit, start) for unit, start in twice if there[unit][start : start + SHARD_ROWS].all()}
        assert not whole and len(twice) <= 1  # only the one that was cut off
        assert set(first.asked) | set(second.asked) == set(unbroken.asked)
        if first.left >= 0:
            break
        moments += 1
    assert moments > 50


def test_rows_of_fewer_views_are_not_taken_for_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unbroken, store, _ = process(tmp_path / "whole", LAYOUTS["dense"], float("inf"), monkeypatch)
    wanted = rows_of(store)
    with monkeypatch.context() as patch:  # a process that has only time for one view in its first two shards
        given: list[int] = []
        real = Engine.next_shard

        def fewer(self: Engine, state: Any, todo: Any) -> Any:
            given.append(state.index)
            state.views = 1 if len(given) <= 2 else VIEWS
            return real(self, state, todo)

        patch.setattr(Engine, "next_shard", fewer)
        first, store, finished = process(tmp_path / "hurried", LAYOUTS["dense"], float("inf"), monkeypatch)
    assert finished == [0, 1] and not store.finished(KEYS[0]) and store.finished(KEYS[1])
    second, store, _ = process(tmp_path / "hurried", LAYOUTS["dense"], float("inf"), monkeypatch)
    assert rows_of(store) == wanted
    assert dict(second.asked) == {(0, 0, VIEWS): 1, (0, 5, VIEWS): 1}


def test_a_unit_that_lacks_only_its_name_is_finished_without_a_prediction() -> None:
    """Killed between the last row and the end of the unit."""
    outcome = play(Machine(lambda run, now: 0.01), UNITS, {"a": 0.01}, rows=ROWS, there={0: [VIEWS] * ROWS})
    assert outcome.finished == [0, 1] and {unit for unit, _ in outcome.pool.answered} == {1}
    assert outcome.whole == {0: True, 1: True}


@pytest.mark.parametrize("inline", [True, False])
def test_the_rest_of_a_half_is_all_that_is_paid_for(inline: bool) -> None:
    there = {0: [VIEWS] * 600 + [1] * 100}
    outcome = play(Machine(lambda run, now: 0.01), UNITS, {"a": 0.01}, there=there, inline=inline, hours=1.0)
    assert sorted(outcome.finished) == [0, 1] and all(outcome.whole.values())
    rows = sum(min(64, 1000 - start) for unit, start in outcome.pool.answered if unit == 0)
    assert rows == 1000 - 576  # whole shards of 64 rows
    taken = [event for event in outcome.events if event["event"] == "unit taken up"]
    assert [(event["unit"], event["rows"]) for event in taken] == [("a/fold0", 576)]


def test_a_full_disk_costs_the_unit_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = UnitStore.write, [0]

    def write(self: UnitStore, *arguments: Any) -> None:
        calls[0] += 1
        if calls[0] == 3:
            raise OSError(28, "No space left on device")
        real(self, *arguments)

    monkeypatch.setattr(UnitStore, "write", write)
    _, store, finished = process(tmp_path, LAYOUTS["dense"], float("inf"), monkeypatch, fail=False)
    assert finished == [1] and store.finished(KEYS[1]) and not store.part(KEYS[0]).exists()


def test_no_rows_are_no_work() -> None:
    """An engine without rows would turn until the deadline."""
    outcome = play(Machine(lambda run, now: 0.01), UNITS, {"a": 0.01}, rows=0)
    assert outcome.finished == [] and outcome.ended == 0
