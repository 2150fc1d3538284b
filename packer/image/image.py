"""What the Kaggle image holds: distributions with their versions, and which import belongs to which distribution."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

LIST_FILE = Path(__file__).with_name("kaggle_image.txt")
IMPORTS_FILE = Path(__file__).with_name("kaggle_imports.txt")


@dataclass(frozen=True)
class Image:
    """The image's packages. Names are normalised: lower case, every run of `-_.` is one `-`."""

    date: str
    versions: dict[str, str]  # distribution -> version, "" where the image does not pin one
    imports: dict[str, str]  # import name -> distribution, where they differ

    def distribution(self, root: str) -> str | None:
        """The distribution that provides `import root`, None when the image has none."""
        name = self.imports.get(root, normal_name(root))
        return name if name in self.versions else None


def normal_name(name: str) -> str:
    """The one spelling of a distribution's name (as in the Python packaging specifications)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def is_stdlib(root: str) -> bool:
    """Whether an import name belongs to the standard library."""
    return root in sys.stdlib_module_names


@cache
def kaggle_image() -> Image:
    """The list that comes with the packer (kaggle_image.txt, kaggle_imports.txt)."""
    versions: dict[str, str] = {}
    date = ""
    for line in LIST_FILE.read_text(encoding="utf-8").splitlines():
        if line.startswith("# date: "):
            date = line.removeprefix("# date: ").strip()
        elif line and not line.startswith("#"):
            name, _, version = line.partition("==")
            versions[normal_name(name)] = version
    imports = dict(
        line.split() for line in IMPORTS_FILE.read_text(encoding="utf-8").splitlines() if line and line[0] != "#"
    )
    return Image(date, versions, imports)
