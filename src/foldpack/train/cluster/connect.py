"""`--cluster`: workers on this machine, those of a scheduler that runs, or those that a file tells how to start."""

from __future__ import annotations

import contextlib
import importlib
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foldpack.errors import did_you_mean
from foldpack.settings.run import read_text
from foldpack.settings.strict_model import parse_strict
from foldpack.settings.strict_yaml import load_strict
from foldpack.settings.training.cluster import ClusterConfig
from foldpack.train.cluster.orders import ClusterError

if TYPE_CHECKING:
    from distributed import Client

LOCAL = re.compile(r"local:([1-9][0-9]{0,3})")
ALLOWED = "allowed: local:N (N workers on this machine), tcp://HOST:PORT of a scheduler, or FILE.yml"
CONNECT_SECONDS = 20


@dataclass(frozen=True)
class Wanted:
    """What `--cluster` asks for; one of the three."""

    workers: int | None = None  # on this machine
    address: str | None = None  # of a scheduler
    config: ClusterConfig | None = None

    @property
    def own(self) -> bool:
        """Whether the workers are processes of this terminal's, and read the disks of this machine."""
        return self.workers is not None


def read_cluster(text: str) -> Wanted:
    """What an option says, before anything is started. Raises ClusterError, ConfigError, YamlError."""
    if found := LOCAL.fullmatch(text):
        wanted = Wanted(workers=int(found[1]))
    elif "://" in text:
        wanted = Wanted(address=text)
    elif text.endswith((".yml", ".yaml")):
        config = parse_strict(ClusterConfig, load_strict(read_text(Path(text)), text), text, ClusterError)
        cluster_class(config, text)
        wanted = Wanted(config=config)
    else:
        raise ClusterError(f"--cluster {text}: {ALLOWED}")
    try:
        importlib.import_module("distributed")
    except ImportError:
        raise ClusterError(f"--cluster {text} needs Dask; install it: pip install 'foldpack[cluster]', or pip install "
                           "distributed") from None
    return wanted


def cluster_class(config: ClusterConfig, source: str) -> Callable[..., Any]:
    """The class that a file names. Raises ClusterError."""
    module, _, name = config.cluster.rpartition(".")
    try:
        found = importlib.import_module(module)
    except ImportError as failure:
        raise ClusterError(f"{source}: cluster: {config.cluster} cannot be imported ({failure}); install it, as with "
                           f"pip install {module.partition('.')[0].replace('_', '-')}") from None
    made: Callable[..., Any] | None = getattr(found, name, None)
    if made is None:
        names = [each for each in vars(found) if each.endswith("Cluster")]
        raise ClusterError(f"{source}: cluster: {module} has no '{name}': {did_you_mean(name, names)}")
    return made


def own_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def threads_of(workers: int) -> int:
    """Threads of torch for each of so many workers; OMP_NUM_THREADS, where it is set, is the most."""
    told = os.environ.get("OMP_NUM_THREADS", "")
    share = max(1, own_cores() // workers)
    return min(share, int(told)) if told.isdigit() and int(told) else share


def gpus_of(workers: int, visible: int, told: str | None) -> list[str | None]:
    """CUDA_VISIBLE_DEVICES of each worker: one GPU each, in turn; None where there is none.

    visible: how many there are; told: what the variable says now.
    """
    names = told.split(",")[:visible] if told else [str(number) for number in range(visible)]
    return [names[worker % len(names)] if names else None for worker in range(workers)]


@contextlib.contextmanager
def connected(wanted: Wanted, text: str, say: Callable[[str], None]) -> Iterator[Client]:
    """A client of the cluster, which ends with the block if it was started here. Raises ClusterError."""
    from distributed import Client

    with contextlib.ExitStack() as stack:
        target: Any = wanted.address
        try:
            if target is None:
                target = stack.enter_context(local_cluster(wanted.workers, say) if wanted.workers else
                                             started(wanted.config, text))
            client = stack.enter_context(Client(target, timeout=CONNECT_SECONDS, set_as_default=False))
        except (OSError, ValueError, TypeError, RuntimeError) as failure:
            said = f"{type(failure).__name__}: {' '.join(str(failure).split())}"
            raise ClusterError(f"--cluster {text}: {said}; does the scheduler run, and can it be reached from here?"
                               ) from failure
        yield client


def started(config: ClusterConfig | None, source: str) -> Any:
    """The cluster that a file tells of, with workers on their way."""
    assert config is not None
    cluster = cluster_class(config, source)(**config.kwargs)
    cluster.scale(config.scale)
    return cluster


def local_cluster(workers: int, say: Callable[[str], None]) -> Any:
    """Worker processes on this machine, with a GPU each where there are some."""
    import torch
    from distributed import Nanny, Scheduler, SpecCluster

    gpus, threads = torch.cuda.device_count(), threads_of(workers)
    if 0 < gpus < workers:
        say(f"warning: {workers} workers share {gpus} GPU{'s' if gpus > 1 else ''}")
    names = gpus_of(workers, gpus, os.environ.get("CUDA_VISIBLE_DEVICES"))
    spec = {number: {"cls": Nanny, "options": {
        "nthreads": threads, "memory_limit": 0, "dashboard": False, "silence_logs": 50,
        "env": {} if gpu is None else {"CUDA_VISIBLE_DEVICES": gpu}}} for number, gpu in enumerate(names)}
    scheduler = {"cls": Scheduler, "options": {"host": "127.0.0.1", "port": 0, "dashboard": False,
                                                     "dashboard_address": ":0"}}
    return SpecCluster(spec, scheduler, silence_logs=50, shutdown_on_close=True)
