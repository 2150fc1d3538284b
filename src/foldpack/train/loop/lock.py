"""Who trains which fold of a run: nobody trains one that another process is at.

A fold is a stretch of bytes of `runs/<run>/.lock`, locked as POSIX records are: the system frees them when their
process ends, however it does; forked workers do not hold them; folders that machines share know them too. What stands
in the stretch says who it is.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from foldpack.errors import FoldpackError

STRETCH = 128  # bytes
FINISHING = -1  # in the place of a fold: the run is being finished
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
HELD: dict[Path, dict[int, int]] = {}  # file -> what this process holds -> descriptor; they are closed together


class LockedError(FoldpackError):
    """Another process trains this."""


class RunLock:
    """What this process holds of a run. To be freed in the end; closing any handle of the file would free it."""

    def __init__(self, folder: Path, say: Callable[[str], None]) -> None:
        """folder: of the run, which is there."""
        self.folder = folder
        self.say = say
        self.held: set[int] = set()

    def take(self, folds: Iterable[int], wait: bool = False) -> None:
        """Lock folds, all or none; those that are held already stay so. wait: for others, in place of LockedError."""
        taken = []
        try:
            for fold in sorted(set(folds) - self.held):
                self._lock(fold, wait)
                taken.append(fold)
        except LockedError:
            self.free(taken)
            raise

    def free(self, folds: Iterable[int] | None = None) -> None:
        """Free folds, or all that are held."""
        path = self._path()
        for fold in self.held & set(self.held if folds is None else folds):
            self.held.discard(fold)
            descriptor = HELD[path].pop(fold)
            fcntl.lockf(descriptor, fcntl.LOCK_UN, STRETCH, self._start(fold))
            if not HELD[path]:
                del HELD[path]
                os.close(descriptor)

    def _path(self) -> Path:
        return (self.folder / ".lock").resolve()

    def _start(self, fold: int) -> int:
        return (fold + 1) * STRETCH

    def _lock(self, fold: int, wait: bool) -> None:
        path = self._path()
        own = HELD.setdefault(path, {})
        if fold in own:
            raise LockedError(self._refusal(fold, "this very process"))
        descriptor = next(iter(own.values()), None)
        opened = os.open(path, os.O_RDWR | os.O_CREAT, 0o666) if descriptor is None else descriptor
        try:
            fcntl.lockf(opened, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB), STRETCH, self._start(fold))
            os.pwrite(opened, own_name().encode()[:STRETCH].ljust(STRETCH), self._start(fold))
        except OSError as failure:
            if failure.errno in NO_LOCKS:
                self.say(f"warning: {path.parent}: its disk knows no locks ({failure.strerror}); see to it that no "
                         "other process trains this run")
            else:
                other = os.pread(opened, STRETCH, self._start(fold)).decode(errors="replace").strip("\0 ")
                if descriptor is None:
                    del HELD[path]
                    os.close(opened)
                if failure.errno not in (errno.EAGAIN, errno.EACCES):
                    raise
                raise LockedError(self._refusal(fold, other or "another process")) from None
        own[fold] = opened
        self.held.add(fold)

    def _refusal(self, fold: int, other: str) -> str:
        return (f"run '{self.folder.name}': fold {fold} is being trained by {other}; wait for it or stop it, or train "
                "other folds")


def require_alone(lock: RunLock, folds: Iterable[int], changed: str) -> None:
    """Raises LockedError where another process trains any of these with settings that were changed since."""
    others = set(folds) - lock.held
    try:
        lock.take(others)
    except LockedError as failure:
        raise LockedError(f"{failure}; there with other settings: {changed}") from None
    lock.free(others)


def own_name() -> str:
    """How a process is told from others."""
    return f"process {os.getpid()} on {socket.gethostname()}, since {time.strftime('%H:%M', time.gmtime())} UTC"
