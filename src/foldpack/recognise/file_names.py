"""Training items that no table lists: class folders, labels in file names, the same names in several folders."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from foldpack.recognise.doubts import tell_twins
from foldpack.recognise.download.listing import Listing, still_packed
from foldpack.recognise.download.places import Place
from foldpack.recognise.findings import Findings, RecognitionError
from foldpack.settings.item_sources import FilesSource, ItemsConfig

NUMBERED = re.compile(r"(.*?)([._-]*)(\d+)")
SAME = 8  # images that are compared
PLAIN = {"cover", "original", "normal", "negative", "clean", "none", "real", "healthy", "background", "other", "no"}


@dataclass(frozen=True)
class NamedFiles:
    """Training items told by their paths. map: what a path says -> class, where several say the same."""

    items: ItemsConfig
    labels: dict[str, int]  # what stands in the paths, with how many images
    map: dict[str, str] = field(default_factory=dict)
    same_names: bool = False


def find_named_files(listing: Listing, test: Place | None, one_number: bool, why: str, findings: Findings
                     ) -> NamedFiles:
    """Read the labels off the paths of all images but those of the test place. one_number: whether the sample asks for
    a number in one column; why: what is wrong with a table that should tell them. Raises RecognitionError."""
    away = [test.folder, *second_copies(listing, test, findings)] if test and test.folder else []
    paths = [path for path in listing.images if not path.startswith(tuple(away))]
    bare = f"folder {listing.empty[0]} is empty" if listing.empty else ""
    wrong = "".join(f"; {each}" for each in (why, bare) if each)
    folders = Counter(path.rpartition("/")[0] for path in paths)
    roots = Counter(folder.rpartition("/")[0] for folder in folders)
    named = file_labels(paths)
    if not paths:
        raise RecognitionError(f"{listing.root}: no training images and no table with labels, got: "
                               f"{', '.join(listing.tables) or 'no table'}; needed: a CSV, JSON or BSON that tells of "
                               f"images, or a folder a class{wrong}{still_packed(listing)}")
    root, count = roots.most_common(1)[0]
    if count < 2 and named is None:
        raise RecognitionError(f"{listing.root}: {len(paths)} training images in {next(iter(folders))}, and neither a "
                               f"table nor folders nor file names say their labels{wrong or '; complete the download'}"
                               f", or write competition.yml by hand{still_packed(listing)}")
    if why:
        findings.doubt("train", "the labels are those of folders or file names", why)
    if count >= 2 or named is None:
        for folder in listing.empty:
            if folder.rpartition("/")[0] == root:
                findings.doubt("train", f"folder {folder} is no class", "it is empty; complete the "
                               "download, or leave it so")
        return class_folders(paths, root, one_number, away, findings)
    folder, separator, suffix, labels = named
    pattern = f"{folder}{{label}}{separator}{{number}}{suffix}"
    findings.recognise("train", "the label stands in the file's name", f"{pattern}: {shown_counts(labels)}")
    items = ItemsConfig(source=FilesSource(kind="files", pattern=pattern), id=f"{{label}}{separator}{{number}}",
                        image="{path}")
    return NamedFiles(items, labels)


def second_copies(listing: Listing, test: Place, findings: Findings) -> list[str]:
    """Other folders with the very images of the test place, as where an archive was unpacked twice."""
    found = []
    names = [path.removeprefix(test.folder) for path in listing.images if path.startswith(test.folder)][:SAME]
    for folder in dict.fromkeys(re.split(r"[{*]", image)[0] for image in test.others):
        both = [(listing.root / test.folder / name, listing.root / folder / name) for name in names]
        if both and folder and all(other.is_file() and one.read_bytes() == other.read_bytes() for one, other in both):
            found.append(folder)
            findings.guess("train", f"{folder} is left out", f"its images are those of {test.folder}, unpacked twice")
    return found


def file_labels(paths: list[str]) -> tuple[str, str, str, dict[str, int]] | None:
    """(folder, separator, suffix, label -> count) where all names are a label and a number: `train/cat.17.jpg`."""
    found: dict[tuple[str, str, str], Counter[str]] = defaultdict(Counter)
    for path in paths:
        folder, _, name = path.rpartition("/")
        stem, suffix = PurePosixPath(name).stem, PurePosixPath(name).suffix
        if match := NUMBERED.fullmatch(stem):
            found[(f"{folder}/" if folder else "", match[2], suffix)][match[1]] += 1
    for key, labels in found.items():
        if sum(labels.values()) > 0.9 * len(paths) and 2 <= len(labels) <= len(paths) / 4 and "" not in labels:
            return (*key, dict(labels))
    return None


def class_folders(paths: list[str], root: str, one_number: bool, away: list[str], findings: Findings
                  ) -> NamedFiles:
    """One folder a class, all below `root`; with the same file names in each, an item is shown once a class."""
    inside = [path for path in paths if PurePosixPath(path).parent.parent.as_posix() == (root or ".")]
    labels = Counter(PurePosixPath(path).parent.name for path in inside)
    suffixes = Counter(PurePosixPath(path).suffix for path in inside)
    names = Counter(path.rpartition("/")[2] for path in inside)
    same = sum(count > 1 for count in names.values()) > 0.5 * len(names)
    head = f"{root}/" if root else ""
    single = f"{{name}}{suffixes.most_common(1)[0][0]}" if len(suffixes) == 1 else "{name}"
    findings.recognise("train", "a folder a class", f"{head}{{label}}/{single}: {shown_counts(labels)}")
    tell_twins(labels, findings)
    beside = any(each.startswith(head) and each.removeprefix(head).count("/") == 1 for each in away)
    where: dict[str, str | list[str]] = {"label": sorted(labels)} if beside else {}
    items = ItemsConfig(source=FilesSource(kind="files", pattern=f"{head}{{label}}/{single}"), where=where,
                        id="{label}/{name}", image="{path}", group="{name}" if same else None)
    if same:
        findings.recognise("train", "a group is a file name", "the same names stand in all class folders, so images of "
                           "one name stay in one fold")
    return NamedFiles(items, dict(labels), two_classes(labels, findings) if one_number else {}, same)


def two_classes(labels: dict[str, int], findings: Findings) -> dict[str, str]:
    """Several folders, but one number asked: one of them is the plain class, all others are the other."""
    if len(labels) <= 2:
        return {}
    plain = [name for name in sorted(labels) if name.lower() in PLAIN]
    order = [*plain, *(name for name in sorted(labels) if name not in plain)]
    why = f"{len(labels)} folders, but one number asked, so one of them stands against all others"
    if plain:
        findings.guess("labels", f"'{order[0]}' is class 0, the other folders are class 1", why)
        zero = order[0]
    else:
        zero = findings.settle("labels", "which folder is class 0?", [(each, f"'{each}' is class 0") for each in order],
                               why)
    return {name: "0" if name == zero else "1" for name in sorted(labels)}


def shown_counts(labels: dict[str, int], most: int = 4) -> str:
    """"cat 60, dog 60"."""
    text = ", ".join(f"{name} {count}" for name, count in list(labels.items())[:most])
    return text + (f" and {len(labels) - most} more" if len(labels) > most else "")
