"""What the drills share: a kernel's folder, and who starts and ends kernels in it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from made_stages import stage_of
from small_house import House

from foldpack.competitions.adapters import find_adapter

DIGITS = find_adapter("digits")

HOURS = "1"


@dataclass(frozen=True)
class Trial:
    """One folder in which a kernel runs, perhaps several times."""

    folder: Path
    inputs: Path
    competition: Path

    @property
    def output(self) -> Path:
        return self.folder / "output"

    @property
    def log(self) -> str:
        return (self.folder / "log.txt").read_text() if (self.folder / "log.txt").exists() else ""

    @property
    def submission(self) -> bytes:
        return (self.output / "submission.csv").read_bytes()

    @property
    def probs(self) -> np.ndarray:
        return np.load(self.folder / "probs.npy")

    def answer(self) -> tuple[bytes, bytes]:
        """The submission and the probabilities, to the last bit."""
        return self.submission, (self.folder / "probs.npy").read_bytes()

    def arguments(self, *more: str) -> list[str]:
        """What the kernel is started with."""
        given = ["--input", str(self.inputs), "--output", str(self.output), "--probs", str(self.folder / "probs.npy")]
        return [*given, *(more if "--hours" in more else ("--hours", HOURS, *more))]

    def require_valid(self) -> bool:
        """A submission that is there is whole. Returns whether it is there."""
        path = self.output / "submission.csv"
        if path.exists():
            DIGITS.check(path, stage_of([str(k) for k in range(10)]), self.competition)
        return path.exists()

    def require_tidy(self) -> None:
        """Nothing is left but the submission and the log."""
        assert sorted(path.name for path in self.output.iterdir()) == ["foldpack_log.jsonl", "submission.csv"]


@dataclass
class Drill:
    """Starts kernels and ends them."""

    house: House
    server: subprocess.Popen[str]
    inputs: Path
    root: Path
    trials: int = 0
    seconds: float = 0.0  # of an unbroken run
    unbroken: tuple[bytes, bytes] = (b"", b"")
    probs: np.ndarray = field(default_factory=lambda: np.zeros(0))

    def trial(self, inputs: Path | None = None) -> Trial:
        self.trials += 1
        folder = self.root / f"trial{self.trials}"
        folder.mkdir()
        where = inputs or self.inputs
        return Trial(folder, where, where / "competitions" / DIGITS.slug)

    def own_inputs(self, folder: Path) -> Trial:
        """A trial whose inputs a test may damage."""
        return self.trial(Path(shutil.copytree(self.inputs, folder / "input")))

    def ask(self, request: dict) -> int:
        assert self.server.stdin is not None and self.server.stdout is not None
        self.server.stdin.write(json.dumps(request) + "\n")
        self.server.stdin.flush()
        return int(self.server.stdout.readline())

    def start(self, trial: Trial, *arguments: str, fault: tuple[str, float] | None = None,
              variables: dict[str, str] | None = None) -> int:
        return self.ask({"argv": trial.arguments(*arguments), "log": str(trial.folder / "log.txt"), "fault": fault,
                         "environment": variables or {}})

    def wait(self, pid: int) -> int:
        return self.ask({"wait": pid})

    def run(self, trial: Trial, *arguments: str, fault: tuple[str, float] | None = None,
            variables: dict[str, str] | None = None) -> int:
        return self.wait(self.start(trial, *arguments, fault=fault, variables=variables))

    def kill(self, pid: int, number: int = signal.SIGKILL) -> int:
        """Send a signal to a run, then wait for its end."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        return self.wait(pid)


def children(pid: int) -> list[int]:
    """Processes that a process has started and that still run."""
    with contextlib.suppress(OSError):
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits to be buried does not."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False
