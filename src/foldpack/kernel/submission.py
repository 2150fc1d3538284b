"""The file to hand in: from the rows of the last stage to checked rows, replaced as a whole each time."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np

from foldpack.competitions.answer_table import write_answers
from foldpack.competitions.protocol import AskedCompetition
from foldpack.data.rows import Rows
from foldpack.ensemble.answers import answers_of
from foldpack.errors import DataError, FoldpackError
from foldpack.files import write_atomic
from foldpack.kernel.fallback import Fallback
from foldpack.settings.ensemble import EnsembleSpec
from foldpack.settings.stages import Decision


def save_probs(path: Path, probs: np.ndarray) -> None:
    """Write (n, C) float32 as `.npy`. Raises DataError where that cannot be written."""
    content = BytesIO()
    np.save(content, probs, allow_pickle=False)
    try:
        write_atomic(path, content.getvalue())
    except OSError as failure:
        raise DataError(f"{path}: probabilities cannot be written ({failure}); give --probs another file") from None


class Submission:
    """`submission.csv` of one test set. At every moment the file is absent or valid."""

    def __init__(self, spec: EnsembleSpec, fallback: Fallback, adapter: AskedCompetition) -> None:
        """fallback: the sample submission that was found, and the prior's answer. Raises DataError for an unreadable
        sample submission."""
        self.stage = spec.last
        self.fallback = fallback
        self.adapter = adapter
        self.path = fallback.path
        self.items = adapter.test(fallback.root)

    def write(self, rows: Rows, decision: Decision) -> None:
        """Replace the file. rows: of the last stage."""
        answers = answers_of(rows, decision, self.stage.outputs)
        write_answers(self.path, self.adapter.fill(answers, self.items.answer_ids, self.fallback.table))

    def check(self) -> None:
        """Raises DataError unless the file answers exactly what is asked."""
        self.adapter.check(self.path, self.stage, self.fallback.root)

    def is_valid(self) -> bool:
        """Whether the file answers exactly what is asked."""
        try:
            self.check()
        except FoldpackError:
            return False
        return True
