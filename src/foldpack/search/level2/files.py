"""Level 2 beside the YAML: boosters as text files in `ensembles/<name>/`, named and hashed in the YAML."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from foldpack.ensemble.level2 import level2_probs
from foldpack.errors import DataError
from foldpack.files import sha256_file, write_atomic
from foldpack.metrics.registry import Metric
from foldpack.search.level2.fit import Level2
from foldpack.settings.stages import BoosterSpec, Level2Spec, StageSpec

ENDINGS = {"lightgbm": "txt", "xgboost": "json"}
BOOSTER_FILE = re.compile(r"(lightgbm|xgboost)\.f\d+\.s\d+\.(txt|json)")


def booster_folder(yaml: Path) -> Path:
    """Where the boosters of an ensemble lie."""
    return yaml.with_suffix("")


def write_level2(folder: Path, level2: Level2, metric: Metric, members: list[str]) -> Level2Spec:
    """Write the boosters into a folder, and give their entry in the YAML."""
    boosters = []
    for one in level2.boosters:
        path = folder / f"{one.kind}.f{one.fold}.s{one.seed}.{ENDINGS[one.kind]}"
        write_atomic(path, one.text)
        entry = {"kind": one.kind, "fold": one.fold, "seed": one.seed, "file": path.name, "sha256": sha256_file(path)}
        boosters.append(BoosterSpec.model_validate(entry))
    gain, error = level2.gain(metric)
    return Level2Spec(
        top=level2.options.top,
        reject=level2.options.reject,
        members=members,
        decision=level2.decision,
        oof=round(level2.score, 6),
        nested=round(level2.mean, 6),
        nested_se=round(level2.se, 6),
        gain=round(gain, 6),
        gain_se=round(error, 6),
        boosters=boosters,
    )


def remove_boosters(folder: Path) -> None:
    """Delete what `write_level2` wrote; other files stay."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if BOOSTER_FILE.fullmatch(path.name):
            path.unlink()


def read_boosters(folder: Path, level2: Level2Spec) -> list[tuple[str, str]]:
    """(kind, text) of each booster. Raises DataError when one is missing or changed."""
    texts: list[tuple[str, str]] = []
    for one in level2.boosters:
        path = folder / one.file
        if not path.is_file() or sha256_file(path) != one.sha256:
            raise DataError(f"{path}: missing or changed since the search; run `foldpack search` again")
        texts.append((one.kind, path.read_text(encoding="utf-8")))
    return texts


def level2_of_files(yaml: Path, stage: StageSpec, members: list[np.ndarray], blended: np.ndarray) -> np.ndarray:
    """(n, C) float32 of the level 2 of a stage. members: (n, C) each, in the order of the YAML. Raises DataError."""
    level2, names = stage.level2[0], list(stage.shares)
    chosen = [members[names.index(one)] for one in level2.members]
    return level2_probs(
        read_boosters(booster_folder(yaml), level2),
        lambda first, end: np.stack([member[first:end] for member in chosen]),
        blended,
        np.array(stage.outputs.prior, dtype=np.float32),
        level2.top,
        level2.reject,
    )


def level2_numbers(level2: Level2, metric: Metric) -> dict:
    """What the report says of level 2."""
    gain, error = level2.gain(metric)
    believed = level2.believed(metric)
    verdict = (
        f"Level 2 reaches {level2.mean:.5f} ± {level2.se:.5f} nested, {gain:+.5f} ± {error:.5f} over the blend: "
        + ("it is used." if believed else "not believed, the blend stands.")
    )
    scores = {"oof": level2.score, "nested": level2.mean, "nested_se": level2.se, "gain": gain, "gain_se": error}
    return scores | {"believed": believed, "importance": level2.importance, "notes": level2.notes, "verdict": verdict}
