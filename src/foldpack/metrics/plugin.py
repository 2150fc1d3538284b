"""A metric of your own: a function `metric(y, p, groups)` in a Python file, named as `FILE.py` or `FILE.py:NAME`.

`FILE.py:NAME:lower` or `:greater` says which way is better, whatever the file says.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import get_args

import numpy as np

from foldpack.errors import FoldpackError
from foldpack.metrics.classification import predicted_class
from foldpack.metrics.registry import METRICS, Metric, Needs, get_metric
from foldpack.settings.project_code import is_project_code, load_code, run_file, split_code

WAYS = {"lower": False, "greater": True}  # what may stand behind FILE.py:NAME, and whether greater is better
NEEDS = [*(one for one in get_args(Needs) if one not in ("labels", "pages")), "class"]


def find_metric(name: str) -> Metric:
    """A metric of the registry, or of a file: `FILE.py:NAME`. Raises FoldpackError."""
    return load_metric(name) if is_project_code(name) else get_metric(name)


def load_metric(place: str) -> Metric:
    """Take `metric(y, p)` or `metric(y, p, groups)` from a file, or another function by its name, which is the metric's
    name too; else that is the file's.

    The function or the file may also have `greater_is_better` (True) and `needs` ("probs"): "probs", "grades" or
    "values" as in `registry.Needs`, or "class", with which p is the (n,) likeliest class. Labels are left out, as a
    threshold can only be swept for an F-beta. Raises FoldpackError.
    """
    place, way = split_way(place)
    file, given = split_code(place, "metric")
    name = file.stem if given == "metric" else given
    if name in METRICS:
        raise FoldpackError(f"metric {place}: '{name}' is the name of a built-in metric; rename it")
    function = load_code(place, "metric")
    if not callable(function):
        raise FoldpackError(f"metric {place}: '{given}' is no function metric(y, p, groups)")
    said = {**vars(run_file(file, f"metric {place}")), **getattr(function, "__dict__", {})}
    needs = said.get("needs", "probs")
    if needs not in NEEDS:
        raise FoldpackError(f"metric {place}: needs = {needs!r}; allowed are {', '.join(NEEDS)}")
    arguments = len(inspect.signature(function).parameters)
    if arguments not in (2, 3):
        raise FoldpackError(f"metric {place}: {given} takes {arguments} arguments; it must take (y, p) or (y, p, "
                            "groups)")
    greater, groups = bool(said.get("greater_is_better", True) if way is None else way), arguments == 3
    function = checked(function, place)
    if needs == "class":
        return Metric(name, of_classes(function), "probs", greater, uses_groups=groups, scored="class")
    return Metric(name, function, needs, greater, uses_groups=groups)


def split_way(place: str) -> tuple[str, bool | None]:
    """`metric.py:loss:lower` -> `metric.py:loss`, and whether greater is better; None where it does not say."""
    rest, _, last = place.rpartition(":")
    return (rest.removesuffix(":"), WAYS[last]) if ":" in rest and last in WAYS else (place, None)


def checked(function: Callable[..., float], place: str) -> Callable[..., float]:
    """The same metric, whose failures are one line. Raises FoldpackError where it raises, or gives no number."""

    def metric(*arrays: np.ndarray) -> float:
        try:
            score = function(*arrays)
        except Exception as failure:
            shapes = ", ".join(str(np.shape(one)) if one is not None else "None (no --groups)" for one in arrays)
            raise FoldpackError(f"metric {place}: it failed on arrays of shape {shapes}: {type(failure).__name__}: "
                                f"{' '.join(str(failure).split())}") from failure
        if np.ndim(score) or not isinstance(score, int | float | np.number | np.ndarray):
            got = f"{type(score).__name__} {str(score)[:40]!r}"
            raise FoldpackError(f"metric {place}: it gave {got}; needed: one number")
        return float(score)

    return metric


def of_classes(function: Callable[..., float]) -> Callable[..., float]:
    """A metric of (y, class) as one of (y, probabilities): it is shown the likeliest class and nothing else."""
    return lambda y, p, *groups: function(y, predicted_class(np.asarray(p)), *groups)
