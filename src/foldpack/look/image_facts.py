"""What a competition's image files are: sizes, modes, formats, depth, damage, found by decoding as training does."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from PIL import Image

from foldpack.data.decode import Decoded, decode_item
from foldpack.data.depth import depth_warning
from foldpack.data.geometry import CanvasKind
from foldpack.data.image_place import image_file
from foldpack.data.items import Items

LOOKED_AT_SIDE = 64
AT_ONCE = 256  # images in flight


@dataclass(frozen=True)
class ImageFacts:
    """What was found of some images. Sizes are (height, width) in pixels, upright."""

    count: int  # images asked for, each once
    missing: list[str]  # paths without a file
    there: list[Path]  # those that were decoded
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    modes: Counter[str] = field(default_factory=Counter)  # format and mode, such as "PNG, RGBA"
    broken: list[str] = field(default_factory=list)  # reasons, each naming its file
    repaired: list[str] = field(default_factory=list)
    depth: str = ""  # a warning on 16-bit images that use few of their bits

    @property
    def looked(self) -> int:
        """How many images were decoded, or could not be."""
        return len(self.there)

    @property
    def size_text(self) -> str:
        """Their sizes in one line: how many there are, or the smallest, the middle and the largest."""
        if not self.sizes:
            return "none"
        if len(self.sizes) <= 3:
            return ", ".join(f"{width} x {height} ({count})" for (height, width), count in self.sizes.most_common())
        times = list(self.sizes.values())
        heights, widths = (np.repeat([size[axis] for size in self.sizes], times) for axis in (0, 1))
        return (f"{len(self.sizes)} different: width {widths.min()} to {widths.max()}, middle {np.median(widths):.0f}; "
                f"height {heights.min()} to {heights.max()}, middle {np.median(heights):.0f}")


def spread_rows(count: int, most: int) -> list[int]:
    """At most so many of `count` rows, evenly spread, the first and the last among them."""
    return sorted({round(float(place)) for place in np.linspace(0, count - 1, min(count, most))}) if count else []


def find_image_facts(items: Items, most: int, report: Callable[[float], None] = lambda share: None,
                     channels: int = 3) -> ImageFacts:
    """Look at no more than `most` of the images of some items, evenly spread. report: gets the share done; channels:
    that networks get.

    Raises DataError where a package is missing that the items' reader needs.
    """
    items.reader.prepare(items.images)
    paths = list(dict.fromkeys(items.images))
    there = [path for path in paths if image_file(path)]
    missing = [str(path) for path in paths if not image_file(path)]
    chosen = [there[row] for row in spread_rows(len(there), most)]
    facts = ImageFacts(len(paths), missing, chosen)
    deep, kind = list[int](), CanvasKind(LOOKED_AT_SIDE, channels=channels)
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for start in range(0, len(chosen), AT_ONCE):
            part = chosen[start : start + AT_ONCE]
            decoded = pool.map(lambda path: decode_item(path, [kind], items.reader), part)
            deep += [each.largest for path, each in zip(part, decoded, strict=True) if note(facts, path, each)]
            report(min(1.0, (start + AT_ONCE) / len(chosen)))
    warning = depth_warning([largest for largest in deep if largest >= 0])
    return replace(facts, depth=warning)


def note(facts: ImageFacts, path: Path, decoded: Decoded) -> bool:
    """Count one image. Returns whether it could be decoded."""
    if decoded.state == "fallback":
        facts.broken.append(decoded.reason)
        return False
    if decoded.state == "repaired":
        facts.repaired.append(decoded.reason)
    facts.sizes[decoded.size] += 1
    facts.modes[mode_of(path)] += 1
    return True


def mode_of(path: Path) -> str:
    """The format and the mode of a file as its header says; its ending where Pillow does not know it."""
    try:
        with Image.open(path) as image:
            deep = ", 16 bits" if image.mode.startswith("I") else ""
            return f"{image.format}, {image.mode}{deep}"
    except Exception:  # whatever a reader of another format or a damaged header makes Pillow raise
        return (image_file(path) or path).suffix.lstrip(".").upper() or "no ending"


def counted(counter: Counter[str], most: int = 6) -> str:
    """`PNG, RGB (118), PNG, RGBA (2)`: the most frequent first."""
    named: Sequence[tuple[str, int]] = counter.most_common(most)
    rest = sum(counter.values()) - sum(count for _, count in named)
    return ", ".join([f"{name} ({count})" for name, count in named] + ([f"others ({rest})"] if rest else [])) or "none"
