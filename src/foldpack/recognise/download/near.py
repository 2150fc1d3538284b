"""Why the cells of a table name no images, or not all: zeros that were lost, other letters, images that are missing."""

from __future__ import annotations

from collections import Counter

from foldpack.recognise.download.cells import filled
from foldpack.recognise.download.listing import Listing, stem_of
from foldpack.recognise.findings import RecognitionError

LOOKED_AT = 2000  # different cells of a column
MOST = 0.6  # share of the cells that must be nearly names
AGAIN = "take the file from the download again"


def why_no_images(columns: dict[str, list[str]], listing: Listing) -> str:
    """What is wrong with the column that comes nearest to names of images, and what to do; "" where none is near."""
    return next((why for tell in (zeros_lost, other_letters, some_missing) for column, cells in columns.items()
                 if (why := tell(column, cells, listing))), "")


def require_zeros(file: str, column: str, cells: list[str], listing: Listing) -> None:
    """Raises RecognitionError where ids have lost the zeros that the names of images begin with."""
    if why := zeros_lost(column, cells, listing):
        raise RecognitionError(f"{file}: {why}")


def zeros_lost(column: str, cells: list[str], listing: Listing) -> str:
    """Numbers without the zeros that names begin with, as a spreadsheet writes them."""
    padded = {stem.lstrip("0"): path for path in listing.images if (stem := stem_of(path)).isdigit() and stem[0] == "0"}
    given = looked_at(cells)
    lost = [cell for cell in given if cell.isdigit() and cell not in listing.by_stem and cell in padded]
    found = sum(cell in listing.by_stem for cell in given)
    if not lost or len(lost) + found < MOST * len(given) or len(given) < len(filled(cells)) / 10:
        return ""
    return (f"column '{column}' has '{lost[0]}', and the image is {padded[lost[0]]}: zeros were lost, as in a "
            f"spreadsheet; {AGAIN}")


def other_letters(column: str, cells: list[str], listing: Listing) -> str:
    """Names that differ from those of the files in capital letters, often of the ending."""
    names = {name.lower(): path for path in listing.images for name in (path.rpartition("/")[2], stem_of(path))}
    given = looked_at(cells)
    other = [cell for cell in given if not is_name(cell, listing) and last(cell).lower() in names]
    if not given or len(other) < MOST * len(given):
        return ""
    return (f"column '{column}' has '{other[0]}', and the image is {names[last(other[0]).lower()]}: write both with "
            "the same capital letters")


def some_missing(column: str, cells: list[str], listing: Listing) -> str:
    """Names of which many have no image."""
    given = looked_at(cells)
    missing = [cell for cell in given if not is_name(cell, listing)]
    if not missing or len(missing) > 0.95 * len(given) or Counter(cells).most_common(1)[0][1] > len(cells) / 5:
        return ""
    return (f"of {len(given)} names in column '{column}' only {len(given) - len(missing)} have an image, not "
            f"'{missing[0]}'; complete the download")


def looked_at(cells: list[str]) -> list[str]:
    """The different cells, of many the first."""
    return list(dict.fromkeys(filled(cells)))[:LOOKED_AT]


def last(cell: str) -> str:
    """What stands behind the last slash."""
    return cell.rpartition("/")[2]


def is_name(cell: str, listing: Listing) -> bool:
    """Whether an image is called so, with or without its ending."""
    return last(cell) in listing.by_name or last(cell) in listing.by_stem
