"""What is kept of a fold's training, so that it goes on to the bit after its process was killed.

Whatever training changes is held by an object with `state_dict` and `load_state_dict`, and `FoldTraining.holders` names
them all. Images need nothing of the kind: order and augmentation follow from the seed, the epoch and the row.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, fields
from typing import Any, Protocol

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object

from foldpack.data.rows import Rows
from foldpack.models.checkpoint import GoldenLogits
from foldpack.models.gallery import Gallery
from foldpack.train.evaluate import FoldResult


class Stateful(Protocol):
    """Something that training changes."""

    def state_dict(self) -> dict[str, Any]:
        """Its state: tensors, arrays, plain values, and lists, tuples and dicts of these."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> object:
        """Take over such a state."""


@dataclass
class Progress:
    """How far the training of a fold has come."""

    epoch: int = 0  # the one to train next, or that is being trained
    batch: int = 0  # so many batches of it are done
    loss: float = 0.0  # sum over the items of these
    items: int = 0
    updates: int = 0  # of the weights, in all epochs
    slower: float = 1.0  # what all learning rates are multiplied with, below 1 once the fold has gone back
    left_out: int = 0  # updates that were not finite, in all epochs
    skipped: int = 0  # of this epoch
    in_a_row: int = 0
    overflows: int = 0  # updates in a row whose fp16 gradient had no room
    rate: float = 0.0  # the learning rate at the start of the epoch
    seconds: float = 0.0  # that the epoch has taken
    stale: int = 0  # epochs since the best one
    ended: bool = False  # no further epoch
    best: FoldResult | None = None

    @property
    def in_streak(self) -> bool:
        """Whether the last update was not made: weights that may be why are none to go back to."""
        return self.in_a_row > 0 or self.overflows > 0

    def next_epoch(self, ended: bool) -> None:
        """The epoch is done and evaluated."""
        self.epoch, self.seconds, self.skipped, self.ended = self.epoch + 1, 0.0, 0, ended

    def state_dict(self) -> dict[str, Any]:
        """All but the best epoch, which has a file of its own."""
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name != "best"}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over such a state."""
        for name, value in state_dict.items():
            setattr(self, name, value)


class RandomState:
    """The generators that training draws from: Python's, numpy's, torch's, its GPU's. Each process has its own."""

    def __init__(self, accelerator: Accelerator) -> None:
        self.accelerator = accelerator
        self.gpu = accelerator.device if accelerator.device.type == "cuda" else None

    def state_dict(self) -> dict[str, Any]:
        """To be called by all processes at once."""
        _, words, *rest = np.random.get_state()
        own = {"python": random.getstate(), "numpy": (np.asarray(words).astype(np.int64), *rest),
               "torch": torch.get_rng_state(), "cuda": torch.cuda.get_rng_state(self.gpu) if self.gpu else None}
        return {"processes": gather_object([own]) if self.accelerator.num_processes > 1 else [own]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Set those of this process."""
        own = state_dict["processes"][self.accelerator.process_index]
        random.setstate(own["python"])
        words, *rest = own["numpy"]
        np.random.set_state(("MT19937", words.astype(np.uint32), *rest))
        torch.set_rng_state(own["torch"])
        if self.gpu:
            torch.cuda.set_rng_state(own["cuda"], self.gpu)


def result_state(result: FoldResult) -> dict[str, Any]:
    """A result as plain parts: what `restored_result` takes."""
    gallery = None if result.gallery is None else (result.gallery.vectors, result.gallery.identities)
    return {**{field.name: getattr(result, field.name) for field in fields(result)},
            "views": [{field.name: getattr(rows, field.name) for field in fields(rows)} for rows in result.views],
            "golden": result.golden.model_dump(mode="json"), "gallery": gallery}


def restored_result(state: dict[str, Any]) -> FoldResult:
    """What `result_state` was made of."""
    gallery = None if state["gallery"] is None else Gallery(*state["gallery"])
    return FoldResult(**{**state, "views": [Rows(**rows) for rows in state["views"]],
                         "golden": GoldenLogits(**state["golden"]), "gallery": gallery})
