"""The kernel's answers do not change: networks of fixed seeds give the submission that they gave at the first time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from fixed_networks import MARGIN, VECTOR, run_kernel


def test_networks_of_fixed_seeds_give_the_submission_of_the_vector(tmp_path: Path) -> None:
    ids = pd.read_csv(VECTOR, dtype=str)["id"].tolist()
    output = run_kernel(tmp_path, ids, "--probs", str(tmp_path / "probs.npy"))
    assert (output / "submission.csv").read_bytes() == VECTOR.read_bytes()
    ranked = np.sort(np.load(tmp_path / "probs.npy"), axis=1)
    assert len(ids) > 150 and (ranked[:, -1] - ranked[:, -2]).min() > MARGIN  # or the vector would prove nothing
