"""The metric of a `competition.yml`: its name in one word, as runs, recipes and `--metric` have it."""

from __future__ import annotations

from foldpack.errors import FoldpackError
from foldpack.metrics.objects import ObjectMetric, get_object_metric, is_of_objects
from foldpack.metrics.plugin import WAYS, find_metric, split_way
from foldpack.metrics.registry import FAMILIES, Metric, get_metric
from foldpack.settings.competition import MetricConfig
from foldpack.settings.project_code import is_project_code


def metric_name(config: MetricConfig) -> str:
    """`map` with k 7 -> "map:7"; `loss.py:mine` with greater false -> "loss.py:mine:lower"; other names as they are.

    `find_metric` and `get_object_metric` know it. Raises FoldpackError for a name that is not known, for a setting that
    it does not read, and for a `greater` that is not so.
    """
    given = {name: value for name in ("k", "beta", "weights") if (value := getattr(config, name)) is not None}
    if is_project_code(config.name):
        if given:
            raise FoldpackError(f"metric '{config.name}' does not read {', '.join(given)}; write them into the file")
        if config.greater is None:
            return config.name
        if split_way(config.name)[1] is not None:
            raise FoldpackError(f"metric '{config.name}' says itself which way is better; leave greater out")
        way = next(word for word, greater in WAYS.items() if greater == config.greater)
        return f"{config.name}{'' if ':' in config.name else ':'}:{way}"
    name = _with_numbers(config.name, given)
    if is_of_objects(name):
        get_object_metric(name)
        greater = True
    else:
        found = get_metric(name)
        name, greater = found.name, found.greater_is_better
    if config.greater not in (None, greater):
        raise FoldpackError(f"metric '{name}' is better where it is {'greater' if greater else 'lower'}, and greater "
                            f"says {str(config.greater).lower()}; leave it out")
    return name


def _with_numbers(name: str, given: dict) -> str:
    """The name with what was given behind a colon. Raises FoldpackError for what it does not read."""
    family = FAMILIES.get(name)
    for setting in given:
        if family is None or family.reads != setting:
            readers = [one for one, other in FAMILIES.items() if other.reads == setting]
            raise FoldpackError(f"metric '{name}' does not read {setting}; it is read by {', '.join(readers)}")
    if not given:
        return name
    value = next(iter(given.values()))
    return f"{name}:{','.join(f'{number:g}' for number in (value if isinstance(value, list) else [value]))}"


def competition_metric(config: MetricConfig) -> Metric | ObjectMetric:
    """What a competition is scored by. Raises FoldpackError."""
    name = metric_name(config)
    return get_object_metric(name) if is_of_objects(name) else find_metric(name)
