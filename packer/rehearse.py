"""Run a packed kernel here as Kaggle would: a process of its own, an empty folder, Kaggle's layout, no network."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from foldpack.errors import FoldpackError

BLOCKED = "foldpack,packer"
SANDBOX = Path(__file__).with_name("sandbox.py")
# What the kernel may see of our environment. Tokens and settings of the developer's shell stay outside.
KEPT_VARIABLES = ("PATH", "LD_LIBRARY_PATH", "TMPDIR", "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "LANG")


class RehearsalError(FoldpackError):
    """The packed kernel failed here, so it would fail on Kaggle."""


@dataclass(frozen=True)
class Rehearsal:
    """What a rehearsal showed."""

    submission: Path
    log: str
    seconds: float


def lay_out_inputs(folder: Path, competition: tuple[str, Path], datasets: dict[str, Path]) -> Path:
    """Make `folder/input/competitions/<slug>` and `folder/input/datasets/<owner>/<slug>` as Kaggle mounts them.

    competition: (slug, folder); datasets: "owner/slug" -> folder. Files are hard links where the disk allows it, else
    copies, so the result stays valid when the originals are gone. An older layout there is replaced.
    """
    root = folder / "input"
    if root.exists():
        shutil.rmtree(root)
    slug, source = competition
    copy_tree(source, root / "competitions" / slug)
    for name, dataset in datasets.items():
        copy_tree(dataset, root / "datasets" / name)
    return root


def copy_tree(source: Path, target: Path) -> None:
    """Copy a folder by hard links, falling back to real copies. Raises RehearsalError when it is missing."""
    if not source.is_dir():
        raise RehearsalError(f"{source}: there is no such folder to rehearse with")
    shutil.copytree(source, target, copy_function=link_or_copy)


def link_or_copy(source: str, target: str) -> str:
    """A hard link, or a copy on another file system."""
    try:
        os.link(os.path.realpath(source), target)
    except OSError:
        shutil.copy2(source, target)
    return target


def rehearse(script: Path, folder: Path, input_root: Path, hours: float | None = None,
             extra_environment: dict[str, str] | None = None) -> Rehearsal:
    """Run `script` on `input_root`; its output goes to `folder/output/`, its log to `folder/log.txt`.

    The process starts in an empty folder with `python -I`, cannot import the project, cannot open a socket and sees
    none of our environment variables. Raises RehearsalError with the end of the log when the exit code is not 0 or
    when there is no submission.csv.
    """
    if not script.is_file():
        raise RehearsalError(f"{script}: there is no such script; pack it with ./deploy_kernel.py")
    output, work = folder / "output", folder / "work"
    for made in (output, work):
        if made.exists():
            shutil.rmtree(made)
        made.mkdir(parents=True)
    command = [sys.executable, "-I", str(SANDBOX.resolve()), BLOCKED, str(script.resolve()),
               "--input", str(input_root.resolve()), "--output", str(output.resolve())]
    if hours is not None:
        command += ["--hours", str(hours)]
    environment = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
    environment |= {"HOME": str(work.resolve()), **(extra_environment or {})}
    started = time.monotonic()
    done = subprocess.run(command, cwd=work, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          stdin=subprocess.DEVNULL, text=True, errors="replace")
    seconds = time.monotonic() - started
    (folder / "log.txt").write_text(done.stdout, encoding="utf-8")
    if done.returncode != 0:
        tail = "\n".join(done.stdout.splitlines()[-15:])
        raise RehearsalError(f"the kernel ended with exit code {done.returncode} after {seconds:.0f} s; "
                             f"its log is {folder / 'log.txt'} and ends:\n{tail}")
    submission = output / "submission.csv"
    if not submission.is_file():
        raise RehearsalError(f"the kernel ended well but wrote no {submission}; see {folder / 'log.txt'}")
    return Rehearsal(submission, done.stdout, seconds)
