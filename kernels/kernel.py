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

from contextlib import AbstractContextManager
from typing import Any

from foldpack.competitions.registry import get_competition
from foldpack.kernel.main import run_kernel
from foldpack.kernel.start import begin_kernel
from foldpack.tasks.classify import CLASSIFY


def begin(spec: dict[str, Any], running: bool) -> AbstractContextManager[None]:
    """What the packed script does around the imports of other packages. running: not in a worker process."""
    return begin_kernel(spec, running)


def main(spec: dict, keys: dict[str, str], argv: list[str] | None = None) -> int:
    """Predict, write `submission.csv`, check it. Returns the exit code."""
    return run_kernel(spec, keys, argv, {"classify": CLASSIFY}, get_competition(spec["competition"]))
