"""The steps that `augment.transforms` names: presets, and every transform of albumentations with its own parameters."""

from __future__ import annotations

import inspect
import os
import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

from pydantic import ValidationError

from foldpack.errors import did_you_mean
from foldpack.settings.run import ConfigError
from foldpack.settings.training.augment import TransformConfig

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # or its import asks the network for a newer version
import albumentations as A  # noqa: E402

EDGE = 1  # cv2.BORDER_REPLICATE: pixels from outside the image repeat its edge


def affine(shift: float, scale: float, rotate: float, p: float) -> A.BasicTransform:
    """Shift as a share of the side, change of size, and rotation in degrees: the largest of each."""
    return A.Affine(translate_percent={"x": (-shift, shift), "y": (-shift, shift)}, scale=(1 - scale, 1 + scale),
                    rotate=(-rotate, rotate), border_mode=EDGE, p=p)


# Affine ones, blur, distortion and colour as in the menu of kaggle_imet_2019, with what albumentations has today.
PRESETS: dict[str, Callable[[float], Any]] = {
    "soft": lambda p: affine(0.075, 0.15, 10, p),
    "medium": lambda p: affine(0.0625, 0.2, 45, p),
    "hard": lambda p: affine(0.0625, 0.5, 45, p),
    "noise": lambda p: A.OneOf([A.GaussNoise(std_range=(0.02, 0.1), p=1),
                                A.MultiplicativeNoise(multiplier=(0.8, 1.2), elementwise=True, p=1)], p=p),
    "blur": lambda p: A.OneOf([A.MotionBlur(blur_limit=(3, 7), p=1), A.MedianBlur(blur_limit=(3, 3), p=1),
                               A.Blur(blur_limit=(3, 3), p=1)], p=p),
    "distortion": lambda p: A.OneOf([A.OpticalDistortion(distort_limit=(-0.3, 0.3), border_mode=EDGE, p=1),
                                     A.GridDistortion(border_mode=EDGE, p=1),
                                     A.ElasticTransform(alpha=30, sigma=6, border_mode=EDGE, p=1)], p=p),
    "colour": lambda p: A.OneOf([A.CLAHE(clip_limit=(1, 2), p=1), A.Sharpen(p=1), A.Emboss(p=1),
                                 A.RandomBrightnessContrast(p=1)], p=p),
    "jpeg": lambda p: A.ImageCompression(quality_range=(50, 95), p=p),
    "cutout": lambda p: A.CoarseDropout(num_holes_range=(1, 4), hole_height_range=(0.1, 0.25),
                                        hole_width_range=(0.1, 0.25), p=p),
}


@cache
def transforms() -> dict[str, type[A.BasicTransform]]:
    """Every transform of an image that albumentations has, by name."""
    bases = (A.ImageOnlyTransform, A.DualTransform)
    return {name: each for name, each in vars(A).items() if inspect.isclass(each) and issubclass(each, bases)
            and each.__module__ != A.DualTransform.__module__}


def make_transform(config: TransformConfig, key: str) -> Any:
    """A step of albumentations. key: of the settings, for errors. Raises ConfigError, also where albumentations only
    warns: of parameters that a transform does not have.
    """
    kind = transforms().get(config.name)
    if config.name in PRESETS and config.params:
        raise ConfigError(f"{key}.params: preset '{config.name}' takes none; leave them out, or name a transform of "
                          "albumentations")
    if config.name in PRESETS:
        return PRESETS[config.name](config.p)
    if kind is None:
        near = did_you_mean(config.name, [*PRESETS, *sorted(transforms())]).split(" Allowed:")[0]
        near = "" if near.startswith("Allowed") else f"; {near}"
        raise ConfigError(f"{key}.name: '{config.name}' is no transform{near}; allowed: {', '.join(PRESETS)}, or any "
                          f"transform of an image in albumentations {A.__version__}, such as GaussNoise")
    known = [name for name in inspect.signature(kind.__init__).parameters if name not in ("self", "p")]
    for name in config.params:
        if name not in known:
            raise ConfigError(f"{key}.params: {config.name} has no '{name}': {did_you_mean(name, known)}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # advice, such as a newer name
            warnings.filterwarnings("error", ".*not valid for transform")
            return kind(**config.params, p=config.p)
    except Exception as failure:  # of their own code, whatever it checks
        raise ConfigError(f"{key}.params: {config.name} does not take them: {fault_of(failure)}; known: "
                          f"{', '.join(known)}") from None


def fault_of(failure: Exception) -> str:
    """What is wrong with parameters. albumentations hides pydantic's own error in another."""
    inner = failure if isinstance(failure, ValidationError) else failure.__cause__ or failure.__context__
    if not isinstance(inner, ValidationError):
        return one_line(failure)
    fault = inner.errors()[0]
    where = ".".join(str(part) for part in fault["loc"] if not str(part).startswith(("function-", "tuple[")))
    return f"{where + ': ' if where else ''}{one_line(fault['msg'])}" + (
        f", got {fault['input']!r}" if fault["type"] != "missing" and where else "")


def one_line(text: object) -> str:
    """What somebody else's code says, without its line breaks."""
    return " ".join(str(text).split())
