"""The configuration of a run: how one network is trained on its folds. Frozen and strict."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from foldpack.errors import FoldpackError, did_you_mean
from foldpack.settings.network import NetConfig
from foldpack.settings.outputs import ValueRange
from foldpack.settings.project_code import is_project_code
from foldpack.settings.stages import MergeName, Name
from foldpack.settings.strict_model import StrictModel, parse_strict
from foldpack.settings.strict_yaml import dump_strict, load_strict


class ConfigError(FoldpackError):
    """A configuration file that cannot be read, or that asks for something that does not exist."""


# The schedules, and what each reads beside lr, min_lr and warmup_epochs.
SCHEDULE_SETTINGS: dict[str, tuple[str, ...]] = {
    "constant": (),
    "cosine": (),
    "multistep": ("decay_milestones", "decay_rate"),
    "none": (),
    "plateau": ("decay_rate", "patience_epochs"),
    "poly": ("decay_rate",),
    "rsqrt": ("decay_epochs",),
    "step": ("decay_epochs", "decay_rate"),
    "tanh": (),
    "wsd": ("decay_epochs",),
}
DECAY_SETTINGS = ("decay_epochs", "decay_milestones", "decay_rate", "patience_epochs")


class OptimConfig(StrictModel):
    """Passed to `timm.optim.create_optimizer_v2` and `timm.scheduler.create_scheduler_v2`; None: timm's own value."""

    name: str = "adamw"
    lr: Annotated[float, Field(gt=0)] = 1e-3
    weight_decay: Annotated[float, Field(ge=0)] = 0.05
    kwargs: dict[str, str | int | float | bool | list[float]] = {}  # more for the optimiser, such as `fused: true`
    schedule: str = "cosine"  # a key of SCHEDULE_SETTINGS
    decay_epochs: Annotated[float, Field(gt=0)] | None = None  # step: between two falls; wsd, rsqrt: of the last phase
    decay_milestones: Annotated[list[int], Field(min_length=1)] | None = None  # multistep: epochs, ascending
    decay_rate: Annotated[float, Field(gt=0)] | None = None  # factor of a fall, below 1; poly: the exponent
    patience_epochs: Annotated[int, Field(ge=0)] | None = None  # plateau: epochs without a better metric before a fall
    warmup_epochs: Annotated[int, Field(ge=0)] = 1
    min_lr: Annotated[float, Field(ge=0)] = 1e-6
    clip_norm: Annotated[float, Field(gt=0)] | None = None  # largest norm of the whole gradient

    @model_validator(mode="after")
    def _the_schedule_reads_it(self) -> OptimConfig:
        read = SCHEDULE_SETTINGS.get(self.schedule, DECAY_SETTINGS)
        for name in DECAY_SETTINGS:
            if getattr(self, name) is not None and name not in read:
                readers = [schedule for schedule, names in SCHEDULE_SETTINGS.items() if name in names]
                raise ValueError(f"schedule '{self.schedule}' does not read {name}; it is read by {', '.join(readers)}")
        if self.decay_rate is not None and self.decay_rate >= 1 and self.schedule != "poly":
            raise ValueError(f"decay_rate {self.decay_rate} does not lower the learning rate; it must be below 1")
        milestones = self.decay_milestones
        if milestones is not None and (milestones[0] < 1 or sorted(set(milestones)) != milestones):
            raise ValueError(f"decay_milestones {milestones} must be epochs from 1 on, ascending, none twice")
        return self


LOSSES = ("cross_entropy", "bce", "asymmetric", "mse", "l1", "smooth_l1", "huber", "arcface", "proxy_anchor")
# Which losses read which of the settings that only some read.
LOSSES_READING = {
    "smoothing": ("cross_entropy", "bce"),
    "pos_weight": ("bce",),
    "gamma_neg": ("asymmetric",),
    "gamma_pos": ("asymmetric",),
    "delta": ("smooth_l1", "huber"),
    "margin": ("arcface", "proxy_anchor"),
    "scale": ("arcface", "proxy_anchor"),
    "lr": ("arcface", "proxy_anchor"),
}


LATER_LOSS_SETTINGS = {"kwargs": {}, "delta": 1.0, "margin": None, "scale": None, "lr": None}  # see `config_hash`


class LossConfig(StrictModel):
    """`cross_entropy` for one class an item; `bce` or `asymmetric` (arXiv 2009.14119) for several labels; `mse`, `l1`,
    `smooth_l1` or `huber` for values; `arcface` (arXiv 1801.07698) or `proxy_anchor` (arXiv 2003.13911) for embeddings.
    Or one of the project's own, `FILE.py:NAME`.
    """

    name: str
    kwargs: dict[str, str | int | float | bool | list[float]] = {}  # for a loss of the project's own
    smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    pos_weight: Annotated[float, Field(gt=0)] = 1.0  # bce: weight of a positive against a negative
    gamma_neg: Annotated[float, Field(ge=0)] = 4.0  # asymmetric: focusing of the negatives
    gamma_pos: Annotated[float, Field(ge=0)] = 1.0  # asymmetric: focusing of the positives
    delta: Annotated[float, Field(gt=0)] = 1.0  # smooth_l1, huber: larger errors count linearly; in deviations
    margin: Annotated[float, Field(ge=0)] | None = None  # arcface: degrees (28.6); proxy_anchor: of the cosine (0.1)
    scale: Annotated[float, Field(gt=0)] | None = None  # of the cosines; arcface: 64, proxy_anchor: 32
    lr: Annotated[float, Field(gt=0)] | None = None  # highest learning rate of the class vectors; None: optim.lr

    @model_validator(mode="after")
    def _the_loss_reads_it(self) -> LossConfig:
        if not is_project_code(self.name):
            if self.name not in LOSSES:
                known = did_you_mean(self.name, list(LOSSES))
                raise ValueError(f"unknown loss '{self.name}': {known}, or FILE.py:NAME")
            if self.kwargs:
                raise ValueError(f"loss '{self.name}' does not read kwargs; they are for losses of your own")
        for name, losses in LOSSES_READING.items():
            if self.name not in losses and getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"loss '{self.name}' does not read {name}; it is read by {', '.join(losses)}")
        return self


class AugmentConfig(StrictModel):
    """What happens to a training image. Probabilities of 0 switch a step off."""

    hflip: Annotated[float, Field(ge=0, le=1)] = 0.5  # probability
    vflip: Annotated[float, Field(ge=0, le=1)] = 0.0
    affine: Annotated[float, Field(ge=0, le=1)] = 0.0  # probability of shift + scale + rotation
    shift: Annotated[float, Field(ge=0, le=1)] = 0.06  # largest shift, share of the side
    scale: Annotated[float, Field(ge=0, lt=1)] = 0.15  # largest change of size
    rotate: Annotated[float, Field(ge=0, le=180)] = 10.0  # degrees
    colour: Annotated[float, Field(ge=0, le=1)] = 0.0  # probability of colour jitter
    colour_strength: Annotated[float, Field(ge=0, le=1)] = 0.2
    grey: Annotated[float, Field(ge=0, le=1)] = 0.0  # probability of dropping the colour
    erase: Annotated[float, Field(ge=0, le=1)] = 0.0  # probability of random erasing (arXiv 1708.04896)
    mixup: Annotated[float, Field(ge=0)] = 0.0  # alpha of mixup (arXiv 1710.09412), drawn per batch
    cutmix: Annotated[float, Field(ge=0)] = 0.0  # alpha of CutMix (arXiv 1905.04899)


class EmbedConfig(StrictModel):
    """Of task `embed`: the vectors, and how a query is compared with the gallery."""

    dim: Annotated[int, Field(ge=2, le=8192)] = 128  # numbers of a vector
    neighbours: Annotated[int, Field(ge=1)] = 1  # nearest gallery items of an identity that count


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
    epochs: Annotated[int, Field(ge=1)] = 20
    batch_size: Annotated[int, Field(ge=1)] = 64  # per process
    accumulate: Annotated[int, Field(ge=1)] = 1  # batches per optimiser step
    precision: Literal["no", "fp16", "bf16"] = "no"  # mixed precision, as `accelerate` names it
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.0  # decay of the weight average, 0 switches it off
    patience: Annotated[int, Field(ge=1)] | None = None  # epochs without a better metric before a fold stops
    evaluate_every: Annotated[int, Field(ge=1)] = 1  # epochs between two evaluations; the last is always evaluated
    views: Annotated[list[str], Field(min_length=1)] = ["identity"]
    merge: MergeName = "mean"  # of the views: `ensemble.view_merge`
    folds: list[int] | None = None  # train only these; all of folds.csv when left out
    oof_dtype: Literal["float16", "float32"] = "float32"
    workers: Annotated[int, Field(ge=0)] = 0  # processes that augment; 0: in the training process
    seed: int = 0

    @model_validator(mode="after")
    def _steps_fit(self) -> RunConfig:
        if "num_classes" in self.net.kwargs:
            raise ValueError("num_classes follows from the labels; leave it out of net.kwargs")
        coloured = [name for name in ("colour", "grey") if getattr(self.augment, name)]
        if coloured and self.net.channels != 3:
            raise ValueError(f"augment.{coloured[0]} needs images of 3 channels, and net.channels is "
                             f"{self.net.channels}; set it to 0")
        if self.task != "embed" and self.embed != EmbedConfig():
            raise ValueError(f"task '{self.task}' does not read embed; it is read by embed")
        for name, value in (("range", self.range), ("net.bins", self.net.bins)):
            if self.task != "regress" and value is not None:
                raise ValueError(f"task '{self.task}' does not read {name}; it is read by regress")
        if self.task == "regress" and not is_project_code(self.loss.name):
            if (self.net.bins is None) == (self.loss.name == "cross_entropy"):
                raise ValueError(f"loss '{self.loss.name}' does not fit a run of values "
                                 f"{'without' if self.net.bins is None else 'with'} net.bins; cross_entropy goes with "
                                 "bins, and mse, l1, smooth_l1 and huber without")
        if self.task != "classify" and self.merge != "mean":
            raise ValueError(f"merge '{self.merge}' is for probabilities; views of task '{self.task}' are merged by "
                             "their mean")
        if self.task == "embed" and (self.augment.mixup or self.augment.cutmix):
            raise ValueError("task 'embed' learns one identity an image; leave out augment.mixup and augment.cutmix")
        return self


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


def config_hash(config: RunConfig) -> str:
    """Hex SHA-256 over what decides the weights: two runs with the same hash may share checkpoints.

    The list of folds and the number of workers are left out: they choose how much is computed and how fast, not what.
    Settings that came later are left out at their usual value, so that older runs keep their hash: the merge of views,
    canvas, decoder, geometry, channels, bins, range, task and embed, what steers the decay of a schedule, and the
    settings of losses other than those of classes. Weights to start from are known by their hash, not by their place.
    """
    data = config.model_dump(mode="json", exclude={"folds", "workers"})
    net, optim = data["net"], data["optim"]
    net["pretrained"] = config.net.pretrained.decides().model_dump(mode="json")
    later: list[tuple[dict, str, object]]
    later = [(data, "merge", "mean"), (net, "canvas", None), (net, "decoder", "pillow"), (net, "geometry", None),
             (net, "channels", 3), (net, "bins", None), (data, "range", None), (data, "task", "classify"),
             (data, "embed", EmbedConfig().model_dump())]
    later += [(data["loss"], name, usual) for name, usual in LATER_LOSS_SETTINGS.items()]
    for settings, name, usual in [*later, *((optim, name, None) for name in DECAY_SETTINGS)]:
        if settings[name] == usual:
            del settings[name]
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()
