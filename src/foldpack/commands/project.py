"""Where the checkout lies: `kernels/`, `configs/` and `src/` are read as files, not as packages."""

from __future__ import annotations

from pathlib import Path

from foldpack.errors import FoldpackError


class ProjectError(FoldpackError):
    """The checkout is not to be found."""


def project_root() -> Path:
    """The folder with `kernels/` and `configs/`: the one we stand in, one above it, or that of the installed source."""
    here = Path.cwd()
    for folder in (here, *here.parents, Path(__file__).resolve().parents[3]):
        if (folder / "kernels").is_dir() and (folder / "configs").is_dir():
            return folder
    raise ProjectError(f"{here}: no foldpack checkout here (a folder with kernels/ and configs/); go to your clone")
