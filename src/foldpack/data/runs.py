"""Reader and writer of `runs/<run>/`: fold weights, out-of-fold predictions and what was measured.

    config.yml           the configuration, every value spelled out
    fold<k>.safetensors  the best checkpoint of fold k, its config in the metadata
    fold<k>.oof/         what is predicted of fold k, kept so that more folds can be trained
    log.jsonl            one line an epoch
    fold<k>.epochs/      of a run with `keep`: checkpoints of the best epochs of fold k, for `foldpack average`
    fold<k>.gallery.safetensors  embed: the vectors of the items that fold k learned from: `models.gallery`
    oof/view<v>/         `Rows` of each view, in the order of oof.csv: logits, value or vector, float16 or float32;
                         memory-mapped
    oof.csv              id,fold, and answer where images are answered together
    targets.npy          (n,) int64 classes or identities, (n, C) bool labels, or (n, T) float64 values
    meta.json            written last: its presence says that the run is finished

Runs of version 1 have a file oof.npy (V, n, C) in place of the folder oof, and fold<k>.oof.npy in place of fold<k>.oof.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pandas as pd
from pydantic import Field

from foldpack.data.answer_groups import AnswerGroups, answer_groups
from foldpack.data.rows import Rows, open_views, save_views
from foldpack.errors import DataError
from foldpack.files import sha256_file, sha256_folder, write_atomic
from foldpack.settings.network import Geometry, Sides, WeightsOrigin
from foldpack.settings.outputs import Classes, ValueRange, Values, Vectors
from foldpack.settings.run import EmbedConfig
from foldpack.settings.stages import LINKS, HexDigest, MergeName, Name, Outputs
from foldpack.settings.strict_model import StrictModel, parse_strict

VIEW_COLUMNS = {"regress": "value", "embed": "vector"}  # of other tasks it is `logits`


class FoldMeta(StrictModel):
    """What is known of one trained fold."""

    fold: Annotated[int, Field(ge=0)]
    items: int  # number of items predicted out of fold
    score: float  # the run's metric on them
    epoch: int  # of the checkpoint that was kept, from 0
    sha256: HexDigest  # of fold<k>.safetensors
    gallery: HexDigest | None = None  # of fold<k>.gallery.safetensors, where queries are compared with one
    averaged: list[HexDigest] = []  # of the checkpoints whose mean it is; none: it was trained


class RunMeta(StrictModel):
    """`meta.json`: everything that the search and the deployment need to know of a finished run."""

    version: Literal[1, 2] = 2
    run: Name
    competition: str
    task: Literal["multiclass", "multilabel", "regress", "embed"]
    classes: list[str]  # or identities, or columns of values
    prior: list[float]  # share of each class in the training labels; of values their mean
    none: bool = False  # embed: the last class stands for items that are of no identity
    embed: EmbedConfig | None = None  # of task embed
    range: ValueRange | None = None  # regress: predictions are cut to it
    network: str | None = None  # FILE.py:NAME of one of the project's own
    size: Sides  # of the network's input, pixels: as in its NetConfig, like the next four
    canvas: Sides | None = None
    decoder: Literal["pillow", "pillow-draft"] = "pillow"
    geometry: Geometry | None = None
    channels: int = 3
    start: WeightsOrigin | None = None  # whose weights training began with; None: from scratch, or not told
    views: list[str]  # in the order of the out-of-fold rows
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
    doubts: list[str] = []  # why its out-of-fold score may be too good
    reader: str | None = None  # of the images, as `reader_record` says it

    @property
    def width(self) -> int:
        """Numbers that a network gives for an image."""
        return len(self.classes) if self.embed is None else self.embed.dim

    @property
    def outputs(self) -> Outputs:
        """What its networks give, as a stage names it."""
        return run_outputs(self.task, self.classes, self.prior, self.embed, self.none)


def run_outputs(task: str, classes: list[str], prior: list[float], embed: EmbedConfig | None, none: bool) -> Outputs:
    """What the networks of a run give. task, classes, prior, embed and none: as of `RunMeta`."""
    if embed is not None:
        return Vectors(names=classes, prior=prior, dim=embed.dim, none=none)
    if task == "regress":
        return Values(names=classes, prior=prior)
    return Classes(link=LINKS[task], names=classes, prior=prior)


@dataclass(frozen=True)
class Run:
    """A finished run. targets: (n,) int64, (n, C) bool or (n, T) float64; fold: (n,) int64; n: of images."""

    folder: Path
    meta: RunMeta
    ids: list[str]
    fold: np.ndarray
    targets: np.ndarray
    groups: AnswerGroups | None = None  # images that are answered together, where some are

    def views(self) -> list[Rows]:
        """What is predicted out of fold, by view: mapped anew each time, since pages of a map that stays open count as
        memory of this process."""
        return read_oof(self.folder / "oof", self.meta.task)


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


def write_oof(path: Path, views: Sequence[Rows], dtype: str) -> str:
    """Write the out-of-fold rows of each view, numbers as `dtype`, in place of those that are there.

    Returns their digest.
    """
    save_views(path, [Rows({name: column.astype(dtype) if column.dtype.kind == "f" else column
                            for name, column in rows.columns.items()}, rows.starts, rows.within, rows.lost)
                      for rows in views])
    path.with_name(f"{path.name}.npy").unlink(missing_ok=True)  # of a run of version 1
    return sha256_folder(path)


def read_oof(path: Path, task: str) -> list[Rows]:
    """The out-of-fold rows of each view, on disk: `<path>/`, or `<path>.npy` of a run of version 1. task: of the run.

    Raises DataError.
    """
    if path.is_dir():
        return open_views(path)
    return [Rows({VIEW_COLUMNS.get(task, "logits"): view}) for view in read_array(path.with_name(f"{path.name}.npy"))]


def oof_digest(path: Path) -> str:
    """Hex SHA-256 of what `read_oof` reads; "" where there is nothing."""
    first = path.with_name(f"{path.name}.npy")
    return sha256_folder(path) if path.is_dir() else sha256_file(first) if first.exists() else ""


def write_oof_rows(path: Path, ids: list[str], fold: np.ndarray, answer: list[str] | None = None) -> None:
    """Write `oof.csv`: id and fold of every image, and the answer that it belongs to where that is told."""
    table = pd.DataFrame({"id": ids, "fold": fold, **({} if answer is None else {"answer": answer})})
    write_atomic(path, table.to_csv(index=False, lineterminator="\n"))


def read_oof_rows(path: Path) -> pd.DataFrame:
    """Read `oof.csv`: `id` str, `fold` int64, perhaps `answer` str. Raises DataError."""
    try:
        rows = pd.read_csv(path, dtype={"id": str, "fold": np.int64, "answer": str}, keep_default_na=False)
        return rows[["id", "fold", *(["answer"] if "answer" in rows else [])]]
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
    meta, truth = read_meta(folder), folder / "targets.npy"
    for path, there, digest in ((folder / "oof", oof_digest(folder / "oof"), meta.oof_sha256),
                                (truth, sha256_file(truth) if truth.exists() else "", meta.targets_sha256)):
        if there != digest:
            raise DataError(f"{path}: missing or changed since the run was finished; train the run again")
    targets, table = read_array(truth), read_oof_rows(folder / "oof.csv")
    shapes = [column.shape for view in read_oof(folder / "oof", meta.task) for column in view.columns.values()]
    if shapes != [(len(table), meta.width)] * len(meta.views) or len(targets) != len(table):
        raise DataError(f"{folder / 'oof'}: views of shapes {shapes} do not fit {len(meta.views)} views, {len(table)} "
                        f"rows and {meta.width} numbers each; train the run again")
    groups = answer_groups(table["answer"].tolist()) if "answer" in table else None
    return Run(folder, meta, table["id"].tolist(), table["fold"].to_numpy(), targets, groups)


def append_log(folder: Path, entry: dict[str, object]) -> None:
    """Add one line to `log.jsonl`, behind one that a power cut has torn, too."""
    with open(folder / "log.jsonl", "a+b") as file:
        torn = file.tell() > 0 and file.seek(-1, os.SEEK_END) >= 0 and file.read(1) != b"\n"
        file.write(b"\n" * torn + json.dumps(entry).encode() + b"\n")
