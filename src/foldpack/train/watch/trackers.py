"""TensorBoard, wandb and MLflow, through the trackers of accelerate. Each fold is a run of its own there."""

from __future__ import annotations

import math
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from accelerate.tracking import GeneralTracker, MLflowTracker, TensorBoardTracker, WandBTracker

from foldpack.settings.run import ConfigError, RunConfig, config_text
from foldpack.train.device.processes import alone

Say = Callable[[str], None]


def require_trackers(config: RunConfig) -> None:
    """Raises ConfigError for a tracker whose package is not installed."""
    for name in config.trackers:
        if find_spec(name) is None:
            raise ConfigError(f"run '{config.run}': trackers: the package '{name}' is not installed; install it with "
                              f"`pip install {name}`, or leave '{name}' out")


class Trackers:
    """What a run's `trackers` name, for one fold after another."""

    def __init__(self, config: RunConfig, folder: Path, project: str, say: Say = print) -> None:
        """folder: of the run; project: what its runs stand under there."""
        self.config = config
        self.folder = folder
        self.project = project
        self.say = say
        self.open: list[GeneralTracker] = []
        self.started = False  # before, for a fold

    def start(self, fold: int, epoch: int) -> None:
        """epoch: the first that will be logged; what TensorBoard knows from there on is of a training before.

        Raises ConfigError for a tracker that does not start for the first fold. Later it is told and left out; so it is
        where several processes train together: only the first one has trackers, and the others would wait for it.
        """
        for name in self.config.trackers:
            try:
                tracker = self.make(name, fold, epoch)
                tracker.start()
                self.open.append(tracker)
                self.describe(tracker, epoch)
            except Exception as failure:  # of packages that log in, ask servers, write files
                fault = (f"run '{self.config.run}': trackers: '{name}' does not start: {one_line(failure)}; mend its "
                         "settings")
                self.finish()
                if alone() and not self.started:
                    raise ConfigError(f"{fault}, or leave it out of trackers") from None
                self.say(f"warning: {fault}; this fold goes on without trackers")
                return
        self.started = True

    def make(self, name: str, fold: int, epoch: int) -> GeneralTracker:
        """The tracker of a fold."""
        title = f"{self.config.run} fold{fold}"
        if name == "tensorboard":
            return TensorBoardTracker(f"fold{fold}", self.folder / "tensorboard", purge_step=epoch)
        if name == "wandb":
            return WandBTracker(self.project, name=title, group=self.config.run, dir=str(self.folder))
        return MLflowTracker(self.project, run_name=title)

    def describe(self, tracker: GeneralTracker, epoch: int) -> None:
        """Tell the configuration."""
        if tracker.name == "tensorboard":  # its hyperparameters would be one more run beside the fold's
            indented = "".join(f"    {line}\n" for line in config_text(self.config).splitlines())
            tracker.log({"configuration": indented}, step=epoch)
        else:
            tracker.store_init_configuration(flat(self.config.model_dump(mode="json")))

    def log(self, epoch: int, entry: dict[str, object]) -> None:
        """Its finite numbers. A tracker that fails is told once and left out: the training goes on."""
        numbers = {name: number for name, number in entry.items()
                   if isinstance(number, (int, float)) and math.isfinite(number)}
        for tracker in list(self.open):
            try:
                tracker.log(numbers, step=epoch)
            except Exception as failure:
                self.open.remove(tracker)
                self.say(f"warning: run '{self.config.run}': '{tracker.name}' takes no more numbers: "
                         f"{one_line(failure)}; this fold goes on without it")

    def finish(self) -> None:
        """Close what is open."""
        for tracker in self.open:
            try:
                tracker.finish()
            except Exception as failure:
                self.say(f"warning: run '{self.config.run}': '{tracker.name}' does not close: {one_line(failure)}")
        self.open = []


def one_line(failure: Exception) -> str:
    """What went wrong, for a message."""
    return " ".join(str(failure).split()) or type(failure).__name__


def flat(settings: dict, above: str = "") -> dict[str, bool | int | float | str]:
    """`{"optim": {"lr": 1}}` -> `{"optim.lr": 1}`; lists as text, what is null left out."""
    found: dict[str, bool | int | float | str] = {}
    for name, value in settings.items():
        if isinstance(value, dict):
            found |= flat(value, f"{above}{name}.")
        elif value is not None:
            found[f"{above}{name}"] = value if isinstance(value, (bool, int, float, str)) else str(value)
    return found
