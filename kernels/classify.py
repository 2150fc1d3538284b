"""Classify images with an ensemble of sealed fold models, inside a time limit.

On Kaggle it takes no arguments. Anywhere else `--input DIR --output DIR --hours H` replace /kaggle/input,
/kaggle/working and the budget of the spec.
Exit codes: 0 only with a checked submission; 1 when no unit was finished in time (the submission is then the training
prior); 2 when an input is missing or does not fit, when not one test image can be read, or when the submission cannot
be written; 3 when the watchdog had to end it; 143 after SIGTERM, 130 after Ctrl-C. In the competition's rerun, or with
`on_error: stand`, 0 also after an error as long as a valid submission stands.
"""

from __future__ import annotations

import multiprocessing
import traceback
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

from foldpack.engine.deadline import Deadline, process_age
from foldpack.engine.pool import leave_signals_to_the_engine
from foldpack.errors import FoldpackError
from foldpack.kernel.policy import (
    EXIT_INPUT,
    EXIT_LATE,
    EXIT_NOTHING,
    EXIT_OK,
    exit_code,
)
from foldpack.kernel.run import KernelRun
from foldpack.kernel.start import KernelStart, guarded_start
from foldpack.kernel.submission import save_probs
from foldpack.kernel.watchdog import Terminated, Watchdog
from foldpack.settings.ensemble import parse_spec


def end_late(kernel: KernelRun, start: KernelStart) -> int:
    """The watchdog's last words. Returns the exit code."""
    return end_early(kernel, start, EXIT_LATE, f"hanging {-kernel.deadline.left():.0f} s after the deadline")


def end_early(kernel: KernelRun | None, start: KernelStart, code: int, reason: str) -> int:
    """After an error: say what stands. kernel: None where its work had not begun. Returns the exit code."""
    if kernel is None:
        return start.end(code, reason)
    valid = kernel.submission.is_valid()
    code = exit_code(code, valid, start.stands)
    kernel.log.note("the submission stands" if code == EXIT_OK else "failed", reason=reason, exit_code=code)
    if valid:
        kernel.close()
    return code


def begin(spec: dict[str, Any], running: bool) -> AbstractContextManager[None]:
    """What the packed script does around the imports of other packages. running: not in a worker process."""
    if multiprocessing.parent_process() is not None:
        leave_signals_to_the_engine()
    return guarded_start(spec) if running else nullcontext()


def main(spec: dict, keys: dict[str, str], argv: list[str] | None = None) -> int:
    """Predict, write `submission.csv`, check it. Returns the exit code."""
    start = KernelStart(spec, argv)
    options, log, stands = start.options, start.log, start.stands
    kernel: KernelRun | None = None
    try:
        fallback = start.find()
        ensemble = parse_spec(spec)
        deadline = Deadline(options.hours, ensemble.budget.margin, already_run=process_age())
        kernel = KernelRun(ensemble, keys, start, deadline, fallback)
        kernel.first_submission()
        with Watchdog(deadline, partial(end_late, kernel, start)):
            if len(kernel.items):
                kernel.run(options.workers)
            kernel.submission.check()
        if options.probs is not None and kernel.answer is not None:
            save_probs(options.probs, kernel.answer)
    except FoldpackError as failure:
        print(f"error: {failure}", flush=True)
        return end_early(kernel, start, EXIT_INPUT, str(failure))
    except Terminated as ending:
        return end_early(kernel, start, ending.exit_code, f"terminated by {ending}")
    except Exception as failure:
        if not (stands and (start.is_answered() if kernel is None else kernel.submission.is_valid())):
            raise
        traceback.print_exc()
        return end_early(kernel, start, EXIT_NOTHING, type(failure).__name__)
    kernel.tidy()
    if len(kernel.items) and not kernel.finished.added:
        kernel.close()
        why = f"{kernel.failed} failed, see above" if kernel.failed else "too slow"
        log.say(f"no unit was finished in time ({why}): work began after {kernel.began:.0f} s of "
                f"{3600 * options.hours:.0f} s; {kernel.submission.path} holds the training prior")
        return exit_code(EXIT_NOTHING, True, stands)
    kernel.close()
    log.say(f"submission {kernel.submission.path}: {len(kernel.items)} rows from {len(kernel.finished.added)} of "
            f"{len(kernel.planned)} units")
    return EXIT_OK
