"""What a kernel may be told on its command line. Standard library only: `--help` must not wait for torch."""

from __future__ import annotations

import argparse
import contextlib
import os
from pathlib import Path


def kernel_options(argv: list[str] | None, name: str, hours: float) -> argparse.Namespace:
    """Paths and hours. On Kaggle arguments are ignored: a notebook's runner brings its own.

    argv: None for those of the process; name, hours: of the spec. Raises SystemExit for `--help` (0) and for what it
    does not know (2).
    """
    parser = argparse.ArgumentParser(description=f"{name}: predict the test set and write submission.csv")
    inputs = Path(os.environ.get("FOLDPACK_REHEARSAL_INPUT", "/kaggle/input"))  # set only where a rehearsal must
    output = Path(os.environ.get("FOLDPACK_REHEARSAL_OUTPUT", "/kaggle/working"))
    parser.add_argument("--input", type=Path, default=inputs, help="folder with all inputs")
    parser.add_argument("--output", type=Path, default=output, help="folder for submission.csv")
    parser.add_argument("--hours", type=positive_hours, default=hours, help="limit of the whole kernel")
    parser.add_argument("--scratch", type=Path, help="folder for what a restart takes up; default: OUTPUT/.foldpack")
    parser.add_argument("--workers", type=worker_count, default=0,
                        help="CPU processes; 0: the GPUs, or this process alone")
    parser.add_argument("--probs", type=Path, help="also save the (n, C) float32 probabilities as .npy, to compare")
    options = parser.parse_args([] if "KAGGLE_KERNEL_RUN_TYPE" in os.environ else argv)
    options.scratch = options.scratch or options.output / ".foldpack"
    return options


def positive_hours(text: str) -> float:
    """Hours above 0. Raises ArgumentTypeError."""
    with contextlib.suppress(ValueError):
        if 0 < float(text) < float("inf"):
            return float(text)
    raise argparse.ArgumentTypeError(f"'{text}'; allowed: a number of hours above 0")


def worker_count(text: str) -> int:
    """A number of processes, 0 or more. Raises ArgumentTypeError."""
    with contextlib.suppress(ValueError):
        if int(text) >= 0:
            return int(text)
    raise argparse.ArgumentTypeError(f"'{text}'; allowed: a whole number, 0 or more")
