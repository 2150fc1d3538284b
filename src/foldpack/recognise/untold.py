"""The table that should have told of the training items, and why it could not."""

from __future__ import annotations

from pathlib import Path

from foldpack.recognise.download.heads import Head
from foldpack.recognise.download.listing import Listing
from foldpack.recognise.download.near import AGAIN, why_no_images
from foldpack.recognise.download.sample import Sample, shown
from foldpack.recognise.items import TEST, TRAIN, Told, is_other


def why_untold(listing: Listing, heads: list[Head], told: list[Told], sample: Sample, test: Told) -> str:
    """The first of the tables called like one of training items that is near to be one, and what is wrong with it; ""
    where there is none."""
    by_file, with_images = {head.file: head for head in heads}, {one.head.file: one for one in told}
    files = [file for file in listing.tables if file not in (sample.file, test.head.file)
             and not TEST.search(file.rpartition("/")[2])]
    for file in sorted(files, key=lambda file: (not TRAIN.search(file.rpartition("/")[2]), file.count("/"))):
        why = no_table(listing.root / file) or (
            no_labels(with_images[file], test) if file in with_images else
            why_no_images(by_file[file].columns, listing) if file in by_file else "")
        if why:
            return f"{file}: {why}"
    return ""


def no_labels(one: Told, test: Told) -> str:
    """What a table lacks whose rows have images of training items."""
    if is_other(one, test):
        return ""
    return f"no column has labels, got: {shown(list(one.head.columns), 6)}; {AGAIN}"


def no_table(path: Path) -> str:
    """What a file is that is called like a table and is none; "" where it may be one."""
    with open(path, "rb") as file:
        beginning = file.read(512).removeprefix(b"\xef\xbb\xbf").strip().lower()
    if not beginning:
        return f"it is empty; {AGAIN}"
    if beginning.startswith(b"<"):
        return "it is a web page and no table; download it again, signed in to Kaggle"
    return f"it is an archive and no table; unpack it, or {AGAIN}" if beginning.startswith(b"pk\3\4") else ""
