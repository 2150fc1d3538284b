"""The journal of a deploy: `build/<name>/deploy.json`. It says what was intended, sent and seen; it holds no secret."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from foldpack.files import write_atomic
from foldpack.settings.strict_model import StrictModel, parse_strict
from packer.kaggle.exits import DeployError, Exit
from packer.kaggle.pace import Pace

FILE = "deploy.json"
LOCK_LOOKS = 8  # within some seconds: the child of a killed deploy dies a moment after it
Count = Annotated[int, Field(ge=0)]


class DatasetEntry(StrictModel):
    """One dataset. `intent`: Kaggle is about to be asked for it. `created`: Kaggle said yes."""

    content: str  # SHA-256 of the manifest
    state: Literal["intent", "created", "ready"]
    before: Count  # its version before; 0: there was none
    version: Count = 0


class PushEntry(StrictModel):
    """The kernel. `dropped` and `elsewhere` are pushes that Kaggle took other than they were meant."""

    request: str  # SHA-256 of the whole request
    state: Literal["intent", "pushed", "verified", "dropped", "elsewhere"]
    before: Count
    version: Count = 0


class SessionEntry(StrictModel):
    """The run of a kernel version."""

    version: Count
    status: str  # Kaggle's word
    hours: float | None = None  # by the log


class SubmissionEntry(StrictModel):
    """The submission of a kernel version."""

    version: Count
    state: Literal["intent", "submitted", "scored", "failed"]
    ref: int | None = None
    public_score: float | None = None
    private_score: float | None = None
    message: str = ""
    problem: str = ""


class JournalData(StrictModel):
    """The whole file."""

    version: Literal[1] = 1
    kernel: str = ""
    pack_id: str = ""
    rehearsed: str = ""  # the pack that passed a rehearsal, and how
    datasets: dict[str, DatasetEntry] = {}
    push: PushEntry | None = None
    session: SessionEntry | None = None
    submission: SubmissionEntry | None = None


class Journal:
    """The journal of one build folder. `note` is on disk when it returns; one that changes nothing writes nothing."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        self.data = JournalData()
        if self.path.exists():
            try:
                data = json.loads(self.path.read_text(encoding="utf-8"))
            except ValueError:
                data = None
            try:
                self.data = parse_strict(JournalData, data, self.path, DeployError)
            except DeployError as failure:
                raise DeployError(f"{failure}; remove the file: a deploy knows its kernel and datasets by their "
                                  "content too") from None

    def note(self, **changes: object) -> None:
        """Replace fields and write the file atomically."""
        changed = self.data.model_copy(update=changes)
        if changed != self.data or not self.path.exists():
            write_atomic(self.path, json.dumps(changed.model_dump(exclude_none=True), indent=1) + "\n")
            self.data = changed

    def note_dataset(self, slug: str, entry: DatasetEntry) -> None:
        """Replace the entry of one dataset."""
        self.note(datasets={**self.data.datasets, slug: entry})

    def forget_dataset(self, slug: str) -> None:
        """Nothing is known of this dataset any more."""
        self.note(datasets={name: entry for name, entry in self.data.datasets.items() if name != slug})


def try_lock(descriptor: int) -> bool:
    """Lock an open file for this process; False when another holds it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


@contextmanager
def only_one(build: Path, name: str) -> Iterator[int]:
    """Keep other deploys of this ensemble out. Yields the lock's file descriptor, for child processes to hold too.

    A deploy that was killed leaves no lock behind, except while its child process still talks to Kaggle.
    Raises DeployError.
    """
    build.mkdir(parents=True, exist_ok=True)
    path = build / f"{name}.lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if not any(try_lock(descriptor) for _ in Pace(0.2).looks(LOCK_LOOKS)):
            raise DeployError(f"{path}: another deploy of '{name}' is running; wait for it, or stop it", Exit.BUSY)
        yield descriptor
    finally:
        os.close(descriptor)
