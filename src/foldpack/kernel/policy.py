"""What an error means for the exit code, and what a kernel run is known by."""

from __future__ import annotations

import hashlib
import os
import signal
import sys
from pathlib import Path

import numpy as np

from foldpack.data.image_place import image_file
from foldpack.data.items import Items

EXIT_OK = 0  # a checked submission
EXIT_NOTHING = 1  # no unit was finished in time: the submission is the training prior
EXIT_INPUT = 2  # an input is missing or does not fit
EXIT_LATE = 3  # ended by the watchdog; the submission holds what was finished
END_SIGNALS = (signal.SIGTERM, signal.SIGINT)  # Ctrl-C is SIGINT
RERUN_VARIABLE = "KAGGLE_IS_COMPETITION_RERUN"


def errors_stand(on_error: str, rerun: bool) -> bool:
    """Whether the best valid submission counts after an error. on_error: "auto", "fail" or "stand", from the budget.

    "auto": only in the competition's rerun, where an exit code other than 0 loses the submission. Anywhere else an
    error must be seen.
    """
    return on_error == "stand" or (on_error == "auto" and rerun)


def is_rerun() -> bool:
    """Whether this is the competition's rerun on the hidden test set."""
    return os.environ.get(RERUN_VARIABLE, "").lower() not in ("", "0", "false")


def exit_code(code: int, valid: bool, stands: bool) -> int:
    """The truth for the outside: 0 also after an error, but only when a valid submission stands and may do so."""
    return EXIT_OK if stands and valid else code


def signal_exit_code(number: int) -> int:
    """What a shell reports of a process that was ended by a signal: 143 for SIGTERM, 130 for SIGINT."""
    return 128 + number


def script_digest() -> str:
    """SHA-256 of the script that runs, so that predictions of other code are never taken for its own; "" if unknown."""
    script = Path(sys.argv[0])
    try:
        return hashlib.sha256(script.read_bytes()).hexdigest() if script.suffix == ".py" else ""
    except OSError:
        return ""


def items_digest(items: Items) -> str:
    """SHA-256 of ids, sizes and times of the images, in order, and of the boxes in them with what is known of each."""
    digest = hashlib.sha256()
    for item, path in zip(items.ids, items.images, strict=True):
        file = image_file(path)
        facts = "missing" if file is None else file_facts(file)
        facts += f" {path.name}" if file not in (None, path) else ""
        digest.update(f"{item}\0{facts}\n".encode())
    for name, column in [] if items.box is None else [("image", items.image), ("box", items.box), *items.known.items()]:
        digest.update(f"{name} {column.dtype} {column.shape}\n".encode())
        digest.update(np.ascontiguousarray(column).tobytes())
    return digest.hexdigest()


def file_facts(file: Path) -> str:
    """Size and time of a file, to know it again by."""
    try:
        status = file.stat()
    except OSError:  # it went away meanwhile
        return "missing"
    return f"{status.st_size} {status.st_mtime_ns}"
