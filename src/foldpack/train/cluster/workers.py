"""The workers that an option asks for, each tried before it is given anything to do."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from foldpack.settings.run import RunConfig
from foldpack.train.cluster.connect import connected, read_cluster, threads_of
from foldpack.train.cluster.orders import GONE, ClusterError, Order
from foldpack.train.cluster.pool import OwnPool, Pool
from foldpack.train.cluster.table import Board
from foldpack.train.cluster.versions import program_versions
from foldpack.train.cluster.work import digests
from foldpack.train.load import Where
from foldpack.train.run import RunTrainer


def blank_order(where: Where, near: bool) -> Order:
    """What all orders of a command share. near: all workers are on this machine."""
    return Order("check", "check", str(Path.cwd()), str(where.data), str(where.folds_csv), str(where.runs), [],
                 near=near)


def seen_from_afar(where: Where) -> Where:
    """Whole paths, of a run that others train."""
    return replace(where, data=where.data.resolve(), folds_csv=where.folds_csv.resolve(), runs=where.runs.resolve(),
                   here=False)


@contextlib.contextmanager
def workers(cluster: str | None, blank: Order, opened: Sequence[RunTrainer], board: Board) -> Iterator[Pool]:
    """A pool of workers that could train these runs; without a cluster one child of this process.

    cluster: as of `read_cluster`. Raises ClusterError.
    """
    if cluster is None:
        with OwnPool(threads_of(1)) as pool:
            yield pool
        return
    from distributed.client import ClosedClientError

    from foldpack.train.cluster.dask_pool import DaskPool, quiet

    quiet()
    wanted = read_cluster(cluster)
    with checking(blank, opened) as check, connected(wanted, cluster, board.say) as client, \
            DaskPool(client, check, wanted.own, board.say) as pool:
        pool.wait(board.say)
        try:
            yield pool
        except (OSError, TimeoutError, ClosedClientError) as failure:
            if getattr(failure, "filename", None) is not None:  # of a file, not of the network
                raise
            said = " ".join(str(failure).split())
            raise ClusterError(f"--cluster {cluster}: {GONE} ({said})") from failure


@contextlib.contextmanager
def checking(blank: Order, opened: Sequence[RunTrainer]) -> Iterator[Order]:
    """What every worker has to pass, while the token lies in the folder of runs that it looks for."""
    token = Path(blank.runs) / f".cluster-{uuid.uuid4().hex[:12]}"
    found = digests(blank.data, [trainer.config for trainer in opened], opened)
    token.parent.mkdir(parents=True, exist_ok=True)
    token.touch()
    try:
        yield replace(blank, configs=[plain_config(trainer.config) for trainer in opened],
                      expected={"versions": program_versions(), "token": token.name, "digests": found})
    finally:
        token.unlink(missing_ok=True)


def plain_config(config: RunConfig) -> dict:
    """A configuration as JSON takes it."""
    return config.model_dump(mode="json")
