"""What the stand-in for Kaggle remembers: kernels, datasets, blobs, sessions and submissions, in a folder on disk."""

from __future__ import annotations

import hashlib
import threading
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, Field

from foldpack.files import write_atomic

STATE_FILE = "state.json"


def now() -> str:
    """The time as the wire format has it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


class Session(BaseModel):
    """One run of a kernel version. `files` are names below `state/sessions/<id>/output`."""

    id: int
    status: str = "QUEUED"  # QUEUED, RUNNING, COMPLETE, ERROR, CANCEL_ACKNOWLEDGED
    failure: str | None = None
    seconds: float = 0.0
    files: list[str] = []
    log: list[dict] = []  # {stream_name, time, data}
    polls: int = 0  # status questions until a canned session ends


class KernelVersion(BaseModel):
    """A pushed source and what it was bound to."""

    number: int
    source: str  # sha256 of the text, its file's name in `state/sources`
    request: dict  # the SaveKernel body less its text
    datasets: dict[str, int] = {}  # slug -> dataset version that was current at the push
    competitions: list[str] = []
    session: Session
    created: str = Field(default_factory=now)


class Kernel(BaseModel):
    """A kernel, known by owner/slug."""

    id: int
    owner: str
    slug: str
    title: str
    versions: list[KernelVersion] = []

    def version(self, number: int | None) -> KernelVersion | None:
        """The version with this number; the newest for None."""
        found = [one for one in self.versions if number is None or one.number == number]
        return found[-1] if found else None


class DatasetVersion(BaseModel):
    """One version of a dataset."""

    number: int
    notes: str | None = None
    files: dict[str, int] = {}  # name -> size in bytes
    blobs: dict[str, str] = {}  # name -> token
    waiting: int = 0  # questions about the dataset until this version is current
    stale: bool = False  # READY is said although an older version is still current
    failed: bool = False
    created: str = Field(default_factory=now)


class Dataset(BaseModel):
    """A dataset, known by owner/slug."""

    id: int
    owner: str
    slug: str
    title: str
    private: bool
    license: str
    versions: list[DatasetVersion] = []

    @property
    def current(self) -> DatasetVersion | None:
        """The newest version that has been processed."""
        done = [one for one in self.versions if one.waiting <= 0 and not one.failed]
        return done[-1] if done else None


class Blob(BaseModel):
    """An upload, finished when its file in `state/blobs` has the promised size."""

    token: str
    name: str
    size: int


class Submission(BaseModel):
    """A code submission."""

    ref: int
    competition: str
    kernel: str
    version: int
    file: str
    description: str
    status: str = "PENDING"
    score: float | None = None
    error: str | None = None
    waiting: int = 0  # questions until it is scored
    date: str = Field(default_factory=now)


class World(BaseModel):
    """Everything."""

    next_id: int = 1000
    kernels: dict[str, Kernel] = {}
    datasets: dict[str, Dataset] = {}
    blobs: dict[str, Blob] = {}
    submissions: list[Submission] = []
    gpu_seconds: float = 0.0

    def new_id(self) -> int:
        """A number that nothing else has."""
        self.next_id += 1
        return self.next_id


class Store:
    """The world on disk. Hold `lock` while reading or changing; `save` after a change."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lock = threading.RLock()
        for name in ("blobs", "sources", "sessions"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        path = folder / STATE_FILE
        self.world = World.model_validate_json(path.read_bytes()) if path.exists() else World()
        for kernel in self.world.kernels.values():
            for version in kernel.versions:
                if version.session.status in ("QUEUED", "RUNNING"):
                    version.session.status, version.session.failure = "ERROR", "the stand-in was stopped"

    def save(self) -> None:
        """Write the whole state; readers see the old or the new one."""
        with self.lock:
            write_atomic(self.folder / STATE_FILE, self.world.model_dump_json(indent=1))

    def keep_source(self, text: str) -> str:
        """Keep a kernel's source; returns the name under which `source` finds it."""
        data = text.encode("utf-8")
        name = hashlib.sha256(data).hexdigest()
        write_atomic(self.folder / "sources" / name, data)
        return name

    def source(self, version: KernelVersion) -> str:
        """The text of a kernel version."""
        return (self.folder / "sources" / version.source).read_text(encoding="utf-8")

    def blob_path(self, token: str) -> Path:
        """Where the bytes of an upload lie."""
        return self.folder / "blobs" / token

    def session_folder(self, session: Session) -> Path:
        """Where a session ran; its output is in `output/` there."""
        return self.folder / "sessions" / str(session.id)
