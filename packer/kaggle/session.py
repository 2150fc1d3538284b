"""Wait for the pushed version to end, fetch what it left, and check the submission."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import requests

from foldpack.competitions.adapters import find_adapter
from foldpack.competitions.answer_table import read_answer_table
from foldpack.errors import DataError
from foldpack.files import atomic_path, write_atomic
from foldpack.settings.ensemble import EnsembleSpec
from packer.kaggle.client import KaggleClient
from packer.kaggle.exits import DeployError, Exit
from packer.kaggle.hints import with_hints
from packer.kaggle.log_follower import LogFollower, log_text

GOING = ("QUEUED", "RUNNING", "NEW_SCRIPT", "CANCEL_REQUESTED")
TIMED_OUT_WORDS = re.compile(r"timed? ?out|timeout|time limit|exceeded .*(time|hours)", re.IGNORECASE)
QUOTA_WORDS = re.compile(r"quota|session count", re.IGNORECASE)
TAIL = 15  # lines of a failed kernel's log that are shown
DOWNLOADS = 6  # tries of one file
Say = Callable[[str], None]


@dataclass(frozen=True)
class Version:
    """One version of a kernel: the session that we wait for, whatever is pushed later."""

    ref: str  # owner/slug
    number: int

    @property
    def place(self) -> dict[str, object]:
        """The fields that name it in a request."""
        owner, _, name = self.ref.partition("/")
        return {"userName": owner, "kernelSlug": name, "versionLabel": f"v{self.number}"}


def session_status(client: KaggleClient, version: Version) -> tuple[str, str]:
    """(Kaggle's word, failure message). Raises DeployError."""
    answer = client.ask_if_there("get_kernel_session_status", version.place)
    if answer is None:
        return "NEW_SCRIPT", ""  # not to be seen yet
    return str(answer.get("status") or "QUEUED"), str(answer.get("failureMessage") or "")


def wait_session(client: KaggleClient, version: Version, hours: float, say: Say) -> tuple[str, str]:
    """Wait until the session has ended, showing its log as it comes -> (Kaggle's last word, its failure message)."""
    follower, last = LogFollower(client, version.ref, say), ""
    try:
        for _ in client.pace.looks_for(hours * 3600):
            status, failure = session_status(client, version)
            if status != last:
                say(f"session of version {version.number}: {status.lower().replace('_', ' ')}")
                last = status
            if status not in GOING:
                follower.finish()
                return status, failure
            if status == "RUNNING":
                follower.start()
    finally:
        follower.stop()
    raise DeployError(f"kernel {version.ref}, version {version.number}, did not end within {hours:g} h; it goes on "
                      "there. Run the same command again to wait on", Exit.KERNEL_TIMED_OUT)


def judge_session(version: Version, status: str, failure: str, log: str) -> None:
    """Raise DeployError, with the end of the log and hints, unless the session ended well."""
    if status == "COMPLETE":
        return
    code = Exit.KERNEL_CANCELLED if status.startswith("CANCEL") else Exit.KERNEL_ERROR
    if TIMED_OUT_WORDS.search(failure):
        code = Exit.KERNEL_TIMED_OUT
    elif QUOTA_WORDS.search(failure):
        code = Exit.QUOTA
    lines = [f"kernel {version.ref}, version {version.number}, ended as {status.lower().replace('_', ' ')}"
             + (f": {failure}" if failure else "")]
    if tail := log.splitlines()[-TAIL:]:
        lines += ["its log ends:", *(f"  {line}" for line in tail)]
    raise DeployError(with_hints("\n".join(lines), f"{failure}\n{log}"), code)


def fetch_output(client: KaggleClient, version: Version, folder: Path, needed: bool = True) -> str:
    """Download the version's files and log into `folder` -> the log's text. Raises DeployError.

    needed: whether the session ended well, so that there is output.
    """
    log = ""
    for page in client.pages("list_kernel_session_output", {**version.place, "pageSize": 20}, needed):
        log = str(page.get("log") or "") or log
        for file in page.get("files") or []:
            download(client, str(file["url"]), str(file["fileName"]), folder)
    write_atomic(folder / "log.txt", log_text(log))
    write_atomic(folder / "log.json", log)
    return log_text(log)


def download(client: KaggleClient, url: str, name: str, folder: Path) -> Path:
    """Fetch one file; a name that leads out of `folder` is refused. Raises DeployError, without the URL."""
    target = folder / name
    if not target.resolve().is_relative_to(folder.resolve()):
        raise DeployError(f"the kernel's output has a file named '{name}', which leads out of its folder", Exit.OUTPUT)
    problem = ""
    for _ in client.pace.looks(DOWNLOADS):
        try:
            with requests.get(url, stream=True, timeout=client.seconds) as answer, atomic_path(target) as temporary:
                answer.raise_for_status()
                with open(temporary, "wb") as file:
                    for piece in answer.iter_content(1 << 20):
                        file.write(piece)
            return target
        except requests.RequestException as error:
            problem = type(error).__name__
    raise DeployError(f"{name}: Kaggle did not give the output ({problem}); run the same command again", Exit.FAILING)


def run_hours(folder: Path) -> float | None:
    """How long the kernel ran by its log, hours; None when the log has no times."""
    try:
        events = json.loads((folder / "log.json").read_text(encoding="utf-8"))
        return round(max(float(event["time"]) for event in events) / 3600, 4)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def check_output(folder: Path, spec: EnsembleSpec, data: Path | None) -> int:
    """Check the fetched submission.csv -> its rows. data: the competition's folder, to compare the ids with.

    Raises DeployError.
    """
    path, competition = folder / "submission.csv", find_adapter(spec.competition)
    if not path.is_file():
        raise DeployError(f"the kernel ended well but left no submission.csv; {folder / 'log.txt'} is its log",
                          Exit.OUTPUT)
    try:
        competition.check(path, spec.last, data)
        rows = len(read_answer_table(path, competition.id_column, []).rows)
        if not rows:
            raise DataError(f"{path}: it has no rows")
        return rows
    except DataError as failure:
        raise DeployError(f"the kernel's submission is wrong: {failure}", Exit.OUTPUT) from None
