"""The child that trains: it dies with whoever asked, can be stopped, and what `--cluster` says is read before."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from small_house import tiny_config

from foldpack.errors import FoldpackError
from foldpack.train.cluster.connect import gpus_of, own_cores, read_cluster, threads_of
from foldpack.train.cluster.orders import ClusterError, Order
from foldpack.train.cluster.versions import code_digests, program_versions
from foldpack.train.cluster.work import check
from foldpack.train.cluster.zygote import Lines


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("locla:2", r"--cluster locla:2: allowed: local:N \(N workers on this machine\), tcp://HOST:PORT of a schedul"),
        ("local:0", "--cluster local:0: allowed: local:N"),
        ("none.yml", "none.yml: cannot read it"),
        ("cluster: dask_slurm.SLURMCluster\nscale: 2\n",
         r"cluster: dask_slurm.SLURMCluster cannot be imported \(No module named 'dask_slurm'\); install it, as with "
         "pip install dask-slurm"),
        ("cluster: distributed.LocalClutser\nscale: 2\n",
         "distributed has no 'LocalClutser': did you mean 'LocalCluster'"),
        ("cluster: SLURMCluster\nscale: 2\n", "cluster: string should match pattern"),
        ("cluster: distributed.LocalCluster\nscale: 2\nkwargs: {}\nworkers: 2\n", "unknown key 'workers'"),
        ("cluster: distributed.LocalCluster\n", "key 'scale' is missing"),
    ],
)
def test_a_cluster_that_cannot_be_is_an_error_before_anything_starts(tmp_path: Path, text: str, message: str) -> None:
    if "\n" in text:
        (tmp_path / "cluster.yml").write_text(text)
        text = str(tmp_path / "cluster.yml")
    with pytest.raises(FoldpackError, match=message):
        read_cluster(text)


def test_without_dask_the_error_says_what_to_install(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ClusterError, match=r"local:2 needs Dask; install it: pip install 'foldpack\[cluster\]', or"):
        read_cluster("local:2")


@pytest.mark.parametrize(
    ("workers", "visible", "told", "names"),
    [(2, 0, None, [None, None]), (2, 2, None, ["0", "1"]), (3, 2, None, ["0", "1", "0"]),
     (2, 2, "5,3", ["5", "3"]), (2, 1, "GPU-a1", ["GPU-a1", "GPU-a1"])])
def test_each_worker_gets_a_gpu_in_turn(workers, visible, told, names) -> None:
    assert gpus_of(workers, visible, told) == names


def test_workers_share_the_cores_and_omp_num_threads_is_the_most(monkeypatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert threads_of(1) == own_cores() and threads_of(10 * own_cores()) == 1
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert threads_of(1) == 1


def expected(tmp_path: Path, **changes: object) -> Order:
    """A check that would pass, but for the changes."""
    (tmp_path / "token").touch()
    (tmp_path / "folds.csv").touch()
    (tmp_path / "network.py").write_text("net = 1\n")
    order = Order("check", "check", str(tmp_path), str(tmp_path), str(tmp_path / "folds.csv"), str(tmp_path), [],
                  expected={"versions": program_versions(), "token": "token", "digests": {}})
    return Order.read({**order.plain(), **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, None),
        ({"data": "/nowhere"}, "cannot see the data folder /nowhere; mount it there under the same path"),
        ({"folds_csv": "/nowhere.csv"}, "cannot see the table of folds /nowhere.csv"),
        ({"runs": "/nowhere"}, "cannot see the runs folder /nowhere"),
        ({"token": "other"}, "is another one there, or cannot be written"),
        ({"digests": {"the data in /x": "ab"}}, "the data in /x differs from what is here; all workers need the same"),
        ({"versions": {"foldpack": "9"}}, "it has python .* here is foldpack 9; install the same on all machines"),
    ],
)
def test_a_worker_passes_the_check_only_with_the_same_files_and_programs(tmp_path: Path, changes, message) -> None:
    order = expected(tmp_path)
    inner = {key: value for key, value in changes.items() if key in order.expected}
    outer = {key: value for key, value in changes.items() if key not in order.expected}
    order = expected(tmp_path, **outer, expected=order.expected | inner)
    if message is None:
        return check(order, program_versions())
    with pytest.raises(ClusterError, match=message):
        check(order, program_versions())


def test_code_of_the_project_that_a_run_names_is_compared(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models.py").write_text("net = 1\n")
    config = tiny_config(net={"arch": "models.py:net", "size": 32}, competition="competition.yml")
    first = code_digests([config])
    assert first["competition.yml"] == "missing" and len(first["models.py"]) == 64
    (tmp_path / "models.py").write_text("net = 2\n")
    assert code_digests([config])["models.py"] != first["models.py"]


def test_lines_are_read_whole_and_in_pieces() -> None:
    reading, writing = os.pipe()
    lines = Lines(reading)
    assert lines.next(0) is None
    os.write(writing, b'{"a": 1}\n{"b"')
    assert lines.next(0) == {"a": 1} and lines.next(0) is None
    os.write(writing, b": 2}\n")
    os.close(writing)
    assert lines.next(0) == {"b": 2}
    with pytest.raises(EOFError):
        lines.next(0)


LONG = 300  # seconds that a busy machine may take for what it does in one
PARENT = """
import sys
from foldpack.train.cluster import helper
from foldpack.train.cluster.orders import Order
helper.COMMAND = ("-c", sys.argv[1])
order = Order("sleeps", "check", ".", "data", "folds.csv", "runs", [])
wanted = {"forever": lambda: True, "never": lambda: False}[sys.argv[2]]
try:
    print(helper.Helper().run(order, lambda event: print(event["pid"], flush=True), wanted))
except Exception as failure:
    print(type(failure).__name__, failure)
"""
# A zygote without the seconds that its imports take: its child tells who it is, and sleeps, or kills itself.
ZYGOTE = """
import os, signal, sys, time, types
work = types.ModuleType("foldpack.train.cluster.work")
def carry_out(order, tell, versions):
    tell({{"pid": os.getpid()}})
    {deed}
work.carry_out = carry_out
sys.modules["foldpack.train.cluster.work"] = work
from foldpack.train.cluster import zygote
zygote.main()
"""


def asked(deed: str, wanted: str) -> subprocess.Popen[str]:
    """A process that asks a zygote for something."""
    return subprocess.Popen([sys.executable, "-c", PARENT, ZYGOTE.format(deed=deed), wanted], text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_the_child_dies_with_whoever_asked() -> None:
    process = asked("time.sleep(600)", "forever")
    child = psutil.Process(int(process.stdout.readline()))
    zygote = child.parent()
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + LONG
    while any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in (child, zygote)):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_an_order_that_nobody_wants_is_stopped() -> None:
    out, err = asked("time.sleep(600)", "never").communicate(timeout=LONG)
    assert out.endswith("Outcome(result=None, error=None, bug=None, stopped=True)\n"), err


def test_a_child_that_is_killed_is_told_with_the_signal() -> None:
    out, err = asked("os.kill(os.getpid(), signal.SIGKILL)", "forever").communicate(timeout=LONG)
    assert "ChildDied sleeps: the process that trains it was killed by signal 9, mostly for want of memory" in out, err


def test_a_bug_of_the_child_is_told_with_its_traceback() -> None:
    out, err = asked("1 / 0", "forever").communicate(timeout=LONG)
    assert "ZeroDivisionError" in out and "bug=" in out, err
