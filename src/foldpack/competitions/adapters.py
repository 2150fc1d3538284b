"""Competitions by name: those that foldpack brings, and a project's own, `competition.yml` or `FILE.py:NAME`."""

from __future__ import annotations

from pathlib import Path

from foldpack.competitions.answers.form import Form
from foldpack.competitions.declared import DeclaredCompetition
from foldpack.competitions.protocol import Competition
from foldpack.competitions.registry import COMPETITIONS
from foldpack.competitions.training_items import TrainableCompetition, make_competition
from foldpack.errors import DataError, FoldpackError, did_you_mean
from foldpack.metrics.of_competition import metric_name
from foldpack.settings.competition import parse_competition, read_competition
from foldpack.settings.project_code import is_project_code, load_code
from foldpack.settings.run import ConfigError

ATTRIBUTES = ("name", "slug", "task", "sample_csv", "id_column")
METHODS = ("train", "test", "made_up", "fill", "check")


def find_adapter(name: str) -> Competition:
    """Raises DataError with the nearest name for an unknown competition, and for an adapter that lacks something;
    ConfigError or YamlError for a `competition.yml` with a fault; ProjectCodeError for code that cannot be used."""
    return load_adapter(name) if is_project_code(name) else get_competition(name)


def get_competition(name: str, project: Path = Path()) -> TrainableCompetition:
    """One that a file tells of, or a literal of ours. project: the folder that a `competition.yml` is counted from.

    Raises DataError, ConfigError and YamlError as `find_adapter`.
    """
    if is_competition_file(name):
        config = read_competition(project / name)
    elif name in COMPETITIONS:
        config = parse_competition(COMPETITIONS[name], f"competition '{name}'")
    else:
        known = did_you_mean(name, list(COMPETITIONS))
        raise DataError(f"unknown competition '{name}': {known}; or name a competition.yml or an adapter of your own, "
                        "FILE.py:NAME")
    try:
        metric_name(config.metric)
    except FoldpackError as failure:
        raise ConfigError(f"{name}: {failure}") from None
    return make_competition(config)


def answer_form(competition: Competition) -> Form | None:
    """How a competition wants to be answered, where a file tells of it; None: only its own code knows."""
    return competition.form if isinstance(competition, DeclaredCompetition) else None


def is_competition_file(name: str) -> bool:
    """Whether a setting names a `competition.yml`, as seen from the folder that a command runs in."""
    return name.endswith((".yml", ".yaml"))


def load_adapter(place: str) -> Competition:
    """An adapter of a project's own: a class that is made without arguments, or an object. place: `FILE.py:NAME`."""
    found = load_code(place, "competition")
    if isinstance(found, type):
        try:
            found = found()
        except TypeError as failure:
            raise DataError(f"competition {place}: the class cannot be made without arguments ({failure}); give each a "
                            "default, or name an object") from None
    lacking = [f"{method}()" for method in METHODS if not callable(getattr(found, method, None))]
    lacking += [attribute for attribute in ATTRIBUTES if not isinstance(getattr(found, attribute, None), str)]
    if lacking:
        raise DataError(f"competition {place}: it lacks {', '.join(lacking)}; a competition has the methods "
                        f"{', '.join(METHODS)} and the texts {', '.join(ATTRIBUTES)}")
    return found
