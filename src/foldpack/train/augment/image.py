"""Augmentation of one image at a time: a crop, geometry, colour, and whatever the configuration names."""

from __future__ import annotations

import random
import warnings

import numpy as np

from foldpack.data.geometry import canvas_kind, input_shape
from foldpack.settings.network import NetConfig, height_width
from foldpack.settings.run import ConfigError, RunConfig
from foldpack.settings.training.augment import AugmentConfig
from foldpack.train.augment.menu import EDGE, A, affine, make_transform, one_line

INTER_LINEAR = 1  # of cv2; where it shrinks, areas are averaged
PROBES = 3  # images that the steps are tried on


class Augmentation:
    """Geometry and colour of one image. What happens to it follows from a key, not from what came before it.

    All steps draw from one generator: with a seed for each, as `set_random_seed` of albumentations 2.0.8 gives them,
    two flips of the same probability would always go together.
    """

    def __init__(self, config: AugmentConfig, crop: A.BasicTransform | None = None) -> None:
        """crop: from `crop_step`. Raises ConfigError for a transform that does not exist or does not take its
        parameters."""
        self.steps = A.Compose([*([] if crop is None else [crop]), *augmentation_steps(config)])

    def __call__(self, image: np.ndarray, key: tuple[int, ...]) -> np.ndarray:
        """image: (H, W, C) uint8; key: integers from 0 on. Returns uint8 of as many channels, and of the same height
        and width unless a step crops or turns."""
        for_numpy, for_python = (int(word) for word in np.random.SeedSequence(key).generate_state(2, np.uint64))
        self.steps.set_random_state(np.random.default_rng(for_numpy), random.Random(for_python))
        return self.steps(image=image)["image"]


def augmentation_steps(config: AugmentConfig) -> list[A.BasicTransform]:
    """What is switched on, in order. Pixels from outside the image repeat its edge."""
    steps: list[A.BasicTransform] = []
    if config.hflip:
        steps.append(A.HorizontalFlip(p=config.hflip))
    if config.vflip:
        steps.append(A.VerticalFlip(p=config.vflip))
    if config.affine:
        steps.append(affine(config.shift, config.scale, config.rotate, config.affine))
    if config.colour:
        strength = config.colour_strength
        steps.append(A.ColorJitter(
            brightness=(1 - strength, 1 + strength), contrast=(1 - strength, 1 + strength),
            saturation=(1 - strength, 1 + strength), hue=(-strength / 4, strength / 4), p=config.colour))
    if config.grey:
        steps.append(A.ToGray(p=config.grey))
    return steps + [make_transform(each, f"augment.transforms.{number}")
                    for number, each in enumerate(config.transforms)]


def crop_step(config: RunConfig) -> A.BasicTransform | None:
    """The crop of a training image, None for the whole of it.

    random: a window of `net.size` at any place of the larger canvas, in its own pixels; of a canvas that
    `geometry.most` has made smaller the edge is repeated. resized: a window of a share of the canvas (arXiv 1409.4842),
    brought to the largest input of the network; where canvases keep the proportions of their images its own are those
    of the input, and else those of the canvas, times `crop_aspect`.
    """
    augment, net = config.augment, config.net
    if augment.crop == "none":
        return None
    if augment.crop == "random":
        height, width = height_width(net.size)
        return A.RandomCrop(height=height, width=width, pad_if_needed=True, border_mode=EDGE, p=1)
    shown = seen_net(config)
    height, width = input_shape(shown, (0, 0), max(augment.sides, default=None))
    high, wide = (height, width) if canvas_kind(net).varies else height_width(net.canvas or net.size)
    low, most = (stretch * wide / high for stretch in augment.crop_aspect)
    return A.RandomResizedCrop(size=(height, width), scale=tuple(augment.crop_area), ratio=(low, most),
                               interpolation=INTER_LINEAR, area_for_downscale="image", p=1)


def seen_net(config: RunConfig) -> NetConfig:
    """What decides the shape that the network is shown: of a crop `net.size` alone."""
    cropped = {"geometry": None, "canvas": None}
    return config.net if config.augment.crop == "none" else config.net.model_copy(update=cropped)


def require_augmentation(config: RunConfig) -> None:
    """Raises ConfigError for steps that cannot be made, or that cannot take images of this canvas."""
    kind = canvas_kind(config.net)
    try:
        surely = [each.model_copy(update={"p": 1.0}) for each in config.augment.transforms]
        chosen = Augmentation(config.augment.model_copy(update={"transforms": surely}), crop_step(config))
    except ConfigError as failure:
        raise ConfigError(f"run '{config.run}': {failure}") from None
    before = len(chosen.steps) - len(surely)
    for number, step in enumerate(chosen.steps, -before):
        named = f".transforms.{number}: {surely[number].name}" if number >= 0 else f": {type(step).__name__}"
        where = f"run '{config.run}': augment{named}"
        alone = A.Compose([step])
        for probe in range(PROBES):
            image = np.random.default_rng(probe).integers(0, 256, (*kind.sides, kind.channels), dtype=np.uint8)
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("error", UserWarning)
                    alone.set_random_seed(probe)
                    made = alone(image=image)["image"]
            except Exception as failure:  # of their own code
                raise ConfigError(f"{where} fails on an image of {kind}: {one_line(failure)}; leave it out or give it "
                                  "other parameters") from None
            if made.dtype != np.uint8 or made.shape[2:] != (kind.channels,):
                raise ConfigError(f"{where} gives {made.dtype} numbers of shape {list(made.shape)}; what is needed are "
                                  f"pixels of 8 bits and {kind.channels} channels; leave it out")
