"""Where images lie: from the columns of a table and the paths of the images to a template, `train/{id}.jpg`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice, product
from pathlib import PurePosixPath

from foldpack.recognise.download.cells import are_numbers, are_whole
from foldpack.recognise.download.listing import Listing

ROWS = 400  # looked at
ENOUGH = 0.6  # share of the rows that must have an image: a few may be missing
MOST_CHOICES = 16  # ways to write one path
NO_PICTURE = re.compile(r"mask|label|annotation|segment|depth|thumb|overlay", re.IGNORECASE)
PLAIN_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif")


@dataclass(frozen=True)
class Place:
    """A template for the images of a table's rows."""

    column: str  # whose cells name the images
    image: str  # the template
    share: float  # of the rows looked at that have an image
    parse: dict[str, str] = field(default_factory=dict)  # column -> pattern that takes its cells apart
    others: tuple[str, ...] = ()  # other places with the same names

    @property
    def folder(self) -> str:
        """What stands before the first brace or star."""
        return re.split(r"[{*]", self.image)[0]


def find_place(columns: dict[str, list[str]], listing: Listing, first: tuple[str, ...] = ()) -> Place | None:
    """The best template over some columns; None where no column names images. first: columns to prefer."""
    rows = len(next(iter(columns.values()), []))
    step = max(1, rows // ROWS)
    taken = {name: cells[::step][:ROWS] for name, cells in columns.items()}
    order = sorted(taken, key=lambda name: name not in first)
    places = [place for name in order for find in (by_name, by_stem) if (place := find(name, taken, listing))]
    if not places:
        places = [place for name in order if (place := by_parts(name, taken, listing))]
    return max(places, key=lambda place: (round(place.share, 2), -place.image.count("*"), place.column in first,
                                          len(set(taken[place.column]))), default=None)


def by_name(name: str, columns: dict[str, list[str]], listing: Listing) -> Place | None:
    """Cells are file names, or the last part of a path."""
    cells = columns[name]
    found = [[path for path in listing.by_name.get(cell.rpartition("/")[2], []) if ends(path, cell)] for cell in cells]
    return best_place(name, columns, found, lambda path, cell: (path[: len(path) - len(cell)], f"{{{name}}}"))


def ends(path: str, cell: str) -> bool:
    """Whether the path is the cell, or goes on before it with a folder."""
    return path == cell or path.endswith(f"/{cell.lstrip('/')}")


def by_stem(name: str, columns: dict[str, list[str]], listing: Listing) -> Place | None:
    """Cells are file names without their suffix, and maybe without what all names begin or end with."""
    cells = columns[name]
    before, after = affixes(cells, listing)
    found = [[path for path in listing.by_stem.get(f"{before}{cell.rpartition('/')[2]}{after}", [])
              if ends(path[: path.rindex(".")], f"{cell.rpartition('/')[0]}/{before}{cell.rpartition('/')[2]}{after}"
                      if "/" in cell else f"{before}{cell}{after}")] if cell else [] for cell in cells]

    def parts(path: str, cell: str) -> tuple[str, str]:
        stem = f"{before}{cell}{after}"
        suffix = path[path.rindex(".") :]
        return path[: len(path) - len(stem) - len(suffix)], f"{before}{{{name}}}{after}{suffix}"

    return best_place(name, columns, found, parts)


def affixes(cells: list[str], listing: Listing) -> tuple[str, str]:
    """What all names of images have before and after the cell; ("", "") where cells are names."""
    distinct = [cell for cell in dict.fromkeys(cells) if len(cell) > 3 and "/" not in cell]
    amounts = are_numbers(distinct) and not are_whole(distinct)
    if len(distinct) < 8 or amounts or any(cell in listing.by_stem for cell in distinct[:20]):
        return "", ""
    stems = list(listing.by_stem)
    found: Counter[tuple[str, str]] = Counter()
    for cell in distinct[:3]:
        found.update({tuple(stem.split(cell, 1)) for stem in stems if cell in stem})  # type: ignore[misc]
    pair, count = found.most_common(1)[0] if found else (("", ""), 0)
    zeros = bool(pair[0]) and not pair[0].strip("0") and are_whole(distinct)  # lost, and another number of them a row
    return pair if count == min(3, len(distinct)) and not zeros else ("", "")


def best_place(
    name: str, columns: dict[str, list[str]], found: list[list[str]], parts: Callable[[str, str], tuple[str, str]]
) -> Place | None:
    """One template for most rows. found: the images that each row may mean; parts: path -> (folder, name template)."""
    shapes: Counter[tuple[str, ...]] = Counter()
    for row, paths in enumerate(found):
        cells = {column: values[row] for column, values in columns.items()}
        shapes.update({shape for path in paths for shape in shapes_of(*parts(path, cells[name]), cells)})
    return chosen(name, shapes, len(found), {})


def chosen(name: str, shapes: Counter[tuple[str, ...]], total: int, parse: dict[str, str]) -> Place | None:
    """The best of the templates that most rows have; where none is, of those with a star for folders that differ."""
    whole = [shape for shape, count in shapes.items() if count >= ENOUGH * total] or merged_shapes(shapes, total)
    if not whole:
        return None
    images = {"/".join(shape): min(1.0, (shapes[shape] or covered(shape, shapes)) / total) for shape in whole}
    ordered = sorted(images, key=lambda image: (-round(images[image], 1), *picture_order(image)))
    return Place(name, ordered[0], images[ordered[0]], parse, tuple(ordered[1:]))


def shapes_of(folder: str, file: str, cells: dict[str, str]) -> Iterator[tuple[str, ...]]:
    """The parts of a path as templates: a folder that is called like a cell of the row may be that column."""
    parts = [part for part in folder.split("/") if part]
    choices = [[part, *(f"{{{column}}}" for column, cell in cells.items() if cell == part)] for part in parts]
    return islice(product(*choices, [file]), MOST_CHOICES)


def merged_shapes(shapes: Counter[tuple[str, ...]], total: int) -> list[tuple[str, ...]]:
    """Templates with a star where folders differ from row to row and no column says how."""
    merged: dict[tuple[str, ...], list[tuple[str, ...]]] = {}
    for shape in shapes:
        merged.setdefault((shape[0], *(part if "{" in part else "" for part in shape)), []).append(shape)
    found = []
    for group in merged.values():
        if sum(shapes[shape] for shape in group) < ENOUGH * total or len(group[0]) < 2:
            continue
        found.append(tuple(part[0] if len(set(part)) == 1 else "*" for part in zip(*group, strict=True)))
    return found


def covered(shape: tuple[str, ...], shapes: Counter[tuple[str, ...]]) -> int:
    """Rows whose template a merged one stands for."""
    return sum(count for other, count in shapes.items() if len(other) == len(shape)
               and all(mine in ("*", part) for mine, part in zip(shape, other, strict=True)))


def picture_order(image: str) -> tuple:
    """Pictures before masks, plain formats before others, fewer stars, shorter paths."""
    suffix = PurePosixPath(image).suffix.lower()
    plain = suffix in PLAIN_SUFFIXES or suffix.startswith(".{") or "{" in suffix or not suffix
    return bool(NO_PICTURE.search(re.sub(r"\{[^}]*\}", "", image))), not plain, image.count("*"), len(image), image


# ---- ids that hold several names: case2_day0_slice_0001 ----


def by_parts(name: str, columns: dict[str, list[str]], listing: Listing) -> Place | None:
    """Cells are words joined by `_`, of which folders and file names are made."""
    rows = {cell: row for row, cell in enumerate(columns[name])}
    count = Counter(cell.count("_") for cell in rows).most_common(1)[0][0] + 1 if rows else 0
    words = {row: cell.split("_") for cell, row in rows.items() if cell.count("_") + 1 == count}
    if count < 2 or len(words) < max(2, ENOUGH * len(rows)):
        return None
    same = [len({each[place] for each in words.values()}) == 1 for place in range(count)]
    names = part_names(list(words.values()), same)
    shapes: Counter[tuple[str, ...]] = Counter()
    for row, each in words.items():
        cells = {column: values[row] for column, values in columns.items()}
        shapes.update(part_shapes(each, same, names, cells, listing))
    first = next(iter(words.values()))
    pattern = "_".join(each if fixed else f"{{{label}}}" for each, fixed, label in zip(first, same, names, strict=True))
    return chosen(name, shapes, len(rows), {name: pattern})


def part_names(words: list[list[str]], same: list[bool]) -> list[str]:
    """What the parts of an id are called: by the letters that they begin with, or the fixed word before."""
    names: list[str] = []
    for place, fixed in enumerate(same):
        heads = {re.match(r"[a-zA-Z]*", each[place])[0].lower() for each in words}  # type: ignore[index]
        head = heads.pop() if len(heads) == 1 else ""
        if not head and place and same[place - 1]:
            head = re.sub(r"\W", "", words[0][place - 1])
        name = words[0][place] if fixed else head or ("image" if sum(same) == len(same) - 1 else f"part{place + 1}")
        taken = {other for other, literal in zip(names, same, strict=False) if not literal}
        names.append(name if fixed or name not in taken else f"{name}{place + 1}")
    return names


def part_shapes(words: list[str], same: list[bool], names: list[str], cells: dict[str, str], listing: Listing
                ) -> set[tuple[str, ...]]:
    """The templates of the images that a row may mean: every part that varies has to be in the path."""
    ranges = {"_".join(words[a:b]): (a, b) for a in range(len(words)) for b in range(a + 1, len(words) + 1)
              if not all(same[a:b])}
    needed = {place for place, fixed in enumerate(same) if not fixed}
    found: set[tuple[str, ...]] = set()
    for text, (a, b) in ranges.items():
        exact = [(path, "") for path in listing.by_stem.get(text, [])]
        longer = [(path, "_*") for path in listing.by_head.get(text, [])]
        for path, rest in exact + longer:
            folders = path.split("/")[:-1]
            inside = {place for folder in folders if folder in ranges for place in range(*ranges[folder])}
            if needed <= inside | set(range(a, b)):
                parts = [range_template(folder, ranges, words, same, names) for folder in folders]
                stem = range_template(text, ranges, words, same, names)
                found.update(shapes_of("/".join(parts), f"{stem}{rest}{PurePosixPath(path).suffix}", cells))
    return found


def range_template(text: str, ranges: dict[str, tuple[int, int]], words: list[str], same: list[bool],
                   names: list[str]) -> str:
    """A folder or name as a template over the parts of an id."""
    if text not in ranges:
        return text
    return "_".join(words[place] if same[place] else f"{{{names[place]}}}" for place in range(*ranges[text]))


def parsed_columns(columns: dict[str, list[str]], parse: dict[str, str]) -> dict[str, list[str]]:
    """The columns that patterns take cells apart into; "" where a cell does not fit."""
    found: dict[str, list[str]] = {}
    for name, pattern in parse.items():
        parts = re.split(r"\{([^{}]*)\}", pattern)
        text = "".join(f"(?P<{part}>[^/]+?)" if place % 2 else re.escape(part) for place, part in enumerate(parts))
        matches = [re.fullmatch(text, cell) for cell in columns[name]]
        found |= {part: [match[part] if match else "" for match in matches] for part in parts[1::2]}
    return found
