"""How the weights of a run are moved: the optimiser and its learning rate."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from foldpack.settings.strict_model import StrictModel

# The schedules, and what each reads beside lr, min_lr and warmup_epochs.
SCHEDULE_SETTINGS: dict[str, tuple[str, ...]] = {
    "constant": (),
    "cosine": (),
    "cosine_restarts": ("cycle_epochs", "cycle_mul", "cycle_decay"),
    "multistep": ("decay_milestones", "decay_rate"),
    "none": (),
    "onecycle": (),
    "plateau": ("decay_rate", "patience_epochs", "reload_best"),
    "poly": ("decay_rate",),
    "rsqrt": ("decay_epochs",),
    "step": ("decay_epochs", "decay_rate"),
    "tanh": (),
    "wsd": ("decay_epochs",),
}
# Those that only some read, and their default.
DECAY_SETTINGS: dict[str, object] = {"decay_epochs": None, "decay_milestones": None, "decay_rate": None,
                                     "patience_epochs": None, "cycle_epochs": None, "cycle_mul": 1, "cycle_decay": 1.0,
                                     "reload_best": False}


class SwaConfig(StrictModel):
    """Stochastic weight averaging (arXiv 1803.05407): the mean of the weights after each of the last epochs."""

    epochs: Annotated[int, Field(ge=2)]  # the last so many
    lr: Annotated[float, Field(gt=0)] | None = None  # learning rate in them; None: that of the schedule


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
    reload_best: bool = False  # plateau: at a fall, go on from the best weights so far
    cycle_epochs: Annotated[int, Field(ge=1)] | None = None  # cosine_restarts: epochs of the first cycle
    cycle_mul: Annotated[int, Field(ge=1)] = 1  # cosine_restarts: how many times as long each next one is
    cycle_decay: Annotated[float, Field(gt=0, le=1)] = 1.0  # cosine_restarts: factor of each next one's highest rate
    warmup_epochs: Annotated[int, Field(ge=0)] = 1
    min_lr: Annotated[float, Field(ge=0)] = 1e-6
    clip_norm: Annotated[float, Field(gt=0)] | None = None  # largest norm of the whole gradient
    layer_decay: Annotated[float, Field(gt=0, lt=1)] | None = None  # a layer's rate is so much of the next one's
    head_epochs: Annotated[int, Field(ge=0)] = 0  # first epochs in which only the last layer learns
    head_scale: Annotated[float, Field(ge=0)] | None = None  # a new last layer begins so many times as large as usual
    freeze: Annotated[int, Field(ge=0)] = 0  # first stages of the network that never learn

    @model_validator(mode="after")
    def _the_schedule_reads_it(self) -> OptimConfig:
        read = SCHEDULE_SETTINGS.get(self.schedule, tuple(DECAY_SETTINGS))
        for name, usual in DECAY_SETTINGS.items():
            if getattr(self, name) != usual and name not in read:
                readers = [schedule for schedule, names in SCHEDULE_SETTINGS.items() if name in names]
                raise ValueError(f"schedule '{self.schedule}' does not read {name}; it is read by {', '.join(readers)}")
        if self.decay_rate is not None and self.decay_rate >= 1 and self.schedule != "poly":
            raise ValueError(f"decay_rate {self.decay_rate} does not lower the learning rate; it must be below 1")
        if self.schedule == "cosine_restarts" and self.cycle_epochs is None:
            raise ValueError("schedule 'cosine_restarts' needs cycle_epochs, the epochs of its first cycle")
        if self.layer_decay is not None and (self.schedule == "none" or "layer_decay" in self.kwargs):
            raise ValueError("layer_decay stands in kwargs too; leave it out there" if "layer_decay" in self.kwargs else
                             "schedule 'none' does not read layer_decay; use schedule: constant")
        milestones = self.decay_milestones
        if milestones is not None and (milestones[0] < 1 or sorted(set(milestones)) != milestones):
            raise ValueError(f"decay_milestones {milestones} must be epochs from 1 on, ascending, none twice")
        return self
