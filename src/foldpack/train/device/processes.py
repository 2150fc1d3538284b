"""Several processes that train one fold together, as `accelerate launch` starts them.

All of them hold the same weights, see the same scores and take the same decisions. The first one alone writes and
prints. What is alike is computed by all, what need not be by the first, and what can be shared out is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar

import numpy as np
import torch
from accelerate import Accelerator, PartialState
from accelerate.utils import broadcast_object_list, gather_object
from torch import nn

from foldpack.data.rows import Rows
from foldpack.errors import FoldpackError
from foldpack.settings.run import ConfigError, RunConfig

T = TypeVar("T")
Predict = Callable[[np.ndarray], tuple[list[Rows], float]]  # rows of the training set -> by view, and the seconds


def alone() -> bool:
    """Whether there is one process."""
    return PartialState().num_processes == 1


def speaks() -> bool:
    """Whether this is the process that writes and prints."""
    return bool(PartialState().is_main_process)


def told_by_first(compute: Callable[[], T]) -> T:
    """What the first process finds, for all of them; the others wait. Raises what it raises, in all, if it is ours."""
    if alone():
        return compute()
    told: list[Any] = [None]
    if speaks():
        try:
            told = [(compute(), None)]
        except FoldpackError as failure:
            told = [(None, failure)]
    found, fault = broadcast_object_list(told)[0]
    if fault is not None:
        raise fault
    return found


def leave_processes() -> None:
    """At the end of a program: none goes before the others, which would miss it."""
    if not alone():
        PartialState().wait_for_everyone()
        PartialState().destroy_process_group()


@contextmanager
def one_voice() -> Iterator[None]:
    """What all processes check for themselves: where it fails in any of them all end, and the first one says why."""
    if alone():
        yield
        return
    failure = None
    try:
        yield
    except FoldpackError as found:
        failure = found
    failures = gather_object([failure])
    where, first = next(((number, each) for number, each in enumerate(failures) if each is not None), (0, None))
    if first is None:
        return
    if not speaks():
        raise SystemExit(2)
    raise first if where == 0 else type(first)(f"process {where}: {first}")


def require_rounds(config: RunConfig, items: int) -> None:
    """Raises ConfigError where an epoch has no whole batch for each process. items: that an epoch has."""
    count = PartialState().num_processes
    if count > 1 and items < count * config.batch_size:
        raise ConfigError(f"run '{config.run}': an epoch has {items} items, and {count} processes of batch_size "
                          f"{config.batch_size} need {count * config.batch_size}; lower batch_size, or start fewer")


def predicted_in_shares(rows: np.ndarray, predict: Predict) -> tuple[list[Rows], float]:
    """`predict`, each process a part of the rows: the whole, in order, in all of them, and the seconds of the whole.
    Raises in all of them what it raises in one."""
    count = PartialState().num_processes
    if count == 1 or len(rows) < count:
        return predict(rows)
    own: tuple[list[Rows], float, FoldpackError | None]
    try:
        own = (*predict(np.array_split(rows, count)[PartialState().process_index]), None)
    except FoldpackError as found:
        own = ([], 0.0, found)
    parts = gather_object([own])
    if failure := next((each for _, _, each in parts if each is not None), None):
        raise failure
    views = [Rows.joined(list(view)) for view in zip(*(views for views, _, _ in parts), strict=True)]
    return views, sum(spent for _, spent, _ in parts)


@contextmanager
def gradients_stay(accelerator: Accelerator, nets: Sequence[nn.Module], stay: bool) -> Iterator[None]:
    """A forward and a backward pass whose gradients are not yet summed over the processes, where they stay.

    The images of a batch may be of several shapes, and of more in one process than in another; only the last pass of a
    batch may wait for the others.
    """
    with ExitStack() as stack:
        for net in nets if stay else ():
            stack.enter_context(accelerator.no_sync(net))
        yield


def summed(accelerator: Accelerator, loss: float, items: int) -> tuple[float, int]:
    """Sum of the loss and number of items, over all processes."""
    if accelerator.num_processes == 1:
        return loss, items
    both = accelerator.reduce(torch.tensor([loss, items], dtype=torch.float64, device=accelerator.device), "sum")
    return float(both[0]), int(both[1])


def share_statistics(accelerator: Accelerator, net: nn.Module) -> None:
    """Make the running statistics of all processes the mean of theirs. Those of batch norms: each saw other images."""
    if accelerator.num_processes == 1:
        return
    with torch.no_grad():
        for buffer in net.buffers():
            if buffer.is_floating_point():
                buffer.copy_(accelerator.reduce(buffer, "mean"))
