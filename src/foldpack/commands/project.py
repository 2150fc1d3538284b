"""Two places: the tool's own sources, wherever it was called from, and the project, the folder that we stand in."""

from __future__ import annotations

from pathlib import Path

from foldpack.errors import FoldpackError


class ProjectError(FoldpackError):
    """Something that only a clone of foldpack has, asked for elsewhere."""


def tool_source() -> Path:
    """The folder that holds the package `foldpack`: `src` of a clone, or where it is installed."""
    return Path(__file__).resolve().parents[2]


def tool_configs() -> Path:
    """The recipes that a clone brings. Raises ProjectError where foldpack is installed without them."""
    return clone_folder("configs")


def kernels_folder() -> Path:
    """The entries of a clone, for those who work on foldpack itself. Raises ProjectError where it is installed."""
    return clone_folder("kernels")


def clone_folder(name: str) -> Path:
    """A folder beside the sources. Raises ProjectError where there is none."""
    folder = tool_source().parent / name
    if not folder.is_dir():
        raise ProjectError(f"{folder}: there is no such folder: this command needs a clone of foldpack, and here it is "
                           f"installed in {tool_source()}")
    return folder
