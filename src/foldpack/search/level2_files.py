"""Level 2 beside the YAML: boosters as text files in `ensembles/<name>/`, named and hashed in the YAML."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from foldpack.ensemble.level2 import level2_probs
from foldpack.errors import DataError
from foldpack.files import sha256_file, write_atomic
from foldpack.metrics.registry import Metric
from foldpack.search.array_spec import BoosterSpec, Level2Spec
from foldpack.search.level2 import Level2

ENDINGS = {"lightgbm": "txt", "xgboost": "json"}


def write_level2(yaml: Path, level2: Level2, prior: np.ndarray) -> Level2Spec:
    """Write the boosters into the folder named like the YAML, and give its entry."""
    boosters = []
    for one in level2.boosters:
        path = yaml.with_suffix("") / f"{one.kind}.f{one.fold}.s{one.seed}.{ENDINGS[one.kind]}"
        write_atomic(path, one.text)
        entry = {"kind": one.kind, "file": path.name, "sha256": sha256_file(path)}
        boosters.append(BoosterSpec.model_validate(entry))
    threshold = level2.decision.threshold
    return Level2Spec(
        top=level2.options.top,
        reject=level2.options.reject,
        prior=[float(share) for share in prior],
        threshold=threshold.tolist() if isinstance(threshold, np.ndarray) else threshold,
        nested=round(level2.mean, 6),
        nested_se=round(level2.se, 6),
        boosters=boosters,
    )


def apply_level2(yaml: Path, spec: Level2Spec, probs: np.ndarray, blended: np.ndarray) -> np.ndarray:
    """(n, C) float32 of the level 2 of a YAML. probs: (M, n, C), members in its order. Raises DataError."""
    texts: list[tuple[str, str]] = []
    for one in spec.boosters:
        path = yaml.with_suffix("") / one.file
        if not path.is_file() or sha256_file(path) != one.sha256:
            raise DataError(f"{path}: missing or changed since the search; run ./ensemble_search.py again")
        texts.append((one.kind, path.read_text(encoding="utf-8")))
    return level2_probs(texts, probs, blended, np.array(spec.prior, dtype=np.float32), spec.top, spec.reject)


def level2_numbers(level2: Level2, metric: Metric) -> dict:
    """What the report says of level 2."""
    gain, error = level2.gain(metric)
    believed = level2.believed(metric)
    verdict = (
        f"Level 2 reaches {level2.mean:.5f} ± {level2.se:.5f} nested, {gain:+.5f} ± {error:.5f} over the blend: "
        + ("it is used." if believed else "not believed, the blend stands.")
    )
    return {"believed": believed, "nested": level2.mean, "nested_se": level2.se, "gain": gain, "gain_se": error,
            "importance": level2.importance, "notes": level2.notes, "verdict": verdict}  # fmt: skip
