"""Collect pure-Python distributions of the packing environment, to be carried inside a script."""

from __future__ import annotations

import base64
import importlib.metadata
import json
import lzma
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from packaging.requirements import InvalidRequirement, Requirement

from packer.bootstrap.packages import CARRIED_LINE
from packer.errors import PackError
from packer.image.image import Image, normal_name

COMPILED = (".so", ".pyd", ".dll", ".dylib", ".a", ".lib")
SKIPPED = (".pyc", ".pyo", ".pyi", "/RECORD", "/INSTALLER", "/WHEEL", "/REQUESTED", "/direct_url.json", "/py.typed")
LINE_WIDTH = 118
WHEEL_ADVICE = "put a wheel of it into a dataset and name that under `wheels:`"
KAGGLE_PYTHON = {"python_version": "3.12", "python_full_version": "3.12.13", "sys_platform": "linux",
                 "platform_system": "Linux", "os_name": "posix", "extra": ""}


@dataclass(frozen=True)
class Carried:
    """A distribution that goes into the script."""

    name: str
    version: str
    licence: str
    files: dict[str, bytes]  # path below site-packages -> content

    @property
    def roots(self) -> frozenset[str]:
        """Its top-level import names."""
        tops = (path.split("/")[0] for path in self.files if path.endswith(".py"))
        return frozenset(top.removesuffix(".py") for top in tops if not top.endswith(".dist-info"))

    def __str__(self) -> str:
        return f"{self.name} {self.version} ({self.licence})"


def collect_carried(names: Iterable[str], image: Image) -> list[Carried]:
    """The named distributions, sorted by name.

    Raises PackError for one that is not installed, is compiled, is installed in place, or needs a package that neither
    the image nor another one of them provides.
    """
    found = [collect_one(name) for name in sorted({normal_name(name) for name in names})]
    carried = {each.name: each for each in found}
    for each in carried.values():
        for needed in requirements(each):
            if needed not in image.versions and needed not in carried:
                raise PackError(f"vendor: {each.name} needs {needed}, which the Kaggle image lacks; vendor it too")
    return found


def collect_one(name: str) -> Carried:
    """The files of one distribution."""
    try:
        found = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        raise PackError(f"vendor: {name!r} is not installed here; run `pip install {name}`, then pack again") from None
    files: dict[str, bytes] = {}
    for path in found.files or []:
        text = path.as_posix()
        if ".." in path.parts or text.endswith(SKIPPED) or "__pycache__" in path.parts:
            continue
        if text.endswith(COMPILED) or re.search(r"\.so\.[0-9.]+$", text):
            raise PackError(f"vendor: {name} has compiled code ({text}), which a script cannot carry; {WHEEL_ADVICE}")
        if text.endswith(".pth") or text.startswith("__editable__"):
            raise PackError(f"vendor: {name} is installed in place ({text}); install it with a plain `pip install`")
        located = found.locate_file(path)
        files[text] = located.read_bytes()  # type: ignore[attr-defined]
    if not any(path.endswith(".py") for path in files):
        raise PackError(f"vendor: the installed {name} lists no Python files; {WHEEL_ADVICE}")
    return Carried(normal_name(name), found.version, licence_of(found), dict(sorted(files.items())))


def licence_of(found: importlib.metadata.Distribution) -> str:
    """The licence in one line, from whichever field the package uses."""
    fields = found.metadata
    for label in ("License-Expression", "License"):
        stated = (fields.get_all(label) or [""])[0].strip().split("\n")[0]
        if stated and len(stated) < 60:
            return stated
    classes = [line.split(" :: ")[-1] for line in fields.get_all("Classifier") or [] if line.startswith("License ::")]
    return ", ".join(classes) or "licence not stated"


def requirements(each: Carried) -> Iterator[str]:
    """Names of the distributions that it needs on Kaggle's Python."""
    metadata = next((text for path, text in each.files.items() if path.endswith(".dist-info/METADATA")), b"")
    for line in metadata.decode("utf-8", "replace").split("\n\n")[0].split("\n"):
        if line.startswith("Requires-Dist:"):
            try:
                needed = Requirement(line.partition(":")[2].strip())
            except InvalidRequirement:
                continue
            if needed.marker is None or needed.marker.evaluate(KAGGLE_PYTHON):
                yield normal_name(needed.name)


def archive_lines(carried: Iterable[Carried]) -> list[str]:
    """The archive as comment lines for the end of a script; none when nothing is carried."""
    files = {path: content.decode("latin-1") for each in carried for path, content in each.files.items()}
    if not files:
        return []
    raw = json.dumps(files, sort_keys=True, separators=(",", ":")).encode("ascii")
    packed = lzma.compress(raw, format=lzma.FORMAT_XZ, preset=9 | lzma.PRESET_EXTREME)
    text = base64.b85encode(packed).decode("ascii")
    return [CARRIED_LINE + text[at : at + LINE_WIDTH] for at in range(0, len(text), LINE_WIDTH)]
