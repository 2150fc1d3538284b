"""What the benchmarks of the search share: a line of the table, CPU time of one thread, synthetic members.

Import this before numpy: it holds linear algebra to one thread.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"  # before numpy is loaded

import numpy as np  # noqa: E402

from foldpack.search.decide.decision import LabelRule  # noqa: E402

ANY = LabelRule(min_labels=0)


@dataclass
class Line:
    """One comparison. wanted: the least ratio, or None; ours, peer: scores; ok: whether all that was asked is met."""

    case: str
    peer_name: str
    seconds: float | None
    peer_seconds: float | None
    ours: float | None
    peer: float | None
    ok: bool | None
    remark: str = ""

    @property
    def ratio(self) -> float | None:
        return self.peer_seconds / self.seconds if self.seconds and self.peer_seconds else None


def cpu(job: Callable[[], Any], repeats: int = 1) -> tuple[float, Any]:
    """Median CPU seconds of a job, and what it gave."""
    times: list[float] = []
    result: Any = None
    for _ in range(repeats):
        start = time.process_time()
        result = job()
        times.append(time.process_time() - start)
    return statistics.median(times), result


def softmax(logits: np.ndarray) -> np.ndarray:
    lifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return lifted / lifted.sum(axis=-1, keepdims=True)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-logits))


def missing(case: str, peer: str) -> list[Line]:
    return [Line(case, peer, None, None, None, None, None, "missing: not installed")]


def regression(seed: int, members: int, items: int) -> tuple[np.ndarray, np.ndarray]:
    rng, setup = np.random.default_rng(seed), np.random.default_rng(2)
    shares, noise = setup.normal(0, 0.4, (members, 3)), setup.uniform(0.6, 1.5, members)
    y, shared = rng.normal(size=items), rng.normal(size=(3, items))
    return y + shares @ shared + noise[:, None] * rng.normal(size=(members, items)), y


def binary(seed: int, members: int, items: int, skill: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    rng, setup = np.random.default_rng(seed), np.random.default_rng(3)
    quality = setup.uniform(*skill, members)
    truth = rng.normal(size=items)
    y = rng.random(items) < sigmoid(1.5 * truth)
    shared = 0.6 * rng.normal(size=items)
    return sigmoid(quality[:, None] * truth + shared + rng.normal(size=(members, items))).astype(np.float32), y
