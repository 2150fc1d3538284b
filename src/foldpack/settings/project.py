"""`foldpack.yml`: what a project's commands use when nothing else is said."""

from __future__ import annotations

from pathlib import Path

from foldpack.settings.run import ConfigError, read_text
from foldpack.settings.stages import Name
from foldpack.settings.strict_model import StrictModel, parse_strict
from foldpack.settings.strict_yaml import load_strict

PROJECT_FILE = "foldpack.yml"


class ProjectConfig(StrictModel):
    """The file at the top of a project's folder; its paths are seen from there."""

    competition: str = "competition.yml"  # the file that says what the competition's files mean
    data: str | None = None  # the competition's folder, as downloaded
    recipe: Name | None = None  # a folder of configs/ that has a recipe.yml


def read_project(path: Path) -> ProjectConfig:
    """Read `foldpack.yml`. Raises ConfigError or YamlError."""
    return parse_strict(ProjectConfig, load_strict(read_text(path), str(path)), path, ConfigError)
