"""Saved states of a training that is killed after so many of them."""

from __future__ import annotations

from typing import Any

import torch

from foldpack.train.evaluate import FoldResult
from foldpack.train.loop.states import FoldStates, StateInfo

DROPOUT = {"arch": "test_vit", "size": 16, "kwargs": {"img_size": 16, "depth": 2, "proj_drop_rate": 0.2}}
BATCH_NORM = {"arch": "test_resnet", "size": 16}


Epochs = list[dict[str, torch.Tensor]]


class Killed(BaseException):
    """The process is gone."""


class MortalStates(FoldStates):
    """The process ends right after so many states were written."""

    left = 1

    def write(self, state: dict[str, Any], best: FoldResult | None) -> None:
        super().write(state, best)
        self.left -= 1
        if not self.left:
            raise Killed


def info_of(**changes: Any) -> StateInfo:
    data: dict[str, Any] = {"run": "toy", "fold": 1, "config_sha256": "1", "folds_sha256": "2", "data_sha256": "3",
                            "images_sha256": "4",
                            "reader": None, "device": "cpu", "processes": 1, "libraries": {"torch": "1.0"}}
    return StateInfo(**{**data, **changes})


def alike(one: Epochs, other: Epochs) -> bool:
    """Whether all weights of all epochs are equal to the bit."""
    return len(one) == len(other) and all(torch.equal(first[name], second[name]) and first.keys() == second.keys()
                                          for first, second in zip(one, other, strict=True) for name in first)
