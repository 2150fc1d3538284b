"""A whole run of a kernel: stage after stage, under the watchdog, with one exit code for all that may happen."""

from __future__ import annotations

import traceback
from functools import partial
from typing import Any

from foldpack.competitions.protocol import Competition
from foldpack.data.items import boxes_of
from foldpack.engine.deadline import Deadline, process_age
from foldpack.errors import FoldpackError
from foldpack.kernel.policy import EXIT_INPUT, EXIT_LATE, EXIT_NOTHING, EXIT_OK, exit_code
from foldpack.kernel.session import KernelSession
from foldpack.kernel.stage import StageRunner
from foldpack.kernel.start import KernelStart
from foldpack.kernel.submission import save_probs
from foldpack.kernel.watchdog import Terminated, Watchdog
from foldpack.settings.ensemble import EnsembleSpec
from foldpack.settings.outputs import HandOnDecision
from foldpack.settings.stages import SpecError
from foldpack.settings.strict_model import parse_strict
from foldpack.tasks.protocol import Task


def run_kernel(spec: dict[str, Any], keys: dict[str, str], argv: list[str] | None, tasks: dict[str, Task],
               adapter: Competition) -> int:
    """Predict, write `submission.csv`, check it. Returns the exit code.

    spec: an ensemble as it stands in the script; keys: of the sealed files, by name; argv: None for the process's own;
    tasks: by name; adapter: of the competition.
    """
    start = KernelStart(spec, argv)
    options = start.options
    kernel: KernelSession | None = None
    try:
        fallback = start.find()
        ensemble = parse_strict(EnsembleSpec, spec, "SPEC", SpecError)
        deadline = Deadline(options.hours, ensemble.budget.margin, already_run=process_age())
        kernel = KernelSession(ensemble, keys, start, deadline, fallback, adapter)
        kernel.first_submission()
        with Watchdog(deadline, partial(end_late, kernel, start)):
            run_stages(kernel, tasks)
            kernel.submission.check()
        if options.probs is not None and kernel.rows is not None:
            save_probs(options.probs, kernel.rows.columns["probs"])
    except FoldpackError as failure:
        print(f"error: {failure}", flush=True)
        return end_early(kernel, start, EXIT_INPUT, str(failure))
    except Terminated as ending:
        return end_early(kernel, start, ending.exit_code, f"terminated by {ending}")
    except Exception as failure:
        if not (start.stands and (start.is_answered() if kernel is None else kernel.submission.is_valid())):
            raise
        traceback.print_exc()
        return end_early(kernel, start, EXIT_NOTHING, type(failure).__name__)
    return end_well(kernel, options.hours)


def run_stages(kernel: KernelSession, tasks: dict[str, Task]) -> None:
    """Stage after stage, each on what the one before has found. Without an answer of one the fallback stands."""
    items = kernel.items
    if not items.ids:
        return
    kernel.find_inputs()
    kernel.find_devices()
    for stage in kernel.spec.stages:
        task = tasks[stage.task]
        if not len(items):  # every page is empty: that is the answer
            return kernel.hand_in(task.fallback(stage.outputs, items), stage.decision)
        runner = StageRunner(kernel, stage, task, items, kernel.hand_in)
        runner.read_level2()
        rows = runner.run()
        if rows is None:
            return
        if isinstance(stage.decision, HandOnDecision):
            items = boxes_of(items, rows, stage.decision.most)
            kernel.log.say(f"{stage.name}: {len(items)} boxes in {len(items.ids)} images")


def end_well(kernel: KernelSession, hours: float) -> int:
    """After all stages: nothing is left for a restart. Returns the exit code."""
    kernel.tidy()
    kernel.close()
    path, asked = kernel.submission.path, len(kernel.items.ids)
    if asked and kernel.rows is None:
        why = f"{kernel.failed} failed, see above" if kernel.failed else "too slow"
        kernel.log.say(f"no unit was finished in time ({why}): work began after {kernel.began:.0f} s of "
                       f"{3600 * hours:.0f} s; {path} holds the training prior")
        return exit_code(EXIT_NOTHING, True, kernel.stands)
    done = sum(map(len, kernel.done.values()))
    kernel.log.say(f"submission {path}: {asked} rows from {done} of {len(kernel.planned)} units")
    return EXIT_OK


def end_late(kernel: KernelSession, start: KernelStart) -> int:
    """The watchdog's last words. Returns the exit code."""
    return end_early(kernel, start, EXIT_LATE, f"hanging {-kernel.deadline.left():.0f} s after the deadline")


def end_early(kernel: KernelSession | None, start: KernelStart, code: int, reason: str) -> int:
    """After an error: say what stands. kernel: None where its work had not begun. Returns the exit code."""
    if kernel is None:
        return start.end(code, reason)
    valid = kernel.submission.is_valid()
    code = exit_code(code, valid, start.stands)
    kernel.log.note("the submission stands" if code == EXIT_OK else "failed", reason=reason, exit_code=code)
    if valid:
        kernel.close()
    return code
