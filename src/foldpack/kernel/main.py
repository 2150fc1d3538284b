"""Run the stages of an ensemble inside a time limit, and hand in the answer of the last one.

What happens, in this order:

1. Before the imports of other packages, `begin` finds the competition's folder by its sample submission and writes a
   fallback, the training prior for every item: from then on, a valid submission stands.
2. The spec is read, the test images are listed, keys and sealed files are found by the hash of their headers, anywhere
   below the input folder. What is missing is named.
3. Stage by stage, units are planned: one fold of a member over all images, with all its views. Workers start on every
   device that answers, and images are decoded meanwhile.
4. Units are handed out in shards. A finished one goes into the blend, and the submission is replaced, whole, each time.
   What lies on the disk half done is taken up by the next process, if this one is killed.
5. The clock starts with the process. At the end of the budget, less its margin, what is there is handed in, and the
   submission is checked against the sample: ids, order, columns, answers.

On Kaggle it takes no arguments. Anywhere else `--input DIR --output DIR --hours H` replace /kaggle/input,
/kaggle/working and the budget of the spec.

Exit codes: 0 only with a checked submission; 1 when no unit was finished in time (the submission is then the training
prior); 2 when an input is missing or does not fit, when not one test image can be read, or when the submission cannot
be written; 3 when the watchdog had to end it; 143 after SIGTERM, 130 after Ctrl-C. In the competition's rerun, or with
`on_error: stand`, 0 also after an error as long as a valid submission stands.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from functools import partial
from typing import Any

from foldpack.competitions.protocol import AskedCompetition
from foldpack.data.items import boxes_of
from foldpack.engine.deadline import Deadline, process_age
from foldpack.ensemble.finished_units import OpenLevel2
from foldpack.errors import FoldpackError
from foldpack.kernel.policy import EXIT_INPUT, EXIT_LATE, EXIT_NOTHING, EXIT_OK, exit_code
from foldpack.kernel.session import KernelSession
from foldpack.kernel.stage import StageRunner
from foldpack.kernel.start import KernelStart
from foldpack.kernel.submission import save_probs
from foldpack.kernel.watchdog import Terminated, Watchdog
from foldpack.models.classifier import MakeNet
from foldpack.predict.view import View
from foldpack.settings.ensemble import EnsembleSpec
from foldpack.settings.outputs import HandOnDecision
from foldpack.settings.stages import SpecError
from foldpack.settings.strict_model import parse_strict
from foldpack.tasks.protocol import Task


def run_kernel(spec: dict[str, Any], keys: dict[str, str], argv: list[str] | None, tasks: dict[str, Task],
               adapter: AskedCompetition, views: Mapping[str, View], networks: Mapping[str, MakeNet] | None = None,
               level2: OpenLevel2 | None = None) -> int:
    """Predict, write `submission.csv`, check it. Returns the exit code.

    spec: an ensemble as it stands in the script; keys: of the sealed files, by name; argv: None for the process's own;
    tasks: by name; adapter: of the competition; views: of all members, by name; networks: of the project's own, by how
    checkpoints name them; level2: of an ensemble that has it.
    """
    start = KernelStart(spec, argv)
    options = start.options
    kernel: KernelSession | None = None
    try:
        fallback = start.find()
        ensemble = parse_strict(EnsembleSpec, spec, "SPEC", SpecError)
        deadline = Deadline(options.hours, ensemble.budget.margin, already_run=process_age())
        kernel = KernelSession(ensemble, keys, start, deadline, fallback, adapter, views, networks or {},
                               level2)
        kernel.first_submission()
        with Watchdog(deadline, partial(end_late, kernel, start)):
            run_stages(kernel, tasks)
            kernel.submission.check()
        if options.probs is not None and kernel.rows is not None:
            save_probs(options.probs, next(iter(kernel.rows.columns.values())))
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
        rows = StageRunner(kernel, stage, task, items, kernel.hand_in).run()
        if rows is None:
            return
        if isinstance(stage.decision, HandOnDecision):
            items = boxes_of(items, rows, stage.decision.most)
            kernel.log.say(f"{stage.name}: {len(items)} boxes in {len(items.ids)} images")


def end_well(kernel: KernelSession, hours: float) -> int:
    """After all stages: nothing is left for a restart. Returns the exit code."""
    kernel.tidy()
    kernel.close()
    path, asked = kernel.submission.path, len(kernel.items.answer_ids)
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
