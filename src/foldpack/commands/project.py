"""Two places: the tool's own sources, wherever it was called from, and the project, the folder that we stand in."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from foldpack.errors import FoldpackError
from foldpack.settings.project import PROJECT_FILE, ProjectConfig, read_project

DataOption = Annotated[Path | None, typer.Option(
    "--data", help="the competition's folder, as downloaded; default: that of foldpack.yml")]
CompetitionOption = Annotated[str | None, typer.Option(
    "--competition", help="the adapter: competition.yml, a name, or FILE.py:NAME; default: that of foldpack.yml")]


class ProjectError(FoldpackError):
    """Something that only a clone of foldpack has, asked for elsewhere; or that the project does not say."""


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


def told_here() -> ProjectConfig | None:
    """The `foldpack.yml` of the folder that we stand in; None without one."""
    here = Path(PROJECT_FILE)
    return read_project(here) if here.is_file() else None


def project_data(data: Path | None) -> Path:
    """The competition's folder: as given, else the project's. Raises ProjectError where nothing says it."""
    return named_data(data, told_here(), Path(PROJECT_FILE))


def named_data(data: Path | None, told: ProjectConfig | None, file: Path) -> Path:
    """The same of the project whose `foldpack.yml` is `file`, and says `told`."""
    if data is not None:
        return data
    if told is None or told.data is None:
        what = "it names no data" if told else "there is no such file here that names the data"
        raise ProjectError(f"{file}: {what}; give --data DIR, or write `data: DIR` into a project's {PROJECT_FILE}")
    return file.parent / told.data


def project_competition(name: str | None) -> str:
    """The adapter: as given, else the project's, which is `competition.yml` unless it says otherwise."""
    told = told_here()
    return name or (told or ProjectConfig()).competition


@dataclass(frozen=True)
class Chosen:
    """A recipe to run, with whole paths."""

    recipe: str
    data: Path
    work: Path
    keyring: Path | None


def choose_recipe(project: str, data: Path | None, work: Path, keyring: Path | None) -> Chosen:
    """What `foldpack recipe PROJECT` means: a folder with `foldpack.yml`, which becomes the current folder, or the name
    of a recipe of the current one. work: `.` is the project's folder.

    Raises ProjectError where no recipe or no data are named.
    """
    inside = (Path(project) / PROJECT_FILE).is_file()
    file = Path(project, PROJECT_FILE) if inside else Path(PROJECT_FILE)
    told = read_project(file) if inside else told_here()
    recipe = told.recipe if inside and told else project
    if recipe is None:
        raise ProjectError(f"{file}: it names no recipe, as of boxes and masks, for which networks come later; write "
                           "`recipe: NAME`, a folder of configs/, once there is one")
    folder = file.parent.resolve()
    chosen = Chosen(recipe, named_data(data, told, file).resolve(), folder if work == Path(".") else work.resolve(),
                    None if keyring is None else keyring.resolve())
    os.chdir(folder)  # FILE.py and competition.yml are seen from the project, here and in what is started from here
    return chosen
