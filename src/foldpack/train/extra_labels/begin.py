"""Begin each fold with the whole weights of the same fold of another run."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from torch import nn

from foldpack.data.runs import RunMeta, checkpoint_path, read_meta
from foldpack.errors import DataError
from foldpack.files import sha256_file
from foldpack.models.checkpoint import read_checkpoint, weight_faults
from foldpack.models.classifier import ModelError
from foldpack.models.start import weights_origin
from foldpack.settings.network import WeightsOrigin
from foldpack.settings.run import RunConfig
from foldpack.train.averaging.kept_epochs import read_info

SAME = ("arch", "kwargs", "channels", "mean", "std", "bins", "cosine")  # of the network; sizes may differ


def run_digest(meta: RunMeta) -> str:
    """Hex SHA-256 of the weights of a run."""
    return hashlib.sha256("".join(fold.sha256 for fold in meta.folds).encode()).hexdigest()


def require_begin(config: RunConfig, folds: Sequence[int], folds_sha256: str, classes: int) -> list[str]:
    """What is to be doubted of the run that the folds begin with. Raises DataError for one that does not fit."""
    assert config.begin is not None
    folder = Path(config.begin.folder)
    meta = read_meta(folder)
    where = f"run '{config.run}': begin.folder {folder}"
    for fold in folds:
        if fold not in [each.fold for each in meta.folds]:
            raise DataError(f"{where} has no fold {fold}; its folds are {[each.fold for each in meta.folds]}")
        info = read_info(checkpoint_path(folder, fold))
        if (info.fold, info.folds_sha256) != (fold, folds_sha256):
            raise DataError(f"{where}: its fold {fold} was trained on other folds, so it may have learned from the "
                            "items that are left out here; begin with a run of this folds.csv")
        for name in SAME:
            theirs, ours = getattr(info.net, name), getattr(config.net, name)
            if theirs != ours:
                raise DataError(f"{where}: its net.{name} is {theirs}, and that of this run is {ours}; write the same "
                                "net")
        wide = config.embed.dim if config.task == "embed" else classes
        if info.n_classes != wide:
            raise DataError(f"{where}: its networks give {info.n_classes} numbers, and {wide} are needed here")
    return [f"run '{meta.run}': {doubt}" for doubt in meta.doubts]


def start_doubts(config: RunConfig, folds: Sequence[int], folds_sha256: str) -> list[str]:
    """What is to be doubted of `net.pretrained`: the weights of one fold have learned from the items of all others."""
    start = config.net.pretrained
    if start.file is None or start.package is not None:
        return []
    try:
        info = read_info(Path(start.file))
    except ModelError:  # none of ours
        return []
    meta = meta_beside(Path(start.file))
    own = [] if meta is None else [f"run '{meta.run}': {doubt}" for doubt in meta.doubts]
    if meta is not None and meta.competition != config.competition:
        return own
    if info.folds_sha256 != folds_sha256:
        return [*own, f"its folds start from run '{info.run}', which was trained on other folds, so it may have "
                      "learned from the items that are left out here; `begin` with a run of this folds.csv"]
    if list(folds) == [info.fold]:
        return own
    return [*own, f"its folds start from run '{info.run}' fold {info.fold}, which has learned from the items of the "
                  "other folds; `begin` starts each fold from its own"]


def meta_beside(checkpoint: Path) -> RunMeta | None:
    """What is known of the run that a checkpoint lies in; None where it was carried elsewhere."""
    try:
        return read_meta(checkpoint.parent)
    except DataError:
        return None


def begin_fold(config: RunConfig, net: nn.Module, fold: int) -> None:
    """Give a network that was just made the weights of its fold; nothing happens where a run begins by itself.

    Raises DataError for weights that do not fit, and for others than there were when the run was begun.
    """
    if config.begin is None:
        return
    folder = Path(config.begin.folder)
    path, meta = checkpoint_path(folder, fold), read_meta(folder)
    told = [each.sha256 for each in meta.folds if each.fold == fold]
    if config.begin.sha256 not in (None, run_digest(meta)) or told != [sha256_file(path)]:
        raise DataError(f"run '{config.run}': begin.folder: {path} was changed after this run had begun with it; bring "
                        "the old one back, or start this run again")
    weights = read_checkpoint(path)[0]
    if faults := weight_faults(net.state_dict(), weights):
        raise DataError(f"run '{config.run}': begin.folder: {path} does not fit the network: {', '.join(faults[:3])}")
    net.load_state_dict(weights)


def run_origin(config: RunConfig) -> WeightsOrigin | None:
    """Whose weights a run started from, the run that it began with included; None: from scratch."""
    return weights_origin(config.net) if config.begin is None else config.begin.start
