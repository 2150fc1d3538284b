"""What a command on a cluster says when its scheduler is gone, others train its runs, or files come late."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from distributed.client import ClosedClientError
from small_house import tiny_config, write_small_folds

from foldpack.competitions.digits_source import write_digits
from foldpack.errors import DataError
from foldpack.settings.run import RunConfig
from foldpack.train.cluster import dask_pool, runs
from foldpack.train.cluster import workers as cluster_workers
from foldpack.train.cluster.dask_pool import DaskPool
from foldpack.train.cluster.orders import ClusterError, Order, Outcome
from foldpack.train.cluster.pool import Pool
from foldpack.train.cluster.runs import ClusterRuns
from foldpack.train.cluster.table import Board
from foldpack.train.load import Where
from foldpack.train.loop.lock import LockedError, RunLock
from foldpack.train.run import RunTrainer, train_run

BLANK = Order("check", "check", ".", "data", "folds.csv", "runs", [])


class Cancelled:
    """A future of a client whose scheduler is gone, or that was cancelled by the command."""

    def cancelled(self) -> bool:
        return True

    def add_done_callback(self, call: Any) -> None:
        self.call = call


class Client:
    """Of a scheduler with one worker, which never answers."""

    def __init__(self) -> None:
        self.futures: list[Cancelled] = []

    def subscribe_topic(self, *given: object) -> None:
        pass

    def submit(self, *given: object, **more: object) -> Cancelled:
        self.futures.append(Cancelled())
        return self.futures[-1]

    def cancel(self, futures: list[Cancelled], **more: object) -> None:
        for future in futures:
            future.call(future)


def pool_of(client: Client, monkeypatch: pytest.MonkeyPatch) -> DaskPool:
    monkeypatch.setattr(DaskPool, "slots", lambda self: 1)
    return DaskPool(client, BLANK, False, print)  # type: ignore[arg-type]


def test_an_order_that_nobody_stopped_is_an_error_once_it_is_cancelled(monkeypatch) -> None:
    client = Client()
    pool = pool_of(client, monkeypatch)
    orders = iter([BLANK])
    monkeypatch.setattr(pool, "listen", lambda tell: client.cancel(client.futures) or Pool.listen(pool, tell))
    with pytest.raises(ClusterError, match="check was broken off: its scheduler is gone; what is finished is kept"):
        list(pool.carry_out(orders, lambda order, event: None))


def test_an_order_that_the_command_stopped_is_none(monkeypatch) -> None:
    client = Client()
    pool = pool_of(client, monkeypatch)
    stopping = [lambda: pool.stop("check")]
    monkeypatch.setattr(pool, "listen", lambda tell: stopping.pop()() or Pool.listen(pool, tell))
    assert list(pool.carry_out(iter([BLANK]), lambda order, event: None)) == [(BLANK, Outcome(stopped=True))]


class Growing(Client):
    """Of a scheduler that gets one worker after the other, whose checks end when they are let."""

    def __init__(self) -> None:
        super().__init__()
        self.workers: dict[str, dict[str, Any]] = {}
        self.gate = threading.Event()
        self.asked: list[str] = []
        self.error: str | None = None

    def scheduler_info(self, n_workers: int) -> dict[str, Any]:
        return {"workers": self.workers}

    def run(self, function: Any, check: dict[str, Any], own: bool, workers: list[str], on_error: str) -> dict[str, Any]:
        self.asked += workers
        assert self.gate.wait(60)
        if self.error is None:
            for address in workers:
                self.workers[address] = {"resources": {check["name"]: 1}}
        outcome = Outcome(result=None if self.error else {}, error=self.error)
        return {address: {**asdict(outcome), "host": "here"} for address in workers}


@pytest.mark.parametrize("error", [None, "it has another foldpack"])
def test_a_worker_that_comes_late_is_tried_while_others_go_on(monkeypatch: pytest.MonkeyPatch, error) -> None:
    monkeypatch.setattr(dask_pool, "LOOK", -1.0)  # look each time
    client, said = Growing(), []
    pool = DaskPool(client, BLANK, False, said.append)  # type: ignore[arg-type]
    client.gate.set()
    client.workers["a"] = {"resources": {}}
    assert pool.slots() == 1
    pool.start(BLANK)
    client.gate.clear()
    client.error = error
    client.workers["b"] = {"resources": {}}
    assert [pool.slots() for _ in range(3)] == [1, 1, 1]  # nobody waits, and nobody is asked twice
    client.gate.set()
    deadline = time.monotonic() + 60
    while pool.trying and time.monotonic() < deadline:
        time.sleep(0.01)
    assert pool.slots() == (2 if error is None else 1) and client.asked == ["a", "b"]
    assert said == ([] if error is None else [f"warning: worker b on here: {error}; it trains nothing"])


def test_a_client_that_is_closed_is_an_error_of_the_cluster(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(cluster_workers, "connected", lambda *given: contextlib.nullcontext())
    monkeypatch.setattr(dask_pool, "DaskPool", lambda *given: Made([]))
    blank = Order("check", "check", ".", "data", "folds.csv", str(tmp_path), [])
    with pytest.raises(ClusterError, match="--cluster tcp://x:1: its scheduler is gone; .* again .closed"), \
            cluster_workers.workers("tcp://x:1", blank, [], Board()):
        raise ClosedClientError("closed")


class Made(Pool):
    """Gives the outcomes that it was told, whatever is asked."""

    def __init__(self, outcomes: list[Outcome]) -> None:
        super().__init__()
        self.outcomes = outcomes

    def slots(self) -> int:
        return 1

    def start(self, order: Order) -> None:
        self.heard.put((order.name, self.outcomes.pop(0)))

    def close(self) -> None:
        pass


DONE = Outcome(result={"kept": True, "lost": []})


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """60 digits in 2 folds. Read only."""
    root = tmp_path_factory.mktemp("lost")
    write_digits(root / "data", root / "answers.csv", 80)
    write_small_folds(root / "data", root / "folds.csv", 2)
    yield root


def quick(run: str, **changes: object) -> RunConfig:
    net = {"arch": "test_vit", "size": 16, "kwargs": {"img_size": 16, "depth": 2}}
    return tiny_config(run, **{"net": net, "epochs": 1, **changes})


def opened(place: Path, tmp_path: Path, *configs: RunConfig) -> ClusterRuns:
    return ClusterRuns(configs, Where(place / "data", place / "folds.csv", tmp_path / "runs"), True, Board())


def test_a_run_that_still_lacks_folds_in_the_end_is_an_error(place: Path, tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="tiny fold 1: not trained; what is finished is kept: run the command again"):
        opened(place, tmp_path, quick("tiny")).train(Made([DONE, Outcome(stopped=True)]))


def test_a_run_that_another_process_trains_is_left_as_it_is(place: Path, tmp_path: Path) -> None:
    train_run(quick("tiny"), place / "data", place / "folds.csv", tmp_path / "runs", lambda line: None)
    folder, pool = tmp_path / "runs/tiny", Made([DONE, DONE])
    before = {path: path.stat().st_mtime_ns for path in folder.glob("[!.]*")}
    other = RunLock(folder, print)
    other.take([1])
    for configs in ([quick("fine"), quick("tiny")], [quick("fine"), quick("tiny", epochs=2)],
                    [quick("tiny", epochs=2, folds=[0])]):
        with pytest.raises(LockedError, match="run 'tiny': fold 1 is being trained by"):
            opened(place, tmp_path, *configs).train(pool)
    assert {path: path.stat().st_mtime_ns for path in folder.glob("[!.]*")} == before and other.held == {1}
    assert not list((tmp_path / "runs/fine").glob("[!.]*"))
    other.free()
    assert [meta.run for meta in opened(place, tmp_path, quick("tiny")).train(pool)] == ["tiny"]  # all was freed


def late(monkeypatch: pytest.MonkeyPatch, times: int) -> list[str]:
    """Files of run `tiny` that this machine does not see at first."""
    looks: list[str] = []

    def finish(self: RunTrainer, folds: list[int]) -> Any:
        looks.append(self.config.run)
        if self.config.run == "tiny" and looks.count("tiny") <= times:
            raise DataError("fold1.oof: cannot be read")
        return self.config.run

    monkeypatch.setattr(runs, "LOOK", 0.01)
    monkeypatch.setattr(RunTrainer, "finish", finish)
    return looks


def test_files_that_come_late_are_waited_for(place: Path, tmp_path: Path, monkeypatch) -> None:
    looks = late(monkeypatch, 3)
    assert opened(place, tmp_path, quick("tiny")).train(Made([DONE, DONE])) == ["tiny"] and len(looks) == 4


def test_files_that_never_come_fail_their_run_only(place: Path, tmp_path: Path, monkeypatch) -> None:
    looks = late(monkeypatch, 10**9)
    monkeypatch.setattr(runs, "SEEN_SECONDS", 0.1)
    with pytest.raises(ClusterError, match="tiny fold 1: fold1.oof: cannot be read"):
        opened(place, tmp_path, quick("tiny"), quick("fine")).train(Made([DONE] * 4))
    assert looks[-1] == "fine"
