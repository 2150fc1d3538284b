"""The configuration of a run: how one network is trained on its folds. Frozen and strict."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from foldpack.errors import FoldpackError
from foldpack.settings.network import NetConfig, height_width
from foldpack.settings.outputs import ValueRange
from foldpack.settings.project_code import is_project_code
from foldpack.settings.retrieve import Retrieval
from foldpack.settings.stages import MergeName, Name
from foldpack.settings.strict_model import StrictModel, parse_strict
from foldpack.settings.strict_yaml import dump_strict, load_strict
from foldpack.settings.training.augment import AugmentConfig
from foldpack.settings.training.extra_labels import (
    EXTRA_BLOCKS,
    EXTRA_PLACES,
    BeginConfig,
    CompleteConfig,
    DistillConfig,
    PseudoConfig,
)
from foldpack.settings.training.loss import LOSSES_OF_BINS, LossConfig
from foldpack.settings.training.optim import OptimConfig, SwaConfig
from foldpack.settings.training.sampler import SamplerConfig, WeightsConfig


class ConfigError(FoldpackError):
    """A configuration file that cannot be read, or that asks for something that does not exist."""


TrackerName = Literal["tensorboard", "wandb", "mlflow"]
ImagesMode = Literal["auto", "memory", "disk", "stream"]


SMALL_HEAD = 0.05  # clothing-mini, fold 0 and 1: accuracy .863 at 112 px with it, .684 at 128 px without


class EmbedConfig(Retrieval):
    """Of task `embed`: the vectors, and how a query is compared with the gallery."""

    dim: Annotated[int, Field(ge=2, le=8192)] = 128  # numbers of a vector

    @property
    def retrieval(self) -> Retrieval:
        """How a query is compared with the gallery."""
        return Retrieval(**self.model_dump(exclude={"dim"}))


class NonFiniteConfig(StrictModel):
    """What happens when the loss of a batch, or the gradient, is NaN or infinite."""

    skip: Annotated[int, Field(ge=0)] = 3  # updates in a row that are left out; one more, and the fold goes back
    rate: Annotated[float, Field(gt=0, lt=1)] = 0.5  # to its last saved state, once, with so much of the learning rate


class RunConfig(StrictModel):
    """Everything that decides the weights of a run. Source of truth: `configs/<competition>/<run>.yml`."""

    run: Name
    competition: str
    task: Literal["classify", "regress", "embed"] = "classify"  # what the network learns of the labels
    embed: EmbedConfig = EmbedConfig()
    range: ValueRange | None = None  # regress: lowest and highest that there can be; predictions are cut to it
    net: NetConfig
    loss: LossConfig
    metric: str  # a name from `foldpack.metrics.registry`; early stopping and the best checkpoint follow it
    optim: OptimConfig = OptimConfig()
    augment: AugmentConfig = AugmentConfig()
    sampler: SamplerConfig = SamplerConfig()
    weights: WeightsConfig = WeightsConfig()  # of the items
    pseudo: PseudoConfig | None = None  # test items that are learned from too
    complete: CompleteConfig | None = None  # labels that training items lack
    distill: DistillConfig | None = None  # a teacher's predictions of the training items
    begin: BeginConfig | None = None  # a run whose fold weights the folds begin with
    nonfinite: NonFiniteConfig = NonFiniteConfig()
    epochs: Annotated[int, Field(ge=1)] = 20
    batch_size: Annotated[int, Field(ge=1)] = 64  # per process
    accumulate: Annotated[int, Field(ge=1)] = 1  # batches per optimiser step
    precision: Literal["no", "fp16", "bf16"] = "no"  # mixed precision, as `accelerate` names it
    keep: Annotated[int, Field(ge=0)] = 0  # best epochs of a fold whose weights all stay, for `foldpack average`
    device: Literal["auto", "cpu", "gpu"] = "auto"  # what it is trained on; auto: a GPU where there is one
    compile: bool | Literal["reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs"] = False  # mode of torch's
    grad_checkpointing: bool = False  # activations are computed again in the backward pass: less memory, more time
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.0  # decay of the weight average, 0 switches it off
    swa: SwaConfig | None = None  # None: no average of the last epochs
    patience: Annotated[int, Field(ge=1)] | None = None  # epochs without a better metric before a fold stops
    evaluate_every: Annotated[int, Field(ge=1)] = 1  # epochs between two evaluations; the last is always evaluated
    save_minutes: Annotated[float, Field(gt=0)] = 10.0  # within an epoch, between two states to go on from
    views: Annotated[list[str], Field(min_length=1)] = ["identity"]
    merge: MergeName = "mean"  # of the views: `ensemble.view_merge`
    folds: list[int] | None = None  # train only these; all of folds.csv when left out
    oof_dtype: Literal["float16", "float32"] = "float32"
    workers: Annotated[int, Field(ge=0)] = 0  # processes that read and augment; 0: in the training process
    images: ImagesMode = "auto"  # where decoded training images are kept
    broken: Literal["error", "skip"] = "error"  # what a training image does that cannot be decoded
    trackers: list[TrackerName] = []  # where else the numbers of `log.jsonl` go
    seed: int = 0

    @model_validator(mode="after")
    def _steps_fit(self) -> RunConfig:
        if "num_classes" in self.net.kwargs:
            raise ValueError("num_classes follows from the labels; leave it out of net.kwargs")
        coloured = [name for name in ("colour", "grey") if getattr(self.augment, name)]
        if coloured and self.net.channels != 3:
            raise ValueError(f"augment.{coloured[0]} needs images of 3 channels, and net.channels is "
                             f"{self.net.channels}; set it to 0")
        if self.swa is not None and self.epochs < 3:
            raise ValueError(f"swa is the mean of the last 2 epochs or more behind others, and there are {self.epochs} "
                             "epochs; set epochs to 3 or more, or leave swa out")
        if self.swa is not None and self.swa.epochs >= self.epochs:
            raise ValueError(f"swa.epochs is {self.swa.epochs}, and there are {self.epochs} epochs; set it to fewer")
        if self.swa is not None and self.patience is not None:
            raise ValueError("swa averages the last epochs, and patience may end a fold before them; leave one out")
        if self.task != "embed" and self.embed != EmbedConfig():
            raise ValueError(f"task '{self.task}' does not read embed; it is read by embed")
        for name, asked in (("augment.identity_flips", self.augment.identity_flips), ("net.neck", self.net.neck)):
            if self.task != "embed" and asked:
                raise ValueError(f"task '{self.task}' does not read {name}; it is read by embed")
        if self.loss.memory is not None and self.loss.memory < self.batch_size:
            raise ValueError(f"loss.memory is {self.loss.memory}, less than a batch of {self.batch_size}; set it to as "
                             "many at least")
        if self.task != "classify" and self.net.cosine is not None:
            raise ValueError(f"task '{self.task}' does not read net.cosine; it is read by classify")
        for name, value in (("range", self.range), ("net.bins", self.net.bins)):
            if self.task != "regress" and value is not None:
                raise ValueError(f"task '{self.task}' does not read {name}; it is read by regress")
        for name in self.loss.weighted if self.task == "regress" else ():
            if not is_project_code(name) and (self.net.bins is None) == (name in LOSSES_OF_BINS):
                raise ValueError(f"loss '{name}' does not fit a run of values "
                                 f"{'without' if self.net.bins is None else 'with'} net.bins; "
                                 f"{', '.join(LOSSES_OF_BINS)} go with bins, and all others without")
        if self.task != "classify" and self.merge != "mean":
            raise ValueError(f"merge '{self.merge}' is for probabilities; views of task '{self.task}' are merged by "
                             "their mean")
        if self.task == "embed" and (mixers := self.augment.mixers):
            raise ValueError(f"task 'embed' learns one identity an image; leave out augment.{mixers[0]}")
        if self.optim.head_scale is not None and (kept := self.unscaled_head):
            raise ValueError(f"optim.head_scale makes a new last layer smaller, and {kept}; leave it out")
        if self.augment.crop == "random":
            check_random_crop(self.net)
        check_extra_labels(self)
        return self

    @property
    def head_scale(self) -> float:
        """How many times as large a new last layer begins: left out, small where the others start from weights."""
        if self.optim.head_scale is not None:
            return self.optim.head_scale
        return SMALL_HEAD if self.net.pretrained and not self.unscaled_head else 1.0

    @property
    def unscaled_head(self) -> str:
        """Why a size of the last layer means nothing, "" where it does."""
        if self.task == "embed":
            return "the vectors of task 'embed' are brought to length 1"
        if self.net.cosine is not None:
            return "net.cosine brings its class vectors to length 1"
        return "net.pretrained.head 'keep' takes it from the weights" if self.net.pretrained.head == "keep" else ""


def check_extra_labels(config: RunConfig) -> None:
    """Raises ValueError for labels of other runs that the task or another setting does not fit."""
    for name in ("pseudo", "complete", "distill"):
        if config.task == "embed" and getattr(config, name) is not None:
            raise ValueError(f"task 'embed' does not read {name}: identities of other runs are no labels; leave it out")
    if config.pseudo is not None and config.distill is not None:
        raise ValueError("pseudo and distill: no teacher has said anything of the test items; train a run with pseudo, "
                         "and distill that one")
    for name, column in (("sampler.column", config.sampler.column), ("weights.column", config.weights.column)):
        if config.pseudo is not None and column is not None:
            raise ValueError(f"{name} is a column of the training table, which says nothing of the test items of "
                             "pseudo; leave one of the two out")
    if config.task != "regress":
        return
    if config.pseudo is not None and config.pseudo.labels == "soft":
        raise ValueError("pseudo.labels 'soft' is for probabilities; a value is its own label, so leave it out")
    if config.distill is not None and config.distill.temperature != 1:
        raise ValueError("distill.temperature is for probabilities; task 'regress' does not read it")
    if config.distill is not None and config.net.bins is not None:
        raise ValueError("distill compares values with values, and net.bins gives probabilities of bins; leave one out")


def check_random_crop(net: NetConfig) -> None:
    """Raises ValueError where a window of the network's size does not fit into every canvas, or only in one way."""
    if net.geometry is not None and net.geometry.kind == "long":
        raise ValueError("augment.crop 'random' needs canvases that are as large as the input at both sides; with "
                         "geometry 'long' choose 'resized', or geometry 'short'")
    if height_width(net.size) == height_width(net.canvas or net.size):
        raise ValueError(f"augment.crop 'random' cuts a window of net.size, {net.size} px, from a larger canvas, and "
                         f"net.canvas is {net.canvas}; set it to more than net.size")


def parse_config(data: object, source: Path | str) -> RunConfig:
    """Plain data -> RunConfig. Raises ConfigError naming the key, with "did you mean" for unknown ones."""
    return parse_strict(RunConfig, data, source, ConfigError)


def read_config(path: Path) -> RunConfig:
    """Read `configs/<competition>/<run>.yml`. Raises ConfigError or YamlError."""
    return parse_config(load_strict(read_text(path), str(path)), path)


def read_text(path: Path) -> str:
    """The text of a settings file. Raises ConfigError when it is missing or not UTF-8."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as failure:
        raise ConfigError(f"{path}: cannot read it ({failure})") from None


def config_text(config: RunConfig) -> str:
    """The YAML of a configuration, every value spelled out."""
    return dump_strict(config.model_dump(mode="json"))


# What was there from the start, and is hashed at any value; all that came later is left out at its default.
HASHED_ALWAYS: dict[str, tuple[str, ...]] = {
    "": ("run", "competition", "net", "loss", "metric", "optim", "augment", "epochs", "batch_size", "accumulate",
         "precision", "ema", "patience", "evaluate_every", "views", "oof_dtype", "seed"),
    "net": ("arch", "size", "kwargs", "pretrained", "mean", "std"),
    "loss": ("name", "smoothing", "pos_weight", "gamma_neg", "gamma_pos"),
    "optim": ("name", "lr", "weight_decay", "kwargs", "schedule", "warmup_epochs", "min_lr", "clip_norm"),
    "augment": ("hflip", "vflip", "affine", "shift", "scale", "rotate", "colour", "colour_strength", "grey", "erase",
                "mixup", "cutmix"),
    "embed": ("dim", "neighbours"),
}
# They choose how much is computed and how fast, not what.
NOT_HASHED = {"folds", "workers", "images", "trackers", "device", "compile", "grad_checkpointing", "save_minutes"}


def config_hash(config: RunConfig) -> str:
    """Hex SHA-256 over what decides the weights: two runs with the same hash may share checkpoints.

    Settings that came later are left out at their default, so that older runs keep their hash. Weights
    to start from are known by their hash, not by their place.
    """
    whole = config.model_dump(mode="json", exclude=NOT_HASHED)
    whole["net"]["pretrained"] = config.net.pretrained.decides().model_dump(mode="json", exclude_defaults=True)
    for block in filter(None, map(whole.get, EXTRA_BLOCKS)):
        for name in EXTRA_PLACES if block["sha256"] is not None else ():
            block.pop(name, None)
    chosen = config.model_dump(mode="json", exclude=NOT_HASHED, exclude_defaults=True)
    data = {"": whole, **{name: whole[name] for name in HASHED_ALWAYS if name}}
    for name, block in data.items():
        kept = {*HASHED_ALWAYS[name], *(chosen.get(name, {}) if name else chosen)}
        for key in [key for key in block if key not in kept]:
            del block[key]
    return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()
