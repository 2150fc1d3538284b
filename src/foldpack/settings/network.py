"""How one network is built and what pixels it expects."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    PlainValidator,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from foldpack.settings.strict_model import StrictModel

SIDE_LIMITS = (8, 8192)  # pixels, of a network's input and of a canvas
SIDES_THAT_VARY = ("long", "short")  # kinds of geometry that keep an image's proportions, so that canvases differ
GEOMETRIES_READING = {"most": ("short",), "multiple": SIDES_THAT_VARY, "pad": ("letterbox",)}


def check_sides(value: Any) -> int | list[int]:
    """For settings: a side of a square, or [height, width], in pixels. Raises ValueError."""
    sides = value if isinstance(value, list) and len(value) == 2 else [value]
    smallest, largest = SIDE_LIMITS
    if not all(type(side) is int and smallest <= side <= largest for side in sides):
        raise ValueError(f"write a side in pixels, {smallest} to {largest}, or [height, width]")
    return value


Kwarg = str | int | float | bool | None | list[int]
Sides = Annotated[int | list[int], PlainValidator(check_sides)]


def height_width(sides: int | list[int]) -> tuple[int, int]:
    """Both sides, pixels."""
    return (sides, sides) if isinstance(sides, int) else (sides[0], sides[1])


class Geometry(StrictModel):
    """How a whole image, upright, is brought to its canvas. `place_image` says it in numbers."""

    kind: Literal["squash", "letterbox", "centre-crop", "long", "short", "box"]  # box: each known box, squashed
    most: Annotated[int, Field(ge=SIDE_LIMITS[0], le=2 * SIDE_LIMITS[1])] | None = None  # short: of the longer side
    multiple: Annotated[int, Field(ge=1, le=256)] = 1  # long, short: both sides are rounded to multiples of it
    pad: Annotated[int, Field(ge=0, le=255)] = 0  # letterbox: value of all channels beside the image

    @model_validator(mode="after")
    def _the_kind_reads_it(self) -> Geometry:
        given = {"most": self.most is not None, "multiple": self.multiple != 1, "pad": self.pad != 0}
        for name, kinds in GEOMETRIES_READING.items():
            if given[name] and self.kind not in kinds:
                raise ValueError(f"geometry '{self.kind}' does not read {name}; it is read by {', '.join(kinds)}")
        if self.kind == "short" and self.most is None:
            raise ValueError("geometry 'short' needs most, the longest side in pixels that the other side may have")
        return self


SQUASH = Geometry(kind="squash")


def check_pixels(size: int | list[int], canvas: int | list[int] | None, geometry: Geometry | None) -> None:
    """Whether sides, canvas and geometry fit each other. Raises ValueError."""
    whole, wanted = height_width(canvas or size), height_width(size)
    if whole[0] < wanted[0] or whole[1] < wanted[1]:
        raise ValueError(f"a canvas of {canvas} px is smaller than the network's input of {size} px")
    kind, geometry = (geometry or SQUASH).kind, geometry or SQUASH
    if kind in ("letterbox", "centre-crop") and whole[0] * wanted[1] != whole[1] * wanted[0]:
        raise ValueError(f"a canvas of {canvas} px has other proportions than the network's input of {size} px, so "
                         f"'{kind}' would stretch images after all")
    if kind not in SIDES_THAT_VARY:
        return
    if isinstance(size, list) or isinstance(canvas, list):
        raise ValueError(f"geometry '{kind}' needs one side as size and canvas, not [height, width]")
    for name, side in (("size", size), ("canvas", canvas or size), ("most", geometry.most or size)):
        if side % geometry.multiple:
            raise ValueError(f"{name} is {side} px, no multiple of geometry.multiple, which is {geometry.multiple}")
    if geometry.most is not None and geometry.most < whole[0]:
        raise ValueError(f"geometry.most is {geometry.most} px, less than the short side of {whole[0]} px")


class StartFrom(StrictModel):
    """The weights that training starts from; without any, from scratch. As plain data also `false`, `true` for the hub,
    a file, or `package:NAME`."""

    hub: bool = False  # timm's, downloaded
    package: str | None = None  # an installed package that ships weights, by the name that it is imported by
    file: str | None = None  # as seen from the project's folder; with `package`: in it
    key: str | None = None  # which set, where a file holds several
    optional: bool = False  # where the weights are not there, train from scratch
    head: Literal["new", "keep"] = "new"  # keep: take the last layer too
    origin: str | None = None  # where they come from; None: what the package, timm or the checkpoint says
    licence: str | None = None  # of the weights; None: likewise
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None  # of the file; training fills it in

    @model_validator(mode="after")
    def _one_source(self) -> StartFrom:
        given = [name for name, value in self if value != type(self).model_fields[name].default]
        if given and not {"hub", "package", "file"} & set(given):
            raise ValueError(f"{given[0]} is told of no weights; name a package, a file, or hub: true")
        if self.hub and (strange := [name for name in ("package", "file", "key", "sha256") if name in given]):
            raise ValueError(f"hub: true does not go with {strange[0]}; timm's hub decides what is loaded")
        if self.hub and self.head == "keep":
            raise ValueError("hub: true does not read head; it is read with a file or a package")
        return self

    def __bool__(self) -> bool:
        """Whether there are any."""
        return self.hub or self.package is not None or self.file is not None or self.sha256 is not None

    @model_serializer(mode="wrap")
    def _short(self, handler: SerializerFunctionWrapHandler) -> bool | dict[str, Any]:
        plain = StartFrom()
        if self in (plain, plain.model_copy(update={"hub": True})):
            return bool(self)
        return dict(handler(self))

    def decides(self) -> StartFrom:
        """What of it decides the numbers that training starts with. A file whose hash is known may lie anywhere."""
        told: dict[str, Any] = {"optional": False, "origin": None, "licence": None}
        if self.sha256 is not None:
            told |= {"package": None, "file": None}
        return self.model_copy(update=told)

    @property
    def name(self) -> str:
        """What messages call them."""
        parts = [f"package {self.package}" if self.package else "", self.file or ""]
        return "timm's weights" if self.hub else ", ".join(part for part in parts if part)


class WeightsOrigin(StrictModel):
    """Whose weights a run started from: for whoever publishes what it became."""

    name: str  # of the file or the package; of timm's the network
    origin: str | None = None  # an address; None: not told
    licence: str | None = None  # None: not told
    sha256: str | None = None  # of the file; None: of timm's hub


def read_start(value: Any) -> Any:
    """For settings: `false`, `true`, `package:NAME` and a file as blocks of `StartFrom`. Raises ValueError."""
    if isinstance(value, bool):
        return {"hub": value}
    if isinstance(value, str):
        kind, _, name = value.partition(":")
        return {"package": name} if kind == "package" else {"file": value}
    if not isinstance(value, dict | StartFrom):
        raise ValueError("write true, false, a file, package:NAME, or a block")
    return value


class NetConfig(StrictModel):
    """How to build one network and what pixels it expects. Travels inside every checkpoint."""

    arch: str  # a name that `timm.create_model` knows, or FILE.py:NAME of a network of the project's own
    size: Sides  # the network's input, pixels: side of a square or [height, width]; long, short: that side
    kwargs: dict[str, Kwarg | dict[str, Kwarg]] = {}  # passed on to what makes the network
    pretrained: Annotated[StartFrom, BeforeValidator(read_start)] = StartFrom()  # not used when a checkpoint is loaded
    canvas: Sides | None = None  # decode at these sides, resize from them; default: size
    decoder: Literal["pillow", "pillow-draft"] = "pillow"  # draft: JPEGs decoded at a reduced scale, so other pixels
    geometry: Geometry | None = None  # how an image is brought to the canvas; None: squash
    channels: Annotated[int, Field(ge=1, le=64)] = 3  # of an image: 1 grey, 3 RGB, 4 RGBA, n the pages of a TIFF
    mean: list[float] = [0.485, 0.456, 0.406]  # per channel, of pixels in [0, 1]; left out: as `pretrained` wants it
    std: list[float] = [0.229, 0.224, 0.225]
    bins: Annotated[int, Field(ge=2, le=4096)] | None = None  # regress: a value is the mean of so many, by probability
    cosine: Annotated[float, Field(gt=0)] | None = None  # classify: the logits are cosines times this
    pool: Literal["gem"] | None = None  # generalised mean over the last feature map; None: as the network has it
    neck: Literal["bn"] | None = None  # embed: batch norm before the vector is brought to length 1

    @model_serializer(mode="wrap")
    def _without_what_is_not_asked(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        told: dict[str, Any] = handler(self)
        for name in ("cosine", "pool", "neck"):  # networks of before are told as before
            if told.get(name, name) is None:
                del told[name]
        return told

    @model_validator(mode="after")
    def _channels_fit(self) -> NetConfig:
        if (len(self.mean), len(self.std)) != (self.channels, self.channels) or min(self.std) <= 0:
            raise ValueError(f"mean and std need a number for each channel, {self.channels}, and std above 0")
        if self.kwargs.get("in_chans", self.channels) != self.channels:
            raise ValueError(f"kwargs.in_chans is {self.kwargs['in_chans']}, but images have {self.channels} channels; "
                             "leave in_chans out, it follows from channels")
        return self

    @model_validator(mode="after")
    def _pixels_fit(self) -> NetConfig:
        check_pixels(self.size, self.canvas, self.geometry)
        return self
