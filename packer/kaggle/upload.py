"""Upload one file to Kaggle's storage: a progress bar, and a broken upload goes on where it stopped."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import requests
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from foldpack.files import sha256_file, write_atomic
from packer.kaggle.client import CallError, KaggleClient
from packer.kaggle.exits import DeployError, Exit

FILE = "uploads.json"  # beside the journal, mode 0600: whoever has a URL may write that blob
TRIES = 8
Advance = Callable[[int], None]  # bytes of the file that Kaggle has


@dataclass(frozen=True)
class Blob:
    """An upload that was begun."""

    token: str
    url: str
    sha256: str
    size: int
    done: bool


class Uploads:
    """The blobs of a build folder by file name. A blob is used for the very same content only."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        try:
            data = json.loads(self.path.read_text(encoding="utf-8"))
            self.blobs = {name: Blob(**fields) for name, fields in data.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            self.blobs = {}  # then everything is uploaded anew

    def keep(self, name: str, blob: Blob | None) -> None:
        """Remember a blob, or forget it."""
        self.blobs.pop(name, None)
        if blob is not None:
            self.blobs[name] = blob
        write_atomic(self.path, json.dumps({key: asdict(each) for key, each in self.blobs.items()}), mode=0o600)

    def forget(self, names: list[str]) -> None:
        """These files are in a dataset now; without any left the file goes."""
        self.blobs = {name: blob for name, blob in self.blobs.items() if name not in names}
        if self.blobs:
            write_atomic(self.path, json.dumps({key: asdict(each) for key, each in self.blobs.items()}), mode=0o600)
        else:
            self.path.unlink(missing_ok=True)


class Part:
    """The rest of a file from an offset, for `requests`: it has a length, so it is not sent in chunks of no known sum.
    """

    def __init__(self, path: Path, offset: int, advance: Advance) -> None:
        self.file, self.at, self.advance = open(path, "rb"), offset, advance
        self.file.seek(offset)
        self.length = os.fstat(self.file.fileno()).st_size - offset

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[bytes]:
        while piece := self.read(1 << 20):
            yield piece

    def __enter__(self) -> Part:
        return self

    def __exit__(self, *reason: object) -> None:
        self.file.close()

    def read(self, size: int = -1) -> bytes:
        """The next bytes."""
        piece = self.file.read(size if size >= 0 else -1)
        self.at += len(piece)
        self.advance(self.at)
        return piece


def upload_file(client: KaggleClient, uploads: Uploads, path: Path, advance: Advance) -> str:
    """Upload a file unless its blob is there already -> its token. Raises DeployError."""
    sha256, size = sha256_file(path), path.stat().st_size
    known = uploads.blobs.get(path.name)
    if known is not None and (known.sha256, known.size) != (sha256, size):
        known = None
    if known is not None and known.done:
        advance(size)
        return known.token
    offset = bytes_there(known, client.seconds) if known is not None else 0
    problem = ""
    for _ in client.pace.looks(TRIES):
        if known is None or offset is None:
            known, offset = start_blob(client, path, sha256, size), 0
            uploads.keep(path.name, known)
        problem = "" if offset == size else put_rest(known, path, offset, advance, client.seconds)
        if not problem:
            advance(size)
            uploads.keep(path.name, Blob(known.token, known.url, sha256, size, True))
            return known.token
        offset = bytes_there(known, client.seconds)
    raise DeployError(f"{path.name}: the upload failed {TRIES} times ({problem}); run the same command again: what was "
                      "uploaded stays", Exit.FAILING)


def start_blob(client: KaggleClient, path: Path, sha256: str, size: int) -> Blob:
    """Ask for a place to upload to. Asking twice makes no harm: an unused place is nobody's file."""
    request = {"type": "DATASET", "name": path.name, "contentLength": size,
               "lastModifiedEpochSeconds": int(path.stat().st_mtime)}
    try:
        answer = client.ask("start_blob_upload", request)
    except CallError as error:
        raise error.deploy_error() from None
    return Blob(str(answer["token"]), str(answer["createUrl"]), sha256, size, False)


def put_rest(blob: Blob, path: Path, offset: int, advance: Advance, seconds: float) -> str:
    """Send the file from `offset` on. Returns what went wrong, "" for nothing; never the URL, which is a secret."""
    headers = {"Content-Range": f"bytes {offset}-{blob.size - 1}/{blob.size}"} if offset else {}
    try:
        with Part(path, offset, advance) as part:
            answer = requests.put(blob.url, data=part if len(part) else b"", headers=headers, timeout=seconds)
    except requests.RequestException as error:
        return type(error).__name__
    return "" if answer.status_code in (200, 201) else f"HTTP {answer.status_code}"


def bytes_there(blob: Blob, seconds: float) -> int | None:
    """How much of a broken upload Kaggle has (docs of resumable uploads: status 308), None to begin anew."""
    try:
        answer = requests.put(blob.url, headers={"Content-Range": f"bytes */{blob.size}"}, timeout=seconds)
    except requests.RequestException:
        return None
    if answer.status_code in (200, 201):
        return blob.size
    held = re.fullmatch(r"bytes=0-(\d+)", answer.headers.get("Range", "")) if answer.status_code == 308 else None
    if answer.status_code != 308:
        return None
    return int(held[1]) + 1 if held else 0


@contextmanager
def progress_bars(total: int, what: str) -> Iterator[Callable[[str, int], None]]:
    """A bar over all bytes of a dataset, on a terminal only. Yields a function: file name, bytes of it that are there.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(),
               TimeRemainingColumn())
    with Progress(*columns, transient=True, disable=not Console().is_terminal) as progress:
        task = progress.add_task(what, total=total)
        there: dict[str, int] = {}

        def report(name: str, count: int) -> None:
            there[name] = count
            progress.update(task, completed=sum(there.values()))

        yield report
