"""Run a packed kernel here as Kaggle would: a process of its own, an empty folder, Kaggle's layout, no network."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from foldpack.engine.runlog import LOG_NAME
from foldpack.errors import FoldpackError
from foldpack.files import link_or_copy

BLOCKED = "foldpack,packer"
SANDBOX = Path(__file__).resolve().with_name("sandbox.py")
WATCH_SECONDS = 0.2  # between two looks at the memory, but for the first few
# What the kernel may see of our environment. Tokens and settings of the developer's shell stay outside.
KEPT_VARIABLES = ("PATH", "LD_LIBRARY_PATH", "TMPDIR", "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "LANG")


class RehearsalError(FoldpackError):
    """The packed kernel failed here, so it would fail on Kaggle."""


@dataclass(frozen=True)
class Ran:
    """What became of one run of a kernel."""

    code: int  # exit code; below 0 the signal that ended it
    log: str
    seconds: float
    peak: int  # bytes of memory, all its processes together, as far as looking at it five times a second shows
    late: bool  # killed at its limit
    begun: float  # seconds until the log of decisions lay there: what starting costs, imports included
    submission: Path  # whether it is there or not

    def tail(self, lines: int = 15) -> str:
        """The end of the log."""
        return "\n".join(self.log.splitlines()[-lines:])


def lay_out_inputs(folder: Path, competition: tuple[str, Path], datasets: dict[str, Path], old: bool = False) -> Path:
    """Make `folder/input/competitions/<slug>` and `folder/input/datasets/<owner>/<slug>` as Kaggle mounts them.

    competition: (slug, folder); datasets: "owner/slug" -> folder; old: all as `folder/input/<slug>`, as Kaggle mounted
    them until 2025. Files are hard links where the disk allows it, else copies, so the result stays valid when the
    originals are gone. An older layout there is replaced.
    """
    root = folder / "input"
    if root.exists():
        shutil.rmtree(root)
    slug, source = competition
    copy_tree(source, root / slug if old else root / "competitions" / slug)
    for name, dataset in datasets.items():
        copy_tree(dataset, root / name.partition("/")[2] if old else root / "datasets" / name)
    return root


def copy_tree(source: Path, target: Path) -> None:
    """Copy a folder by hard links, falling back to real copies. Raises RehearsalError when it is missing."""
    if not source.is_dir():
        raise RehearsalError(f"{source}: there is no such folder to rehearse with")
    shutil.copytree(source, target, copy_function=link_or_copy)


def rehearse(script: Path, folder: Path, input_root: Path) -> Ran:
    """Run `script` as `run_on_kaggle` does. Raises RehearsalError with the end of the log when the exit code is not 0
    or when there is no submission.csv."""
    ran = run_on_kaggle(script, folder, input_root)
    if ran.code != 0:
        raise RehearsalError(f"the kernel ended with exit code {ran.code} after {ran.seconds:.0f} s; "
                             f"its log is {folder / 'log.txt'} and ends:\n{ran.tail()}")
    if not ran.submission.is_file():
        raise RehearsalError(f"the kernel ended well but wrote no {ran.submission}; see {folder / 'log.txt'}")
    return ran


def run_on_kaggle(script: Path, folder: Path, input_root: Path, environment: dict[str, str] | None = None,
                  python: Path | None = None, limit: float | None = None) -> Ran:
    """Run `script` without arguments where /kaggle/input and /kaggle/working are `input_root` and `folder/output/`.

    environment: what Kaggle sets, beside nothing of ours; python: the interpreter (default: this one); limit: seconds,
    after which the kernel is killed. The log is `folder/log.txt`. Nothing is judged here. Raises RehearsalError for a
    missing script.
    """
    output, work = require_script(script, folder)
    root = folder.resolve() / "root"
    root.mkdir(exist_ok=True)
    command = [str(python or sys.executable), "-I", str(SANDBOX), "--kaggle", str(root), str(input_root.resolve()),
               str(output), BLOCKED, str(script.resolve())]
    kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
    return run_watched(command, work, {**kept, "HOME": str(work), **(environment or {})}, output, limit)


def require_script(script: Path, folder: Path) -> tuple[Path, Path]:
    """Empty folders for the output and the home of a run. Raises RehearsalError when there is no script."""
    if not script.is_file():
        raise RehearsalError(f"{script}: there is no such script; pack it with ./deploy_kernel.py")
    made = folder.resolve() / "output", folder.resolve() / "work"
    for each in made:
        if each.exists():
            shutil.rmtree(each)
        each.mkdir(parents=True)
    return made


def run_watched(command: list[str], work: Path, environment: dict[str, str], output: Path, limit: float | None) -> Ran:
    """Run a kernel's command in a session of its own and watch its memory. Whatever it started is ended with it.

    work: where it starts; limit: seconds.
    """
    started, log = time.monotonic(), output.with_name("log.txt")
    with log.open("w+", encoding="utf-8", errors="replace") as file:
        process = subprocess.Popen(command, cwd=work, env=environment, stdout=file, stderr=subprocess.STDOUT,
                                   stdin=subprocess.DEVNULL, start_new_session=True)
        code, late, peak, begun, pause = None, False, 0, 0.0, WATCH_SECONDS / 10
        try:
            while code is None and not late:
                peak = max(peak, session_memory(process.pid))
                with contextlib.suppress(subprocess.TimeoutExpired):
                    code = process.wait(pause)
                pause = min(2 * pause, WATCH_SECONDS)
                passed = time.monotonic() - started
                if not begun and (output / LOG_NAME).exists():
                    begun = passed
                late = code is None and limit is not None and passed > limit
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            code = process.wait()
    text = log.read_text(encoding="utf-8", errors="replace")
    return Ran(code, text, time.monotonic() - started, peak, late, begun, output / "submission.csv")


def session_memory(session: int) -> int:
    """Bytes of memory that all processes of a session hold now; 0 where /proc is missing.

    Pages that processes share are counted once where the system tells (PSS), else in each of them (RSS).
    """
    total = 0
    for proc in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has just ended
            total += process_memory(proc) if os.getsid(int(proc.name)) == session else 0
    return total


def process_memory(proc: Path) -> int:
    """Bytes of one process. proc: its folder in /proc."""
    try:
        rollup = (proc / "smaps_rollup").read_text(encoding="ascii")
        return 1024 * int(rollup.partition("\nPss:")[2].split()[0])
    except (OSError, IndexError):
        pages = int((proc / "statm").read_text(encoding="ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
