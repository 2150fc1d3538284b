"""The loop above all workers: hands out parts of units, measures, plans again, and stops before the deadline.

It knows nothing of images and networks; `engine.pool` has the workers, and `clock`s and pools can be made up in tests.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from foldpack.engine.cost import CostModel
from foldpack.engine.deadline import Deadline, OutOfTime
from foldpack.engine.runlog import RunLog
from foldpack.engine.schedule import Remaining, choose_views, cost_of
from foldpack.engine.work import (
    Begun,
    Shard,
    ShardDone,
    ShardFailed,
    UnitWork,
    WorkerLost,
    WorkEvent,
    WorkPool,
    failure_reason,
)
from foldpack.errors import FoldpackError

REPLAN_SECONDS = 60.0
PROGRESS_SECONDS = 10.0
PLANNED_SHARE = 0.98  # of the time left: a unit that is not quite done at the deadline is lost
HANG_FACTOR = 20.0  # a shard that takes so many times as long as expected hangs
HANG_SECONDS = 120.0  # but none does so sooner
UNKNOWN_SHARE = 0.1  # of all the time: how long a shard may take while nothing has been measured on this machine
WARM_SHARE = 0.05  # of the time left: a second measurement is awaited where it costs no more
WAIT_SECONDS = 1.0
NOBODY = -1  # worker of a unit that failed before any worker had it
MAX_LOSSES = 3  # workers that one shard may cost


class UnitError(FoldpackError):
    """A unit that cannot be predicted."""


@dataclass
class UnitState:
    """How far a unit is."""

    index: int
    work: UnitWork
    views: int  # planned now; 0: left out
    todo: deque[tuple[int, int]] | None = None  # rows of the next shards; None: not begun
    first_row: int = 0  # that this process predicts
    given: bool = False  # a worker has had a shard of it
    rows_done: int = 0
    returned: list[Shard] = field(default_factory=list)  # of workers that were lost
    out: int = 0  # shards that workers have
    reduced: bool = False  # some rows had fewer than all views
    failed: bool = False


@dataclass(frozen=True)
class EngineHooks:
    """What the engine asks of its owner."""

    begin: Callable[[int], Begun]  # make room for the unit's rows
    finish: Callable[[int, bool], None]  # all rows of the unit are in the store; True: with all views
    failed: Callable[[ShardFailed], None]  # raises, or lets the engine go on without the unit
    rows_ready: Callable[[int, float], bool]  # wait at most so many seconds until the first rows are decoded
    images_left: Callable[[], float]  # seconds until the last row is decoded, as far as known


class Engine:
    """One run over the units of a plan."""

    def __init__(self, units: list[UnitWork], rows: int, shard_rows: int, pool: WorkPool, costs: CostModel,
                 deadline: Deadline, hooks: EngineHooks, log: RunLog, done: set[int] | None = None) -> None:
        """rows: of every unit; shard_rows: of one shard; done: units that an earlier process has finished."""
        self.rows = rows
        self.shard_rows = shard_rows
        self.pool = pool
        self.costs = costs
        self.deadline = deadline
        self.hooks = hooks
        self.log = log
        self.finished = set(done or ())
        self.units = [UnitState(index, work, work.views) for index, work in enumerate(units)]
        self.given: dict[Shard, int] = {}  # shard -> worker, in the order of giving
        self.busy_since: dict[int, float] = {}  # worker -> when it began with its oldest shard
        self.losses: dict[tuple[int, int], int] = {}
        self.waited_for_images = 0.0
        self.image_views = 0
        self.started = deadline.elapsed()
        self._planned_at = self._told_at = -1e9
        self._short: dict[str, int] = {}  # units that get fewer views, as it was said last
        self._noted = False

    def run(self) -> None:
        """Work until all planned units are finished or the deadline has come. Raises what `hooks.failed` raises."""
        while self.rows and self.open_units():
            if self.deadline.left() <= 0:
                self.log.note("deadline", left_out=[state.work.role for state in self.open_units()])
                return
            self.plan_again()
            if not self.given and not any(state.views for state in self.open_units()):
                self.log.note("nothing fits", left=round(self.deadline.left(), 1))
                return
            self.give()
            for event in self.pool.wait(self.patience()):
                self.take(event)
            self.end_hanging()
            self.tell()

    def open_units(self) -> list[UnitState]:
        """Units that could still be finished, in the plan's order."""
        return [state for state in self.units if state.index not in self.finished and not state.failed]

    def remaining(self) -> list[Remaining]:
        """What is left to do of every open unit, in seconds of all devices together."""
        left = []
        for state in self.open_units():
            rows = self.rows - state.rows_done
            seconds = self.costs.seconds(state.work.run) * rows / self.pool.devices
            load = (0.0 if state.given else self.costs.load_seconds()) + self.costs.finish_seconds()
            left.append(Remaining(state.index, state.work.run, state.work.views, seconds, load, state.work.view_costs))
        return left

    def expected_seconds(self) -> float:
        """How long the planned work will still take."""
        planned = [(each, self.units[each.index].views) for each in self.remaining() if self.units[each.index].views]
        work = sum(cost_of(each, views) for each, views in planned)
        return work + self.idle_seconds(planned[0][0].seconds(planned[0][1]) if planned else 0.0)

    def idle_seconds(self, first: float) -> float:
        """How long the devices will wait for images: the first unit, of so many seconds, cannot be faster than they."""
        return max(0.0, self.hooks.images_left() - first)

    def plan_again(self) -> None:
        """Fit the work into the time that is left; at the start, after every unit, and once a minute."""
        now = self.deadline.elapsed()
        if now - self._planned_at < REPLAN_SECONDS:
            return
        self._planned_at = now
        present = {state.work.run for state in self.units if state.index in self.finished}
        chosen = self.choose(present)
        for index, views in chosen.items():
            self.units[index].views = views
        short = {self.units[index].work.role: views for index, views in chosen.items()
                 if views < self.units[index].work.views}
        if short != self._short or not self._noted:
            self._short, self._noted = short, True
            self.log.note("plan", units=len(chosen), fewer_views=short, expected=round(self.expected_seconds(), 1),
                          left=round(self.deadline.left(), 1), device_factor=round(self.costs.factor, 3))

    def choose(self, present: set[str]) -> dict[int, int]:
        """Views of every open unit. Before anything was measured here all: the figures are those of another machine."""
        remaining = self.remaining()
        if not remaining or not self.costs.any_measured() or self.warming_up(remaining[0]):
            return {each.index: each.views for each in remaining}
        idle = self.idle_seconds(remaining[0].seconds(remaining[0].views))
        chosen = choose_views(remaining, self.deadline.left() * PLANNED_SHARE - idle, present)
        return chosen if any(chosen.values()) else {**chosen, **self.last_hope(remaining)}

    def warming_up(self, first: Remaining) -> bool:
        """Whether all that was measured is one shard, which pays for warming up, and there is time for another."""
        views = self.units[first.index].work.cost(first.views)
        shard = self.costs.seconds(first.run) * views * min(self.shard_rows, self.rows)
        return not self.costs.any_settled() and shard < WARM_SHARE * self.deadline.left()

    def last_hope(self, remaining: list[Remaining]) -> dict[int, int]:
        """One view of a unit that fits at the best speed seen here: it costs nothing to try, and a slow moment must
        not end the run for good."""
        for each in remaining:
            quick = each.seconds(1) * self.costs.quick_share(each.run)
            if each.load_seconds + quick <= self.deadline.left():
                return {each.index: 1}
        return {}

    def give(self) -> None:
        """Keep every worker busy, in the plan's order."""
        while len(self.given) < self.pool.capacity:
            state = next((each for each in self.open_units() if each.views and self.has_shard(each)), None)
            if state is None:
                return
            if state.todo is None:
                self.begin(state)
                continue
            shard = self.next_shard(state, state.todo)
            if not self.images_are_there(shard):
                state.returned.append(shard)
                return
            state.reduced |= shard.views < state.work.views
            state.given = True
            state.out += 1
            worker = self.pool.give(shard, self.following(state))
            if worker not in self.given.values():
                self.busy_since[worker] = self.deadline.elapsed()
            self.given[shard] = worker

    def begin(self, state: UnitState) -> None:
        """Let the owner begin a unit, and cut what is not there yet into shards. They are cut alike in every process,
        so that a shard has the same bits whoever predicts it."""
        try:
            there = self.hooks.begin(state.index).views >= state.work.views
        except Exception as failure:
            state.todo = deque()
            return self.fail(ShardFailed(Shard(state.index, 0, 0, 0), NOBODY, failure_reason(failure), failure))
        cuts = [(start, min(self.rows, start + self.shard_rows)) for start in range(0, self.rows, self.shard_rows)]
        state.todo = deque((start, stop) for start, stop in cuts if not there[start:stop].all())
        state.rows_done = self.rows - sum(stop - start for start, stop in state.todo)
        state.first_row = state.todo[0][0] if state.todo else 0
        if state.rows_done:
            self.log.note("unit taken up", unit=state.work.role, rows=state.rows_done)
        if not state.todo:
            self.finish(state)

    def has_shard(self, state: UnitState) -> bool:
        """Whether some rows of a unit have not been handed out."""
        return bool(state.returned or state.todo) or state.todo is None

    def next_shard(self, state: UnitState, todo: deque[tuple[int, int]]) -> Shard:
        """Take the next rows of a unit."""
        if state.returned:
            shard = state.returned.pop(0)
            return Shard(shard.unit, shard.start, shard.stop, state.views)
        return Shard(state.index, *todo.popleft(), state.views)

    def images_are_there(self, shard: Shard) -> bool:
        """Wait a moment for the images of a shard, unless workers are busy anyway."""
        started = self.deadline.elapsed()
        ready = self.hooks.rows_ready(shard.stop, 0.0 if self.given else WAIT_SECONDS)
        self.waited_for_images += self.deadline.elapsed() - started
        return ready

    def following(self, state: UnitState) -> int | None:
        """The unit that comes after this one."""
        return next((each.index for each in self.open_units() if each.index > state.index and each.views), None)

    def patience(self) -> float:
        """Seconds to wait for news; none when there is nothing to wait for."""
        if not self.given:
            return 0.0
        return max(0.0, min(WAIT_SECONDS, self.deadline.left()))

    def take(self, event: WorkEvent) -> None:
        """Something happened to a worker."""
        if isinstance(event, WorkerLost):
            self.take_back(event)
            return
        self.given.pop(event.shard, None)
        self.busy_since[event.worker] = self.deadline.elapsed()
        state = self.units[event.shard.unit]
        state.out -= 1
        if isinstance(event, ShardFailed):
            self.fail(event)
        else:
            self.count(event, state)

    def count(self, event: ShardDone, state: UnitState) -> None:
        """Some rows are done."""
        shard = event.shard
        self.costs.measure(state.work.run, shard.stop - shard.start, state.work.cost(shard.views), event.seconds)
        if event.load_seconds > 0 and shard.start == state.first_row:
            self.costs.measure_load(event.load_seconds)
        state.rows_done += shard.stop - shard.start
        self.image_views += (shard.stop - shard.start) * shard.views
        if self.costs.fresh(state.work.run) or self.expected_seconds() > self.deadline.left():
            self._planned_at = -1e9
        if state.rows_done == self.rows and not state.failed:
            self.finish(state, event.worker)

    def finish(self, state: UnitState, worker: int = NOBODY) -> None:
        """All rows of a unit are there. What goes wrong in blending it or handing it in costs this unit."""
        started = self.deadline.elapsed()
        self.finished.add(state.index)
        try:
            self.hooks.finish(state.index, not state.reduced)
        except OutOfTime:
            raise
        except Exception as failure:
            self.finished.discard(state.index)
            whole = Shard(state.index, 0, self.rows, state.views)
            self.fail(ShardFailed(whole, worker, failure_reason(failure), failure))
        self.costs.measure_finish(self.deadline.elapsed() - started)
        self._planned_at = -1e9

    def fail(self, event: ShardFailed) -> None:
        """A unit cannot be predicted: the owner decides whether the others go on."""
        state = self.units[event.shard.unit]
        first, state.failed = not state.failed, True
        self._planned_at = -1e9
        if first:
            self.log.note("unit failed", unit=state.work.role, reason=event.reason)
            self.hooks.failed(event)

    def take_back(self, event: WorkerLost) -> None:
        """A worker is gone: its shards go back, unless one of them has cost too many workers already."""
        self.log.note("worker lost", worker=event.worker, reason=event.reason, shards=len(event.shards))
        for shard in event.shards:  # the oldest is the one in work; the others only waited for it
            self.given.pop(shard, None)
            state = self.units[shard.unit]
            state.out -= 1
            state.returned.append(shard)
            place = shard.unit, shard.start
            self.losses[place] = self.losses.get(place, 0) + (shard is event.shards[0])
            if self.losses[place] >= MAX_LOSSES:
                reason = f"{self.losses[place]} workers were lost at rows {shard.start} to {shard.stop}: {event.reason}"
                self.fail(ShardFailed(shard, event.worker, reason))

    def end_hanging(self) -> None:
        """A shard that takes far longer than it should: its worker is ended."""
        now = self.deadline.elapsed()
        in_work = {worker: shard for shard, worker in reversed(self.given.items())}  # the oldest of each worker
        for worker, shard in in_work.items():
            if now - self.busy_since[worker] > self.hang_seconds(shard):
                self.pool.recover(shard)

    def hang_seconds(self, shard: Shard) -> float:
        """A shard that is not done after so long hangs. Twice as long for each worker that it has cost."""
        work, rows = self.units[shard.unit].work, shard.stop - shard.start
        expected = self.costs.slow_seconds(work.run) * work.cost(shard.views) * rows + self.costs.load_seconds()
        limit = max(HANG_SECONDS, HANG_FACTOR * expected)
        if not self.costs.any_measured():  # this machine may be far slower than the one of the spec
            limit = max(limit, UNKNOWN_SHARE * (self.deadline.elapsed() + self.deadline.left()))
        return limit * 2 ** self.losses.get((shard.unit, shard.start), 0)

    def tell(self) -> None:
        """A progress line now and then."""
        now = self.deadline.elapsed()
        if now - self._told_at < PROGRESS_SECONDS:
            return
        self._told_at = now
        planned = [state for state in self.units if state.views or state.index in self.finished]
        spent = max(now - self.started, 1e-9)
        expected = self.expected_seconds()
        self.log.progress(done=len(self.finished), units=len(planned),
                          rows=sum(state.rows_done for state in planned) + self.rows * self.earlier(),
                          all_rows=self.rows * len(planned), per_second=self.image_views / spent, eta=expected,
                          left=self.deadline.left(), waiting=self.waited_for_images / spent)

    def earlier(self) -> int:
        """Units that an earlier process has finished."""
        return sum(state.index in self.finished and state.rows_done == 0 for state in self.units)
