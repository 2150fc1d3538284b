"""Level 2 as the kernel applies it: boosters on the candidate table, read from text.

LightGBM and XGBoost are imported where a booster is read: a kernel without level 2 does not pay for them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from foldpack.ensemble.candidates import MemberRows, candidate_blocks
from foldpack.errors import FoldpackError
from foldpack.sealed.container import read_sealed
from foldpack.sealed.format import DataKey
from foldpack.settings.ensemble import EnsembleSpec, booster_role
from foldpack.settings.stages import StageSpec

# A booster that was read: (R, F) float32 features -> (R,) float32 probability that each candidate is right.
BoosterScorer = Callable[[np.ndarray], np.ndarray]


def read_lightgbm(text: str) -> BoosterScorer:
    """A LightGBM booster from the text that `model_to_string` gave."""
    import lightgbm as lgb

    booster = lgb.Booster(model_str=text)
    return lambda features: np.asarray(booster.predict(features, num_threads=0), dtype=np.float32)


def read_xgboost(text: str) -> BoosterScorer:
    """An XGBoost booster from its JSON text."""
    import xgboost as xgb

    booster: Any = xgb.Booster()
    booster.load_model(bytearray(text.encode("utf-8")))
    return lambda features: np.asarray(booster.inplace_predict(features), dtype=np.float32)


def read_booster(kind: str, text: str) -> BoosterScorer:
    """kind: "lightgbm" or "xgboost"."""
    if kind == "lightgbm":
        return read_lightgbm(text)
    if kind == "xgboost":
        return read_xgboost(text)
    raise FoldpackError(f"a booster of kind {kind!r} is not known; level 2 has lightgbm and xgboost")


def level2_probs(
    boosters: list[tuple[str, str]],
    members: MemberRows,
    blend: np.ndarray,
    prior: np.ndarray,
    top: int,
    reject: int | None = None,
) -> np.ndarray:
    """(n, C) float32: the mean of the boosters for every candidate, 0 for the other classes.

    boosters: (kind, text) of each; blend: (n, C) float32, the blend of the members; prior: (C,) float32.
    """
    scorers = [read_booster(kind, text) for kind, text in boosters]
    answer = np.zeros(blend.shape, dtype=np.float32)
    for first, end, table in candidate_blocks(members, lambda a, b: blend[a:b], prior, len(blend), top, reject):
        total = np.zeros(len(table.item), dtype=np.float64)
        for scorer in scorers:
            total += scorer(table.features)
        answer[first:end][table.item, table.label] = total / len(scorers)
    return answer


def apply_level2(stage: StageSpec, texts: list[str], members: MemberRows, blend: np.ndarray) -> np.ndarray:
    """(n, C) float32 of the level 2 of a stage, in place of its blend.

    texts: of the boosters, in their order; members: rows of `level2.members`; blend: (n, C) of the finished blend.
    """
    if not stage.level2:
        raise FoldpackError(f"the stage '{stage.name}' has no level 2 to apply")
    [level2] = stage.level2
    boosters: list[tuple[str, str]] = [(one.kind, text) for one, text in zip(level2.boosters, texts, strict=True)]
    prior = np.asarray(stage.outputs.prior, np.float32)
    return level2_probs(boosters, members, blend, prior, level2.top, level2.reject)


def read_booster_texts(
    spec: EnsembleSpec, stage: StageSpec, files: dict[str, Path], keys: dict[str, DataKey]
) -> list[str]:
    """Decrypt the boosters of a stage in memory, in their order. files: by header hash; keys: by file id.

    Raises SealedError.
    """
    own = {one.header for level2 in stage.level2 for one in level2.boosters}
    texts = []
    for number, one in enumerate(spec.boosters):
        if one.header not in own:
            continue
        key = keys[Path(str(one.sealed)).stem]
        with read_sealed(files[str(one.header)], key, booster_role(number), one.header) as plain:
            texts.append(plain.to_bytes().decode("utf-8"))
    return texts
