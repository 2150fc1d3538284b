"""The values that trials try: ranges over the keys of a run's configuration, checked before the first trial."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from foldpack.errors import did_you_mean
from foldpack.settings.run import ConfigError, RunConfig, parse_config, read_text
from foldpack.settings.strict_model import StrictModel, models_inside, parse_strict
from foldpack.settings.strict_yaml import load_strict
from foldpack.settings.training.tuning import DimensionConfig

if TYPE_CHECKING:
    import optuna

Plain = dict[str, Any]
MISSING = object()  # a key, or what optuna calls a value, that is not there; null may be a value
# Two trials that differ in these have scores that cannot be compared, or are no trial of this run.
FIXED = ("run", "competition", "task", "metric", "folds")


@dataclass(frozen=True)
class Dimension:
    """One key and its values."""

    key: str  # dotted, of a run's configuration
    config: DimensionConfig
    whole: bool  # of a range: whole numbers only

    def suggest(self, trial: optuna.Trial) -> Any:
        """A value for a trial."""
        config = self.config
        if config.choice is not None:
            return self.labels()[trial.suggest_categorical(self.key, list(self.labels()))]
        low, high = config.range or config.log or (0, 0)
        if self.whole:
            return trial.suggest_int(self.key, int(low), int(high), step=int(config.step or 1), log=bool(config.log))
        return trial.suggest_float(self.key, low, high, step=config.step, log=bool(config.log))

    def labels(self) -> dict[Any, Any]:
        """What optuna calls each choice: a list or a block by its JSON."""
        return {json.dumps(one, sort_keys=True) if isinstance(one, list | dict) else one: one
                for one in self.config.choice or []}

    def label(self, value: object) -> Any:
        """What optuna calls a value of the key; MISSING where it is none of this dimension's."""
        if self.config.choice is not None:
            return next((label for label, one in self.labels().items() if (type(one), one) == (type(value), value)),
                        MISSING)
        low, high = self.config.range or self.config.log or (0, 0)
        fits = isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high
        if not fits or (self.whole and value != int(value)):  # type: ignore[call-overload]
            return MISSING
        steps = (value - low) / self.config.step if self.config.step else 0.0  # type: ignore[operator]
        return value if abs(steps - round(steps)) < 1e-9 else MISSING

    def examples(self) -> list[Any]:
        """Its bounds, or all of its choices."""
        return list(self.config.choice or self.config.range or self.config.log or [])


def read_space(path: Path, base: Plain, source: Path) -> list[Dimension]:
    """Read a file of ranges. base: the configuration, as plain data; source: its file.

    Raises ConfigError, YamlError for a key that a run does not have, with the nearest one, and for values that it
    cannot have.
    """
    data = load_strict(read_text(path), str(path))
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: expected a mapping of keys to ranges, such as optim.lr: {{log: [1e-4, 1e-2]}}")
    space = [read_dimension(path, key, value, base, source) for key, value in data.items()]
    for dimension in space:
        for value in dimension.examples():
            require_value(path, dimension.key, value, base, source)
    return space


def read_dimension(path: Path, key: str, value: object, base: Plain, source: Path) -> Dimension:
    """One line of the file. Raises ConfigError."""
    if key.partition(".")[0] in FIXED:
        raise ConfigError(f"{path}: {key} cannot be tuned: scores of trials that differ in {', '.join(FIXED)} cannot "
                          "be compared; leave it out")
    kinds = kinds_of_key(path, key)
    config = parse_strict(DimensionConfig, value, f"{path}: {key}", ConfigError)
    numbers = [*(config.range or config.log or []), *([config.step] if config.step else [])]
    whole = all(isinstance(number, int) for number in numbers) and (float not in kinds or int in kinds)
    try:
        changed(base, {key: 0})
    except ValueError as failure:
        raise ConfigError(f"{path}: {key}: {failure} in {source}; write it out there") from None
    return Dimension(key, config, whole)


def kinds_of_key(path: Path, key: str) -> set[type]:
    """The simple types that a dotted key of a run may have; empty where anything goes.

    Raises ConfigError for one that does not exist.
    """
    model: type[StrictModel] | None = RunConfig
    parts, annotation = key.split("."), None
    for place, part in enumerate(parts):
        if model is None:
            if annotation is not None and is_open(annotation):
                return set()
            raise ConfigError(f"{path}: {key}: {'.'.join(parts[:place])} has no keys below it; leave '.{part}' out")
        if part.isdigit() and annotation is not None and has_kind(annotation, list):
            continue
        if part not in model.model_fields:
            names = [".".join([*parts[:place], name]) for name in sorted(model.model_fields)]
            raise ConfigError(f"{path}: unknown key '{key}': {did_you_mean('.'.join(parts[: place + 1]), names)}")
        field = model.model_fields[part]
        annotation, inside = field.annotation, models_inside(field)
        model = inside[0] if inside else None
    return {kind for kind in (int, float) if annotation is not None and has_kind(annotation, kind)}


def is_open(annotation: Any) -> bool:
    """Whether a setting is a mapping or list of anything, such as `net.kwargs`."""
    return has_kind(annotation, dict) or has_kind(annotation, list)


def has_kind(annotation: Any, kind: type) -> bool:
    """Whether a type stands in an annotation such as `float | None` or `dict[str, int]`, outside of what it holds."""
    if annotation is kind or getattr(annotation, "__origin__", None) is kind:
        return True
    return not isinstance(getattr(annotation, "__origin__", None), type) and any(
        has_kind(one, kind) for one in get_args(annotation))


def require_value(path: Path, key: str, value: object, base: Plain, source: Path) -> None:
    """Raises ConfigError for a value that the key cannot have, whatever the others are."""
    try:
        parse_config(changed(base, {key: value}), path)
    except ConfigError as failure:
        text = str(failure)
        if text.startswith(f"{path}: {key}: ") or f"; {key}: " in text:  # of others it depends
            raise ConfigError(f"{text}; the range reaches that far") from None


def changed(base: Plain, values: Plain) -> Plain:
    """A configuration with other values at dotted keys. Raises ValueError where a key lies below what is no block."""
    whole = copy.deepcopy(base)
    for key, value in values.items():
        *parents, last = key.split(".")
        block: Any = whole
        for place, part in enumerate(parents):
            inner = block[int(part)] if isinstance(block, list) else block.setdefault(part, {})
            if not isinstance(inner, dict | list):
                raise ValueError(f"{'.'.join(parents[: place + 1])} is {inner!r}, no block")
            block = inner
        block[int(last) if isinstance(block, list) else last] = value
    return whole


def own_values(space: Iterable[Dimension], config: RunConfig) -> Plain | None:
    """What optuna calls the configuration's own values; None where some lie outside of the space."""
    whole = config.model_dump(mode="json")
    found = {dimension.key: dimension.label(value_at(whole, dimension.key)) for dimension in space}
    return None if any(value is MISSING for value in found.values()) else found


def value_at(data: Any, key: str) -> Any:
    """The value at a dotted key; MISSING where it is not there."""
    for part in key.split("."):
        if isinstance(data, list) and part.isdigit() and int(part) < len(data):
            data = data[int(part)]
        elif isinstance(data, dict) and part in data:
            data = data[part]
        else:
            return MISSING
    return data


def told_values(values: Plain) -> Iterator[str]:
    """`lr 0.00123`, for tables."""
    for key, value in values.items():
        yield f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}"
