"""Which training items an epoch has, in which order, and how much each counts: functions of seed and epoch alone."""

from __future__ import annotations

import numpy as np

from foldpack.settings.run import ConfigError, RunConfig
from foldpack.settings.training.sampler import SamplerConfig
from foldpack.train.dataset import EpochOrder, TrainingSet


def build_order(config: RunConfig, data: TrainingSet, rows: np.ndarray, seed: int) -> EpochOrder:
    """The order of some rows of a training set. seed: of the fold. Raises ConfigError for one that does not fit."""
    sampler, count = config.sampler, len(rows)
    if sampler.kind == "shuffled":
        return EpochOrder(lambda epoch: generator(seed, epoch).permutation(count))
    if sampler.kind == "weighted":
        assert sampler.column is not None
        weights = data.numbers[sampler.column][rows]
        if not weights.sum() > 0:
            raise ConfigError(f"run '{config.run}': sampler.column '{sampler.column}' is 0 for all {count} training "
                              "items of a fold; one at least must be above 0")
        return EpochOrder(lambda epoch: generator(seed, epoch).choice(count, count, p=weights / weights.sum()))
    classes = classes_of(data, f"run '{config.run}': sampler '{sampler.kind}'")[rows]
    if sampler.kind != "m_per_class":
        return EpochOrder(lambda epoch: by_class(classes, wanted(sampler, classes, generator(seed, epoch)),
                                                 generator(seed, epoch, 1)))
    assert sampler.m is not None
    require_batches(config, len(np.unique(classes)), count)
    return EpochOrder(lambda epoch: m_per_class(classes, sampler.m or 1, config.batch_size, generator(seed, epoch)))


def generator(*key: int) -> np.random.Generator:
    """Numbers that follow from a key."""
    return np.random.default_rng(key)


def classes_of(data: TrainingSet, what: str) -> np.ndarray:
    """(n,) int64: the class that each item is sampled by: of several labels its rarest, the first of equally rare ones;
    of no label one of its own; of a single whole number that number. what: begins the message.

    Raises ConfigError for other values.
    """
    targets = data.targets
    if targets.ndim == 1:
        return targets
    if data.task != "regress":
        counts = targets.sum(axis=0)
        rarest = np.where(targets, counts, len(targets) + 1).argmin(axis=1)
        return np.where(targets.any(axis=1), rarest, targets.shape[1])
    if targets.shape[1] > 1 or (targets % 1).any():
        raise ConfigError(f"{what} goes by class, and the targets are values: {', '.join(data.classes)}; it takes a "
                          "single target of whole numbers")
    return targets[:, 0].astype(np.int64)


def wanted(sampler: SamplerConfig, classes: np.ndarray, chance: np.random.Generator) -> dict[int, int]:
    """Class -> how many of its items an epoch has. balanced: as many items as there are, the same of each class; the
    few that are left over go to classes by chance."""
    names, counts = np.unique(classes, return_counts=True)
    if sampler.kind == "per_class":
        counts = np.maximum(counts, sampler.least or 1)
        counts = counts if sampler.most is None else np.minimum(counts, sampler.most)
    else:
        each, more = divmod(len(classes), len(names))
        counts = np.full(len(names), each)
        counts[chance.permutation(len(names))[:more]] += 1
    return dict(zip(names.tolist(), counts.tolist(), strict=True))


def by_class(classes: np.ndarray, counts: dict[int, int], chance: np.random.Generator) -> np.ndarray:
    """Positions of so many items of each class, shuffled. An item comes once more only when all of its class have come
    as often. classes: (n,)."""
    taken = []
    for name, count in counts.items():
        places = np.flatnonzero(classes == name)
        whole, more = divmod(count, len(places))
        taken += [places] * whole + [chance.permutation(places)[:more]]
    return chance.permutation(np.concatenate(taken))


def m_per_class(classes: np.ndarray, m: int, batch_size: int, chance: np.random.Generator) -> np.ndarray:
    """Positions of whole batches: each has `batch_size / m` classes drawn by chance, and m items of each, none twice
    where the class has m. As MPerClassSampler of pytorch-metric-learning, over about as many items as there are."""
    names = np.unique(classes)
    places = {int(name): np.flatnonzero(classes == name) for name in names}
    batches = []
    for _ in range(len(classes) // batch_size):
        for name in chance.permutation(names)[: batch_size // m].tolist():
            batches.append(chance.choice(places[name], m, replace=len(places[name]) < m))
    return np.concatenate(batches)


def require_batches(config: RunConfig, classes: int, items: int) -> None:
    """Raises ConfigError where a batch cannot have m items each of so many classes."""
    m, size = config.sampler.m or 1, config.batch_size
    where = f"run '{config.run}': sampler.m {m} does not fit batch_size {size}"
    if size % m:
        raise ConfigError(f"{where}: it must divide it")
    if size // m > classes:
        raise ConfigError(f"{where}: a batch would have {size // m} classes, and there are {classes}; set a larger m "
                          "or a smaller batch_size")
    if size > items:
        raise ConfigError(f"{where}: there are {items} training items, fewer than a batch has; lower batch_size")


def item_weights(config: RunConfig, data: TrainingSet, rows: np.ndarray) -> np.ndarray | None:
    """(n,) float32 of all items: what the loss of each is multiplied with; None where all count the same. Raises
    ConfigError."""
    weights = run_weights(config, data, rows)
    if data.counts is None:
        return weights
    return data.counts if weights is None else weights * data.counts


def run_weights(config: RunConfig, data: TrainingSet, rows: np.ndarray) -> np.ndarray | None:
    """The same by the run's `weights` alone.

    balanced: the number of rows by that of classes and of the item's class among the rows, as scikit-learn has it, so
    that their mean over the rows is 1. Raises ConfigError.
    """
    if config.weights.kind == "none":
        return None
    if config.weights.column is not None:
        weights = data.numbers[config.weights.column]
        if not weights[rows].sum() > 0:
            raise ConfigError(f"run '{config.run}': weights.column '{config.weights.column}' is 0 for all {len(rows)} "
                              "training items of a fold; one at least must be above 0")
        return weights.astype(np.float32)
    classes = classes_of(data, f"run '{config.run}': weights 'balanced'")
    names, counts = np.unique(classes[rows], return_counts=True)
    weights = np.ones(len(classes), dtype=np.float32)
    weights[rows] = (len(rows) / (len(names) * counts))[np.searchsorted(names, classes[rows])]
    return weights
