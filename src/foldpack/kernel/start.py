"""The kernel's first part: options, the fallback submission and the signals, before the libraries are imported.

Standard library only. Importing torch and its like takes seconds, and may fail or never end; by then a valid submission
stands, and whatever ends the process now leaves it there.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import FrameType
from typing import Any

from foldpack.engine.deadline import process_age
from foldpack.engine.pool import leave_signals_to_the_engine
from foldpack.engine.runlog import LOG_NAME, RunLog
from foldpack.errors import FoldpackError
from foldpack.kernel.fallback import Fallback, make_fallback
from foldpack.kernel.options import kernel_options
from foldpack.kernel.policy import (
    END_SIGNALS,
    EXIT_INPUT,
    EXIT_NOTHING,
    EXIT_OK,
    errors_stand,
    exit_code,
    is_rerun,
    signal_exit_code,
)


class KernelStart:
    """What a kernel knows before its work begins: its options, its log, and once it is found, the fallback."""

    def __init__(self, spec: dict[str, Any], argv: list[str] | None) -> None:
        """spec: as it stands in the script; argv: None for the process's own. Raises SystemExit for `--help` and for
        wrong arguments."""
        budget = spec.get("budget", {})
        self.spec = spec
        self.options = kernel_options(argv, spec["name"], budget.get("hours", 9.0))
        self.stands = errors_stand(budget.get("on_error", "auto"), is_rerun())  # an error ends with 0, if it may
        began = time.monotonic() - process_age()
        self.log = RunLog(lambda: time.monotonic() - began, self.options.output / LOG_NAME)
        self.fallback: Fallback | None = None

    def find(self) -> Fallback:
        """Find the sample submission. Raises InputError or DataError; nothing is written."""
        self.fallback = make_fallback(self.spec, self.options.input, self.options.output)
        return self.fallback

    def is_answered(self) -> bool:
        """Whether a submission with the sample's columns and ids is there."""
        return self.fallback is not None and self.fallback.is_answered()

    def end(self, code: int, reason: str) -> int:
        """Say what stands. code: what the end means by itself. Returns the exit code."""
        if self.fallback is None:
            return code
        valid = self.fallback.is_answered()
        code = exit_code(code, valid, self.stands)
        self.log.note("the submission stands" if code == EXIT_OK else "failed", reason=reason, exit_code=code)
        if valid:
            self.log.note("end", rows=len(self.fallback.table.rows), submission=self.fallback.holds())
        return code

    def end_at_signal(self, number: int, frame: FrameType | None) -> None:
        """Handler of SIGTERM and SIGINT: ends the process here and now. An exception might be swallowed by an import,
        and nothing is open that wants to be closed."""
        code = signal_exit_code(number)
        try:
            code = self.end(code, f"terminated by signal {number}")
        finally:
            os._exit(code)

    def watch_signals(self) -> None:
        """From now on SIGTERM and SIGINT (Ctrl-C) end the process with what stands, until the watchdog takes over."""
        if threading.current_thread() is threading.main_thread():
            for number in END_SIGNALS:
                signal.signal(number, self.end_at_signal)


def begin_kernel(spec: dict[str, Any], running: bool) -> AbstractContextManager[None]:
    """What a packed script does around the imports of other packages. running: not in a worker process."""
    if multiprocessing.parent_process() is not None:
        leave_signals_to_the_engine()
    return guarded_start(spec) if running else nullcontext()


@contextmanager
def guarded_start(spec: dict[str, Any]) -> Iterator[None]:
    """Write the fallback; then, around the imports: one that fails leaves it, and the exit code is as policy says.

    spec: as it stands in the script. Raises SystemExit for `--help`, for wrong arguments, and where there is no sample
    submission to answer.
    """
    start = KernelStart(spec, None)
    start.watch_signals()
    try:
        fallback = start.find()
        kept = fallback.stand(start.options.scratch / "units" / spec["stages"][-1]["name"])
    except FoldpackError as failure:
        print(f"error: {failure}", flush=True)
        raise SystemExit(start.end(EXIT_INPUT, str(failure))) from None
    holds = "kept as a process before this one left it" if kept else "the training prior stands"
    start.log.say(f"{fallback.path}: {len(fallback.table.rows)} rows, {holds}; now the libraries are imported")
    try:
        yield
    except BaseException as failure:  # SystemExit too: of wheels that are not there
        if start.end(EXIT_NOTHING, f"{type(failure).__name__} while the libraries were imported") != EXIT_OK:
            raise
        traceback.print_exception(failure)
        raise SystemExit(EXIT_OK) from None
