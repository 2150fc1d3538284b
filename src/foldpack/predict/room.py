"""Where there is room for decoded images: in memory, in the folder for temporary files, in the scratch folder."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

RAM_SHARE = 0.4  # of the free memory that decoded images may take
UNKNOWN_MEMORY = 4 << 30  # taken as free where nothing tells
SHARED_MEMORY = Path("/dev/shm")
SPARE_ROOM = 256 << 20  # left free in every folder
TEMP_LIMIT = 32_000_000_000  # bytes: on Kaggle /tmp says the host's terabytes, but a session gets some 50 GB
CANVAS_NAME = "canvas-"


@dataclass(frozen=True)
class Place:
    """Somewhere to keep decoded images."""

    folder: Path | None  # None: memory of this process
    room: int  # bytes


def find_places(scratch: Path, shared: bool, leave: int) -> list[Place]:
    """Where decoded images may lie, in the order in which places are filled. Nothing is made yet.

    scratch: folder for what a restart takes up; shared: several processes read them; leave: bytes that `scratch` needs
    for other things. What a process before this one has left in the folders is removed.
    """
    memory = int((free_memory() or UNKNOWN_MEMORY) * RAM_SHARE)
    places = [] if shared else [Place(None, memory)]
    memory = memory if shared else 0
    taken: dict[int, int] = {}  # by device: two folders may be on the same
    for folder in [*(own_folder(parent, scratch) for parent in (SHARED_MEMORY, *temp_parents())), scratch]:
        sweep_canvases(folder)
    parents = [*([SHARED_MEMORY] if shared and SHARED_MEMORY.is_dir() else []), *temp_parents()]
    for folder in dict.fromkeys([*(own_folder(parent, scratch) for parent in parents), scratch]):
        here = nearest_existing(folder)
        if not os.access(here, os.W_OK | os.X_OK):
            continue
        device = here.stat().st_dev
        kept = leave if device == nearest_existing(scratch).stat().st_dev else 0
        room = shutil.disk_usage(here).free - SPARE_ROOM - kept - taken.get(device, 0)
        room = max(0, room if folder == scratch else min(room, TEMP_LIMIT))
        if in_memory(here):
            room = min(room, memory)
            memory -= room
        taken[device] = taken.get(device, 0) + room
        places.append(Place(folder, room))
    return places


def nearest_existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    return next(each for each in (folder.absolute(), *folder.absolute().parents) if each.exists())


def temp_parents() -> list[Path]:
    """The system's folder for temporary files; none where no folder can be written."""
    try:
        return [Path(tempfile.gettempdir())]
    except OSError:
        return []


def own_folder(parent: Path, scratch: Path) -> Path:
    """Our folder in one that all share. The same after a restart, so that nothing is left lying for long."""
    digest = hashlib.sha256(str(scratch.absolute()).encode("utf-8", "surrogateescape")).hexdigest()
    return parent / f"foldpack-{os.getuid()}-{digest[:12]}"


def make_own_folder(folder: Path) -> None:
    """Make a folder for its owner only, or take one that is there.

    Raises OSError for what another user has put into a folder that all may write, such as /tmp.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    status = folder.lstat()
    all_write = folder.parent.stat().st_mode & stat.S_IWOTH
    if all_write and (not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid()):
        raise PermissionError(errno.EPERM, "the folder is another user's", str(folder))


def sweep_canvases(folder: Path) -> None:
    """Remove decoded images that a process before this one has left, and the folder if nothing else is in it."""
    with contextlib.suppress(OSError):
        ours = folder.is_dir() and not folder.is_symlink() and folder.stat().st_uid == os.getuid()
        for path in folder.glob(f"{CANVAS_NAME}*") if ours else []:
            path.unlink()
        if ours:
            folder.rmdir()


def in_memory(folder: Path) -> bool:
    """Whether what lies in a folder takes memory: it is on a tmpfs or ramfs."""
    try:
        lines = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return False
    mounts = {fields[1]: fields[2] for fields in (line.split() for line in lines) if len(fields) > 2}
    here = folder.resolve()
    nearest = next((str(each) for each in (here, *here.parents) if str(each) in mounts), "")
    return mounts.get(nearest, "") in ("tmpfs", "ramfs")


def free_memory() -> int | None:
    """Bytes that this process may still take: the machine's, or its container's if that is less. None: not known."""
    found = []
    for path, pick in ((Path("/proc/meminfo"), meminfo_available), (Path("/sys/fs/cgroup/memory.max"), cgroup_left)):
        try:
            value = pick(path.read_text(encoding="ascii"))
        except (OSError, ValueError):
            continue
        if value is not None:
            found.append(value)
    return min(found) if found else None


def meminfo_available(text: str) -> int | None:
    """`MemAvailable` of /proc/meminfo, bytes."""
    lines = [line for line in text.splitlines() if line.startswith("MemAvailable:")]
    return int(lines[0].split()[1]) * 1024 if lines else None


def cgroup_left(text: str) -> int | None:
    """What a container's limit leaves: the limit less what is in use and cannot be given back."""
    if text.strip() == "max":
        return None
    used = Path("/sys/fs/cgroup/memory.stat").read_text(encoding="ascii")
    taken = sum(int(line.split()[1]) for line in used.splitlines() if line.split()[0] in ("anon", "shmem"))
    return max(0, int(text) - taken)
