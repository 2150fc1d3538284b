"""Reader and writer of `runs/<run>/`: fold weights, out-of-fold predictions and what was measured.

    config.yml           the configuration, every value spelled out
    fold<k>.safetensors  the best checkpoint of fold k, its config in the metadata
    fold<k>.oof.npy      (V, n_k, C) outputs of a fold, kept so that more folds can be trained
    log.jsonl            one line an epoch
    fold<k>.gallery.safetensors  embed: the vectors of the items that fold k learned from: `models.gallery`
    oof.npy              (V, n, C) float16 or float32 logits, values or vectors, rows as in oof.csv; memory-mapped
    oof.csv              id,fold
    targets.npy          (n,) int64 classes or identities, (n, C) bool labels, or (n, T) float64 values
    meta.json            written last: its presence says that the run is finished
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pandas as pd
from pydantic import Field

from foldpack.errors import DataError
from foldpack.files import sha256_file, write_atomic
from foldpack.settings.network import Geometry, Sides
from foldpack.settings.outputs import Classes, Values, Vectors
from foldpack.settings.run import EmbedConfig
from foldpack.settings.stages import LINKS, HexDigest, MergeName, Name, Outputs
from foldpack.settings.strict_model import StrictModel, parse_strict


class FoldMeta(StrictModel):
    """What is known of one trained fold."""

    fold: Annotated[int, Field(ge=0)]
    items: int  # number of items predicted out of fold
    score: float  # the run's metric on them
    epoch: int  # of the checkpoint that was kept, from 0
    sha256: HexDigest  # of fold<k>.safetensors
    gallery: HexDigest | None = None  # of fold<k>.gallery.safetensors, where queries are compared with one


class RunMeta(StrictModel):
    """`meta.json`: everything that the search and the deployment need to know of a finished run."""

    version: Literal[1] = 1
    run: Name
    competition: str
    task: Literal["multiclass", "multilabel", "regress", "embed"]
    classes: list[str]  # or identities, or columns of values
    prior: list[float]  # share of each class in the training labels; of values their mean
    none: bool = False  # embed: the last class stands for items that are of no identity
    embed: EmbedConfig | None = None  # of task embed
    network: str | None = None  # FILE.py:NAME of one of the project's own
    size: Sides  # of the network's input, pixels: as in its NetConfig, like the next four
    canvas: Sides | None = None
    decoder: Literal["pillow", "pillow-draft"] = "pillow"
    geometry: Geometry | None = None
    channels: int = 3
    views: list[str]  # first axis of oof.npy
    merge: MergeName = "mean"  # how the views become one answer; runs from before it could be chosen took the mean
    metric: str
    score: float  # of all out-of-fold rows together, views merged
    folds: list[FoldMeta]
    seconds_per_image: float  # one fold, one view, without decoding, on the machine of the training
    config_sha256: HexDigest
    folds_sha256: HexDigest  # of folds.csv
    oof_sha256: HexDigest
    targets_sha256: HexDigest
    versions: dict[str, str]  # of torch and timm

    @property
    def width(self) -> int:
        """Numbers that a network gives for an image: the last axis of oof.npy."""
        return len(self.classes) if self.embed is None else self.embed.dim

    @property
    def outputs(self) -> Outputs:
        """What its networks give, as a stage names it."""
        if self.embed is not None:
            return Vectors(names=self.classes, prior=self.prior, dim=self.embed.dim, none=self.none)
        if self.task == "regress":
            return Values(names=self.classes, prior=self.prior)
        return Classes(link=LINKS[self.task], names=self.classes, prior=self.prior)


@dataclass(frozen=True)
class Run:
    """A finished run. logits: (V, n, C) memory map; targets: (n,) int64 or (n, C) bool; fold: (n,) int64."""

    folder: Path
    meta: RunMeta
    ids: list[str]
    fold: np.ndarray
    logits: np.ndarray
    targets: np.ndarray


def checkpoint_path(folder: Path, fold: int) -> Path:
    """Where the weights of a fold lie."""
    return folder / f"fold{fold}.safetensors"


def gallery_path(folder: Path, fold: int) -> Path:
    """Where the gallery of a fold's checkpoint lies."""
    return folder / f"fold{fold}.gallery.safetensors"


def write_array(path: Path, array: np.ndarray) -> str:
    """Save as .npy, atomically. Returns the file's SHA-256 in hex."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    write_atomic(path, buffer.getvalue())
    return sha256_file(path)


def read_array(path: Path) -> np.ndarray:
    """Open a .npy file as a read-only memory map. Raises DataError."""
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as failure:
        raise DataError(f"{path}: cannot read the array ({failure}); train the run again") from None


def write_oof_rows(path: Path, ids: list[str], fold: np.ndarray) -> None:
    """Write `oof.csv`: the id and the fold of every row of oof.npy."""
    write_atomic(path, pd.DataFrame({"id": ids, "fold": fold}).to_csv(index=False, lineterminator="\n"))


def read_oof_rows(path: Path) -> pd.DataFrame:
    """Read `oof.csv`: `id` str, `fold` int64. Raises DataError."""
    try:
        rows = pd.read_csv(path, dtype={"id": str, "fold": np.int64}, keep_default_na=False)
        return rows[["id", "fold"]]
    except (OSError, ValueError, KeyError) as failure:
        raise DataError(f"{path}: cannot read the rows ({failure}); train the run again") from None


def write_meta(folder: Path, meta: RunMeta) -> None:
    """Write `meta.json`, which finishes the run."""
    write_atomic(folder / "meta.json", json.dumps(meta.model_dump(mode="json"), indent=1) + "\n")


def read_meta(folder: Path) -> RunMeta:
    """Raises DataError when the run is missing, not finished, or of another format version."""
    path = folder / "meta.json"
    if not folder.is_dir():
        raise DataError(f"{folder}: there is no such run; train it with `foldpack train`")
    if not path.exists():
        raise DataError(f"{folder}: the run is not finished (no meta.json); "
                        "`foldpack train` takes it up where it stopped")
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as failure:
        raise DataError(f"{path}: cannot read it ({failure}); train the run again") from None
    return parse_strict(RunMeta, data, path, DataError)


def read_run(folder: Path) -> Run:
    """Open a finished run and check that its files belong together. Raises DataError naming the file."""
    meta = read_meta(folder)
    for name, digest in (("oof.npy", meta.oof_sha256), ("targets.npy", meta.targets_sha256)):
        if not (folder / name).exists() or sha256_file(folder / name) != digest:
            raise DataError(f"{folder / name}: missing or changed since the run was finished; train the run again")
    logits, targets = read_array(folder / "oof.npy"), read_array(folder / "targets.npy")
    rows = read_oof_rows(folder / "oof.csv")
    if logits.shape != (len(meta.views), len(rows), meta.width) or len(targets) != len(rows):
        raise DataError(f"{folder / 'oof.npy'}: shape {logits.shape} does not fit {len(meta.views)} views, "
                        f"{len(rows)} rows and {meta.width} numbers each; train the run again")
    return Run(folder, meta, rows["id"].tolist(), rows["fold"].to_numpy(), logits, targets)


def append_log(folder: Path, entry: dict[str, object]) -> None:
    """Add one line to `log.jsonl`."""
    with open(folder / "log.jsonl", "a", encoding="utf-8") as file:
        file.write(json.dumps(entry) + "\n")
