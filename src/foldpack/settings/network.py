"""How one network is built and what pixels it expects."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from foldpack.settings.strict_model import StrictModel


class NetConfig(StrictModel):
    """How to build one network and what pixels it expects. Travels inside every checkpoint."""

    arch: str  # a name that `timm.create_model` knows, or FILE.py:NAME of a network of the project's own
    size: Annotated[int, Field(ge=8, le=4096)]  # side of the square input, pixels
    kwargs: dict[str, str | int | float | bool | None | list[int]] = {}  # passed on to what makes the network
    pretrained: bool = False  # start training from timm's weights; never used when a checkpoint is loaded
    canvas: Annotated[int, Field(ge=8, le=8192)] | None = None  # decode at this side, resize from it; default: size
    decoder: Literal["pillow", "pillow-draft"] = "pillow"  # draft: JPEGs decoded at a reduced scale, so other pixels
    mean: list[float] = [0.485, 0.456, 0.406]  # per channel, of pixels in [0, 1]
    std: list[float] = [0.229, 0.224, 0.225]

    @model_validator(mode="after")
    def _three_channels(self) -> NetConfig:
        if len(self.mean) != 3 or len(self.std) != 3 or min(self.std) <= 0:
            raise ValueError("mean and std need three numbers each, as all images become RGB, and std above 0")
        if self.kwargs.get("in_chans", 3) != 3:
            raise ValueError(f"kwargs.in_chans is {self.kwargs['in_chans']}, but all images become RGB, grey ones with "
                             "3 equal channels; leave in_chans out")
        if self.canvas is not None and self.canvas < self.size:
            raise ValueError(f"a canvas of {self.canvas} px is smaller than the network's input of {self.size} px")
        return self

    @property
    def canvas_size(self) -> int:
        """Side of the decoded image, pixels."""
        return self.canvas or self.size
