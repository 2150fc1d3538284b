from __future__ import annotations

from toy.b import Trouble


def risky() -> None:
    try:
        {}["x"]
    except KeyError as error:
        raise Trouble("it broke") from error
