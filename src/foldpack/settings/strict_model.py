"""Frozen, strict settings: an unknown key, a wrong type or a value out of range is one clear line."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo

from foldpack.errors import FoldpackError, did_you_mean

# Our words for the faults that pydantic tells by a type and numbers, so that no newer pydantic changes what users read.
FAULT_WORDS = {
    "bool_type": "input should be a valid boolean",
    "dict_type": "input should be a valid dictionary",
    "finite_number": "input should be a finite number",
    "float_type": "input should be a valid number",
    "greater_than": "input should be greater than {gt:g}",
    "greater_than_equal": "input should be greater than or equal to {ge:g}",
    "int_type": "input should be a valid integer",
    "less_than": "input should be less than {lt:g}",
    "less_than_equal": "input should be less than or equal to {le:g}",
    "list_type": "input should be a valid list",
    "literal_error": "input should be {expected}",
    "model_type": "input should be a valid dictionary or instance of {class_name}",
    "string_pattern_mismatch": "string should match pattern '{pattern}'",
    "string_too_long": "string should have at most {max_length} character{s}",
    "string_too_short": "string should have at least {min_length} character{s}",
    "string_type": "input should be a valid string",
    "too_long": "list should have at most {max_length} item{s}, not {actual_length}",
    "too_short": "list should have at least {min_length} item{s}, not {actual_length}",
    "value_error": "{error}",
}


class StrictModel(BaseModel):
    """Base of every settings class: frozen, no unknown keys, no silent conversion of types, no NaN."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


ModelT = TypeVar("ModelT", bound=StrictModel)


def parse_strict(model: type[ModelT], data: object, source: Path | str, error: type[FoldpackError]) -> ModelT:
    """Validate plain data (dict of str, numbers, lists) against a settings class.

    Raises `error` with one line for every fault: `source: key: what is wrong`, and "did you mean" for unknown keys.
    """
    if not isinstance(data, dict):
        raise error(f"{source}: expected a mapping of keys to values, got {type(data).__name__}")
    try:
        return model.model_validate(data)
    except ValidationError as failure:
        faults = [_fault_line(model, data, dict(fault)) for fault in failure.errors()]
        raise error(f"{source}: " + "; ".join(faults)) from None


def _fault_line(model: type[StrictModel], data: dict, fault: dict) -> str:
    location = fault["loc"]
    where = ".".join(str(part) for part in location)
    if fault["type"] == "extra_forbidden":
        allowed = _keys_allowed_at(model, location[:-1])
        return f"unknown key '{where}': {did_you_mean(str(location[-1]), allowed)}"
    if fault["type"] == "missing":
        return f"key '{where}' is missing"
    words = FAULT_WORDS.get(fault["type"], fault["msg"].replace("{", "{{").replace("}", "}}"))
    numbers = fault.get("ctx", {})
    one = numbers.get("min_length", numbers.get("max_length")) == 1
    message = words.format(**numbers, s="" if one else "s")
    if not location:  # of a whole model: its text says all, and the value is the whole of the settings
        return f"{message[0].lower()}{message[1:]}"
    got = repr(fault.get("input"))
    return f"{where}: {message[0].lower()}{message[1:]}, got {got if len(got) <= 60 else got[:57] + '...'}"


def _keys_allowed_at(model: type[StrictModel], location: tuple[object, ...]) -> list[str]:
    """Field names of the settings class that `location` leads to, through lists and optional values."""
    current: type[StrictModel] = model
    for part in location:
        if isinstance(part, str) and part in current.model_fields:
            nested = _model_inside(current.model_fields[part])
            current = nested or current
    return sorted(current.model_fields)


def _model_inside(field: FieldInfo) -> type[StrictModel] | None:
    """The settings class in an annotation such as `list[MemberSpec]` or `BudgetSpec | None`."""
    pending: list[object] = [field.annotation]
    while pending:
        annotation = pending.pop()
        if isinstance(annotation, type) and issubclass(annotation, StrictModel):
            return annotation
        pending.extend(getattr(annotation, "__args__", ()))
    return None
