"""Level 2 as the kernel applies it: boosters on the candidate table, read from text.

Only the entry of an ensemble with level 2 hands it in, so that another kernel does not hold it.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from foldpack.data.rows import Rows
from foldpack.engine.units import Unit
from foldpack.ensemble.candidates import MemberRows, candidate_blocks
from foldpack.ensemble.finished_units import Fuser
from foldpack.errors import FoldpackError
from foldpack.sealed.container import read_sealed
from foldpack.sealed.format import DataKey
from foldpack.settings.ensemble import EnsembleSpec, booster_role
from foldpack.settings.stages import Decision, StageSpec

LEVEL2_SHARE = 0.02  # of the time left that level 2 may take after a unit; after the last it may take what it needs

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


class BoosterFuser:
    """Fuses as another fuser does, and answers better with boosters on top: `finished_units.Level2`."""

    def __init__(self, stage: StageSpec, fuser: Fuser, texts: list[str]) -> None:
        """fuser: of the blend; its units have a column `probs` (n, C). texts: of the boosters, in their order."""
        [self._level2] = stage.level2
        self._stage, self._fuser, self._texts = stage, fuser, texts
        self._probs: dict[str, np.ndarray] = {}  # (n, C) float32 sums of the folds, of the members of the fit
        self._folds: Counter[str] = Counter()
        self.seconds = 0.0
        self.stale = False

    def answers(self, unit: Unit, rows: Rows) -> Rows:
        """As the blend has them."""
        return self._fuser.answers(unit, rows)

    def add(self, unit: Unit, rows: Rows) -> None:
        """Take the answers of one finished unit in; what is raised has changed nothing."""
        run = unit.member.run
        probs = np.asarray(rows.columns["probs"], dtype=np.float32)
        probs = self._probs[run] + probs if run in self._probs else probs
        self._fuser.add(unit, rows)
        self.stale = True
        if run in self._level2.members:
            self._probs[run] = probs
            self._folds[run] += 1

    def forget(self, run: str) -> None:
        """Take all units of a run out again."""
        self._fuser.forget(run)
        self.stale = True
        self._probs.pop(run, None)
        self._folds.pop(run, None)

    def result(self) -> tuple[Rows, Decision]:
        """The blend. Raises ValueError before the first unit."""
        return self._fuser.result()

    def member_rows(self, first: int, end: int) -> np.ndarray:
        """(M, end - first, C) float32 probabilities of some items, of the members in the order of the fit."""
        return np.stack([self._probs[run][first:end] / np.float32(self._folds[run]) for run in self._level2.members])

    def better(self, seconds_left: float, last: bool) -> tuple[Rows, Decision] | None:
        """Level 2's answer; None while a member has no finished fold, or it would take too much of the time."""
        if not self._probs.keys() >= set(self._level2.members):
            return None
        if self.seconds and self.seconds > (1 / 1.2 if last else LEVEL2_SHARE) * seconds_left:
            return None
        started = time.monotonic()
        blend = self.result()[0]
        boosters: list[tuple[str, str]] = [
            (one.kind, text) for one, text in zip(self._level2.boosters, self._texts, strict=True)]
        probs = level2_probs(boosters, self.member_rows, blend.columns["probs"],
                             np.asarray(self._stage.outputs.prior, np.float32), self._level2.top, self._level2.reject)
        self.seconds, self.stale = time.monotonic() - started, False
        return Rows({"probs": probs}, blend.starts), self._level2.decision or self._stage.decision


def open_level2(spec: EnsembleSpec, stage: StageSpec, fuser: Fuser, files: dict[str, Path],
                keys: dict[str, DataKey]) -> BoosterFuser | None:
    """The boosters of a stage on top of its fuser; None where it has none, or not all of them were found.

    files: by header hash; keys: by file id. Raises SealedError.
    """
    headers = [str(one.header) for level2 in stage.level2 for one in level2.boosters]
    if not headers or not files.keys() >= set(headers):
        return None
    return BoosterFuser(stage, fuser, read_booster_texts(spec, stage, files, keys))


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
