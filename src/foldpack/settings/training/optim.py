"""How the weights of a run are moved: the optimiser and its learning rate."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from foldpack.settings.strict_model import StrictModel

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
