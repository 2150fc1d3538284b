"""What happens to training images: one at a time, then by the batch."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from foldpack.settings.network import SIDE_LIMITS
from foldpack.settings.strict_model import StrictModel

Share = Annotated[float, Field(ge=0, le=1)]
Alpha = Annotated[float, Field(ge=0)]
Pair = Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=2, max_length=2)]
Side = Annotated[int, Field(ge=SIDE_LIMITS[0], le=SIDE_LIMITS[1])]


class TransformConfig(StrictModel):
    """One more step. What it may be named and told, `train.augment.menu` knows."""

    name: str  # a preset, or a transform of albumentations
    p: Annotated[float, Field(gt=0, le=1)] = 0.5  # probability
    params: dict[str, Any] = {}  # of the transform; a preset has none


class AugmentConfig(StrictModel):
    """What happens to a training image. Probabilities of 0 switch a step off."""

    crop: Literal["none", "random", "resized"] = "none"  # a window of the canvas in place of the whole
    crop_area: Pair = [0.6, 1.0]  # resized: smallest and largest share of the canvas
    crop_aspect: Pair = [1.0, 1.0]  # resized: by how much it may be stretched
    sides: list[Side] = []  # the network's input side is one of them, drawn per batch; none: net.size
    hflip: Share = 0.5  # probability
    vflip: Share = 0.0
    identity_flips: list[Literal["hflip", "vflip", "turn"]] = []  # embed: each makes every identity another one
    affine: Share = 0.0  # probability of shift + scale + rotation
    shift: Share = 0.06  # largest shift, share of the side
    scale: Annotated[float, Field(ge=0, lt=1)] = 0.15  # largest change of size
    rotate: Annotated[float, Field(ge=0, le=180)] = 10.0  # degrees
    colour: Share = 0.0  # probability of colour jitter
    colour_strength: Share = 0.2
    grey: Share = 0.0  # probability of dropping the colour
    transforms: list[TransformConfig] = []  # after these, in this order
    erase: Share = 0.0  # probability of random erasing (arXiv 1708.04896), after mixing
    erase_area: Pair = [0.02, 0.3333333333333333]  # smallest and largest share of the image, all rectangles together
    erase_aspect: Pair = [0.3, 3.3333333333333335]  # height by width
    erase_count: Annotated[int, Field(ge=1)] = 1  # rectangles, at most: from 1 on
    erase_fill: Literal["noise", "colour", "mean"] = "noise"  # colour: one by chance; mean: net.mean
    mixup: Alpha = 0.0  # alpha of mixup (arXiv 1710.09412), drawn per batch
    cutmix: Alpha = 0.0  # alpha of CutMix (arXiv 1905.04899)
    ricap: Alpha = 0.0  # beta of RICAP (arXiv 1811.09030): patches of four images
    icap: Alpha = 0.0  # beta of ICAP: the same, and every patch keeps its place
    mix: Annotated[float, Field(gt=0, le=1)] = 1.0  # share of the batches that are mixed, where anything mixes

    @property
    def mixers(self) -> list[str]:
        """Ways of mixing that are switched on."""
        return [name for name in ("mixup", "cutmix", "ricap", "icap") if getattr(self, name)]

    @model_validator(mode="after")
    def _something_reads_it(self) -> AugmentConfig:
        fields = type(self).model_fields
        for name in ("crop_area", "crop_aspect", "erase_area", "erase_aspect", "erase_count", "erase_fill"):
            usual = getattr(self, name) == fields[name].default
            if name.startswith("crop") and self.crop != "resized" and not usual:
                raise ValueError(f"crop '{self.crop}' does not read {name}; it is read by resized")
            if name.startswith("erase") and not self.erase and not usual:
                raise ValueError(f"{name} is read where erase is above 0")
        for name in ("crop_area", "crop_aspect", "erase_area", "erase_aspect"):
            low, high = getattr(self, name)
            share = name.endswith("area")
            if low > high or (share and high > 1):
                raise ValueError(f"{name} is [{low:g}, {high:g}]; write the smaller number first"
                                 f"{', and none above 1' if share else ''}")
        if self.mix != 1 and not self.mixers:
            raise ValueError("mix is read where mixup, cutmix, ricap or icap is above 0, and none is")
        if len(set(self.identity_flips)) != len(self.identity_flips):
            raise ValueError(f"identity_flips {self.identity_flips}: one stands there twice")
        for name in ("hflip", "vflip"):
            if self.identity_flips and getattr(self, name):
                raise ValueError(f"{name} is {getattr(self, name):g}, which keeps the identity of a flipped image, and "
                                 f"identity_flips makes it another one; set {name} to 0")
        if len(set(self.sides)) != len(self.sides):
            raise ValueError(f"sides {self.sides}: a side stands there twice")
        return self
