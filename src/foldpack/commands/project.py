"""Two places: the tool's own sources, wherever it was called from, and the project, the folder that we stand in."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from foldpack.errors import FoldpackError
from foldpack.settings.project import PROJECT_FILE, ProjectConfig, read_project

DataOption = Annotated[
    Path | None, typer.Option("--data", help="the competition's folder, as downloaded; default: that of foldpack.yml")]
CompetitionOption = Annotated[
    str | None,
    typer.Option("--competition", help="competition.yml, a name, or FILE.py:NAME; default: that of foldpack.yml")]


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


@dataclass(frozen=True)
class Chosen:
    """A recipe to run, with whole paths."""

    recipe: str
    data: Path
    work: Path
    keyring: Path | None


def named_data(given: Path | None) -> Path | None:
    """The competition's folder: as given, else as `foldpack.yml` of the current folder says; None: nothing says it."""
    file = Path(PROJECT_FILE)
    told = read_project(file).data if given is None and file.is_file() else None
    return given if told is None else Path(told)


def told_data(given: Path | None) -> Path:
    """The same, needed. Raises ProjectError where nothing says it."""
    data, file = named_data(given), Path(PROJECT_FILE)
    if data is None:
        why = "it names no data" if file.is_file() else "there is no such file here"
        raise ProjectError(f"{file}: {why}; give --data DIR, the competition's folder")
    return data


def told_competition(given: str | None) -> str:
    """The adapter: as given, else as `foldpack.yml` of the current folder says. Raises ProjectError."""
    if given is not None:
        return given
    file, usual = Path(PROJECT_FILE), ProjectConfig().competition
    if file.is_file() or Path(usual).is_file():
        return read_project(file).competition if file.is_file() else usual
    raise ProjectError(f"{file}: there is no such file here, and no {usual}; enter the folder of your project, make "
                       "one with `foldpack init PROJECT --data DIR`, or give --competition: competition.yml, a name, "
                       "or FILE.py:NAME")


def choose_recipe(project: str, data: Path | None, work: Path, keyring: Path | None) -> Chosen:
    """What `foldpack recipe PROJECT` means: a folder with `foldpack.yml`, which becomes the current folder, or the name
    of a recipe of the current one. work: `.` is the project's folder.

    Raises ProjectError where no recipe or no data are named.
    """
    file = Path(project) / PROJECT_FILE
    here = Path() / PROJECT_FILE
    told = read_project(file) if file.is_file() else read_project(here) if here.is_file() else None
    folder = file.parent.resolve() if file.is_file() else Path.cwd()
    recipe = project if not file.is_file() else told.recipe if told else None
    if told is None and (Path(project).is_dir() or not any(Path("configs").glob("*/recipe.yml"))) and \
            not (Path("configs") / project / "recipe.yml").is_file():
        raise ProjectError(f"{file}: there is no such file, so '{project}' is no "
                           "project; name or enter the folder of yours, or make one: `foldpack init PROJECT --data "
                           "DIR`")
    if recipe is None:
        raise ProjectError(f"{file}: it names no recipe, as of boxes and masks, for which networks come later; write "
                           "`recipe: NAME`, a folder of configs/, once there is one")
    if data is None and (told is None or told.data is None):
        raise ProjectError(f"{here}: there is no such file that names the data; give --data DIR" if told is None else
                           f"{file if file.is_file() else here}: it names no data; write `data: DIR`, or give "
                           "--data DIR")
    found = data.resolve() if data is not None else folder / told.data  # type: ignore[union-attr, operator]
    wanted = folder if work == Path(".") else work.resolve()
    chosen = Chosen(recipe, found, wanted, None if keyring is None else keyring.resolve())
    os.chdir(folder)  # FILE.py and competition.yml are seen from the project, here and in what is started from here
    return chosen
