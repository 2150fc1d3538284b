"""The file to hand in: from probabilities to checked rows, replaced as a whole each time."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from foldpack.competitions.image_table import (
    ImageTable,
    check_submission,
    read_sample,
    sample_items,
    write_submission,
)
from foldpack.ensemble.answers import answer_cells
from foldpack.errors import FoldpackError
from foldpack.spec import EnsembleSpec


class Submission:
    """`submission.csv` of one test set. At every moment the file is absent or valid."""

    def __init__(self, spec: EnsembleSpec, layout: ImageTable, root: Path, path: Path) -> None:
        """root: the competition's folder; path: the file. Raises DataError for an unreadable sample submission."""
        self.spec = spec
        self.layout = layout
        self.root = root
        self.path = path
        self.sample = read_sample(layout, root)
        self.items = sample_items(layout, root, self.sample)
        self.prior = np.asarray(spec.prior, dtype=np.float32)  # (C,), answers where there is nothing better

    def write(self, probs: np.ndarray, threshold: float | list[float] | None) -> None:
        """Replace the file. probs: (n, C) float32 in [0, 1]."""
        spec = self.spec
        answers = answer_cells(probs, spec.classes, spec.task, threshold, spec.min_labels, spec.max_labels,
                               self.layout.joiner)
        write_submission(self.path, self.layout, self.items.ids, answers, self.sample)

    def write_prior(self) -> None:
        """The training prior for every item: valid from the first second."""
        for half in self.path.parent.glob(f".{self.path.name}.*.tmp"):  # of a process that was killed while writing
            half.unlink()
        self.write(np.tile(self.prior, (len(self.items), 1)), self.spec.threshold)

    def check(self) -> None:
        """Raises DataError unless the file answers exactly what is asked."""
        check_submission(self.path, self.layout, self.root, self.spec.classes)

    def is_valid(self) -> bool:
        """Whether the file answers exactly what is asked."""
        try:
            self.check()
        except FoldpackError:
            return False
        return True
