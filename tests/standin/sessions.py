"""What runs a pushed kernel: the rehearsal's sandbox for real, or a canned answer."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from foldpack.files import link_or_copy
from packer.rehearse.process import BLOCKED, KEPT_VARIABLES, SANDBOX


@dataclass(frozen=True)
class Competition:
    """A code competition of the stand-in."""

    data: Path  # what is mounted in every session
    score: Callable[[Path], float] | None = None  # submission.csv -> public score; raises for a bad file
    hidden: Path | None = None  # mounted in the rerun of a submission; without it the session's own output is scored


@dataclass(frozen=True)
class Job:
    """A kernel version that is to run."""

    script: Path
    folder: Path  # made by the runner; the output belongs in `folder/output`
    datasets: dict[str, dict[str, Path]]  # slug -> file name -> bytes
    competitions: dict[str, Path]
    timeout: float | None  # seconds
    rerun: bool  # whether this is the scoring of a submission


@dataclass
class Outcome:
    """How a session ended."""

    status: str = "COMPLETE"
    failure: str | None = None
    files: dict[str, bytes] = field(default_factory=dict)  # written into the output; a sandbox writes its own
    log: list[str] = field(default_factory=list)
    polls: int = 0  # status questions until it is over (canned sessions only)
    seconds: float = 0.0


Say = Callable[[str, str], None]  # stream name, text: a line of the live log


class Runner(Protocol):
    """Runs a job; `instant` runners answer inside the push, others in a thread of their own."""

    instant: bool

    def __call__(self, job: Job, say: Say) -> Outcome:
        """Run it, telling the log lines as they come."""


class CannedRunner:
    """Gives prepared outcomes, one after the other; then always COMPLETE with the sample submission as its output."""

    instant = True

    def __init__(self, *outcomes: Outcome) -> None:
        self.outcomes = list(outcomes)
        self.ran = 0

    def __call__(self, job: Job, say: Say) -> Outcome:
        """The next outcome."""
        self.ran += 1
        outcome = self.outcomes.pop(0) if self.outcomes else self.usual(job)
        for line in outcome.log:
            say("stdout", line)
        output = job.folder / "output"
        output.mkdir(parents=True, exist_ok=True)
        for name, data in outcome.files.items():
            (output / name).write_bytes(data)
        return outcome

    def usual(self, job: Job) -> Outcome:
        """A run that ends well."""
        for folder in job.competitions.values():
            sample = folder / "sample_submission.csv"
            if sample.is_file():
                return Outcome(files={"submission.csv": sample.read_bytes()}, log=["done\n"])
        return Outcome(status="ERROR", failure="no competition data is attached", log=["no data\n"])


class SandboxRunner:
    """Runs the script as the rehearsal does: `python -I`, Kaggle's layout, no network, no project on the path."""

    instant = False

    def __init__(self, hours: float | None = None, extra_environment: dict[str, str] | None = None) -> None:
        self.hours = hours
        self.extra = extra_environment or {}
        self.running: set[subprocess.Popen] = set()

    def __call__(self, job: Job, say: Say) -> Outcome:
        """Lay the inputs out, run, take what is in the output folder."""
        inputs, output, work, view = (job.folder.resolve() / name for name in ("input", "output", "work", "root"))
        for made in (inputs, output, work, view):
            made.mkdir(parents=True, exist_ok=True)
        mount(job, inputs)
        command = [sys.executable, "-I", "-u", str(SANDBOX), "--kaggle", str(view), str(inputs), str(output), BLOCKED,
                   str(job.script.resolve())]
        if self.hours is not None:
            command += ["--hours", str(self.hours)]
        started = time.monotonic()
        process = subprocess.Popen(command, cwd=work, env=self.environment(job, work), stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True, errors="replace",
                                   start_new_session=True)
        self.running.add(process)
        try:
            status, failure = watch(process, say, job.timeout, started)
        finally:
            self.running.discard(process)
        shutil.rmtree(inputs)
        return Outcome(status, failure, seconds=time.monotonic() - started)

    def environment(self, job: Job, work: Path) -> dict[str, str]:
        """What a kernel sees on Kaggle, without its tokens."""
        kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
        rerun = {"KAGGLE_IS_COMPETITION_RERUN": "1"} if job.rerun else {}
        return {**kept, "HOME": str(work.resolve()), "KAGGLE_KERNEL_RUN_TYPE": "Batch", **rerun, **self.extra}

    def stop(self) -> None:
        """End what still runs."""
        for process in list(self.running):
            stop_process(process)


def stop_process(process: subprocess.Popen) -> None:
    """End a kernel and the worker processes that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def watch(process: subprocess.Popen, say: Say, timeout: float | None, started: float) -> tuple[str, str | None]:
    """Pass the lines on until the process ends; (status, failure message)."""
    assert process.stdout is not None
    for line in process.stdout:
        say("stdout", line)
        if timeout is not None and time.monotonic() - started > timeout:
            stop_process(process)
            return "CANCEL_ACKNOWLEDGED", "Your notebook was stopped because it exceeded the maximum run time."
    code = process.wait()
    return ("COMPLETE", None) if code == 0 else ("ERROR", f"Your notebook ended with exit code {code}.")


def mount(job: Job, root: Path) -> None:
    """Kaggle's layout of 2026: competitions/<slug> and datasets/<owner>/<slug>, uploaded zip files unpacked."""
    for slug, folder in job.competitions.items():
        shutil.copytree(folder, root / "competitions" / slug, copy_function=link_or_copy)
    for slug, files in job.datasets.items():
        target = root / "datasets" / slug
        target.mkdir(parents=True)
        for name, source in files.items():
            if name.endswith(".zip"):
                with zipfile.ZipFile(source) as archive:
                    archive.extractall(target / name.removesuffix(".zip"))
            else:
                link_or_copy(str(source), str(target / name))
