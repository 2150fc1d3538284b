"""A metric of your own: a Python file with `metric(y, p, groups)`."""

from __future__ import annotations

import inspect
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import numpy as np

from foldpack.errors import FoldpackError
from foldpack.metrics.classification import predicted_class
from foldpack.metrics.registry import METRICS, Metric, Needs, get_metric

NEEDS = [*(one for one in get_args(Needs) if one not in ("labels", "pages")), "class"]


def find_metric(name: str) -> Metric:
    """A metric of the registry, or of a file when the name ends in .py."""
    return load_metric(Path(name)) if name.endswith(".py") else get_metric(name)


def load_metric(path: Path) -> Metric:
    """Run a file and take its `metric(y, p)` or `metric(y, p, groups)`; the file's stem is the metric's name.

    The file may also set `greater_is_better` (True) and `needs` ("probs"): "probs", "grades" or "values" as in
    `registry.Needs`, or "class", with which p is the (n,) likeliest class. Labels are left out, as a threshold can only
    be swept for an F-beta. The file is run as code: only use one that you trust. Raises FoldpackError.
    """
    if path.stem in METRICS:
        raise FoldpackError(f"metric {path}: '{path.stem}' is the name of a built-in metric; rename the file")
    if not path.is_file():
        raise FoldpackError(f"metric {path}: there is no such file; built-in metrics are {', '.join(sorted(METRICS))}")
    try:
        names = runpy.run_path(str(path))
    except Exception as failure:
        raise FoldpackError(f"metric {path}: the file failed: {type(failure).__name__}: {failure}") from failure
    function = names.get("metric")
    if not callable(function):
        raise FoldpackError(f"metric {path}: the file defines no function metric(y, p, groups)")
    needs = names.get("needs", "probs")
    if needs not in NEEDS:
        raise FoldpackError(f"metric {path}: needs = {needs!r}; allowed are {', '.join(NEEDS)}")
    arguments = len(inspect.signature(function).parameters)
    if arguments not in (2, 3):
        raise FoldpackError(f"metric {path}: metric takes {arguments} arguments; it must take (y, p) or (y, p, groups)")
    greater, groups = bool(names.get("greater_is_better", True)), arguments == 3
    function = checked(function, path)
    if needs == "class":
        return Metric(path.stem, of_classes(function), "probs", greater, uses_groups=groups, scored="class")
    return Metric(path.stem, function, needs, greater, uses_groups=groups)


def checked(function: Callable[..., float], path: Path) -> Callable[..., float]:
    """The same metric, whose failures are one line. Raises FoldpackError where it raises, or gives no number."""

    def metric(*arrays: np.ndarray) -> float:
        try:
            score = function(*arrays)
        except Exception as failure:
            shapes = ", ".join(str(np.shape(one)) if one is not None else "None (no --groups)" for one in arrays)
            raise FoldpackError(f"metric {path}: it failed on arrays of shape {shapes}: {type(failure).__name__}: "
                                f"{' '.join(str(failure).split())}") from failure
        if np.ndim(score) or not isinstance(score, int | float | np.number | np.ndarray):
            got = f"{type(score).__name__} {str(score)[:40]!r}"
            raise FoldpackError(f"metric {path}: it gave {got}; needed: one number")
        return float(score)

    return metric


def of_classes(function: Callable[..., float]) -> Callable[..., float]:
    """A metric of (y, class) as one of (y, probabilities): it is shown the likeliest class and nothing else."""
    return lambda y, p, *groups: function(y, predicted_class(np.asarray(p)), *groups)
