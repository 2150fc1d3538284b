"""One test-time view: what is cut out of the image, how it is turned, at which side it is shown."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

from foldpack.errors import FoldpackError

Window = tuple[Fraction, Fraction, Fraction, Fraction]  # left, top, right, bottom, in shares of the sides


class ViewError(FoldpackError):
    """A view that does not exist, or a list of views that does not make sense."""


@dataclass(frozen=True)
class View:
    """A window of the image, then a turn of what it shows. Equal when they show the same, whatever they are called."""

    name: str = field(compare=False)
    turn: tuple[bool, bool, bool] = (False, False, False)  # transpose, mirror left to right, mirror top to bottom
    window: Window = (Fraction(0), Fraction(0), Fraction(1), Fraction(1))
    side: int | None = None  # pixels, in place of the network's own: `input_shape`
    grey: bool = False
