"""One process at a time trains a fold; several may train several."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from foldpack.train.loop.lock import FINISHING, HELD, LockedError, RunLock

HOLD = """
import sys, time
from pathlib import Path
from foldpack.train.loop.lock import RunLock
lock = RunLock(Path(sys.argv[1]), print)
lock.take([1, 2])
print("held", flush=True)
time.sleep(60)
"""


def quiet(text: str) -> None:
    """Says nothing."""


def test_a_fold_that_another_process_holds_is_refused_until_that_is_gone(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        lock = RunLock(tmp_path, quiet)
        with pytest.raises(LockedError) as caught:
            lock.take([0, 2, 3])
        assert re.fullmatch(rf"run '{tmp_path.name}': fold 2 is being trained by process {other.pid} on \S+, since "
                            r"\d\d:\d\d UTC; wait for it or stop it, or train other folds", str(caught.value))
        assert not lock.held and not HELD  # all or none
        lock.take([0, 3])
        other.kill()
        other.wait()
    lock.take([2, 1])
    assert lock.held == {0, 1, 2, 3}
    lock.free([0])
    assert lock.held == {1, 2, 3}
    lock.free()
    assert not lock.held and not HELD


def test_a_child_that_is_forked_holds_nothing(tmp_path: Path) -> None:
    """Workers of a loader outlive a training that is killed by seconds."""
    lock = RunLock(tmp_path, quiet)
    lock.take([0])
    child = os.fork()
    if not child:
        code = 1
        try:
            fcntl.lockf(os.open(tmp_path / ".lock", os.O_RDWR), fcntl.LOCK_EX | fcntl.LOCK_NB, 128, 128)
        except OSError:
            code = 0
        os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    lock.free()


def test_one_process_does_not_train_a_fold_twice_at_once(tmp_path: Path) -> None:
    first, second = RunLock(tmp_path, quiet), RunLock(tmp_path, quiet)
    first.take([0])
    first.take([0, 1])  # what is held stays so
    with pytest.raises(LockedError, match="fold 1 is being trained by this very process"):
        second.take([1])
    second.take([2, FINISHING])
    second.free()
    assert first.held == {0, 1}
    with pytest.raises(LockedError):
        second.take([0])  # what the second has freed did not free the first
    first.free()


def test_a_disk_without_locks_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(*args: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "lockf", no_locks)
    said: list[str] = []
    RunLock(tmp_path, said.append).take([0])
    assert said == [f"warning: {tmp_path.resolve()}: its disk knows no locks (No locks available); see to it that no "
                    "other process trains this run"]
    HELD.clear()
