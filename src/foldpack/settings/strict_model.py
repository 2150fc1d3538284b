"""Frozen, strict settings: an unknown key, a wrong type or a value out of range is one clear line."""

from __future__ import annotations

import re
from difflib import get_close_matches
from pathlib import Path
from typing import TypeVar, get_args

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

NAME_WORDS = "letters, digits, '_', '.' and '-', at most 80, of which the first is a letter or a digit"


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
    where, at = _place(model, fault["loc"])
    numbers = fault.get("ctx", {})
    if fault["type"] == "extra_forbidden":
        return f"unknown key '{where}': {did_you_mean(str(fault['loc'][-1]), sorted(at.model_fields))}"
    if fault["type"] == "missing":
        field = at.model_fields.get(str(fault["loc"][-1]))
        meant = "" if field is None or field.description is None else f"; needed: {field.description}"
        return f"key '{where}' is missing{meant}"
    if fault["type"] == "union_tag_not_found":
        return f"key '{where}.kind' is missing"
    if fault["type"] == "union_tag_invalid":
        kinds = [kind.strip("' ") for kind in numbers["expected_tags"].split(",")]
        return f"{where}.kind: '{numbers['tag']}' is unknown: {did_you_mean(numbers['tag'], kinds)}"
    given = fault.get("input")
    if fault["type"] == "string_type" and isinstance(given, dict) and set(given.values()) == {None}:
        braces = "{" + ", ".join(map(str, given)) + "}"
        return f'{where}: without quotes YAML takes {braces} for a mapping; write "{braces}"'
    if fault["type"] == "string_pattern_mismatch" and numbers["pattern"].startswith("^[A-Za-z0-9][A-Za-z0-9_.-]{0,79}"):
        return f"{where}: '{str(given)[:60]}' is no name; allowed: {NAME_WORDS}"
    words = FAULT_WORDS.get(fault["type"], fault["msg"].replace("{", "{{").replace("}", "}}"))
    one = numbers.get("min_length", numbers.get("max_length")) == 1
    message = words.format(**numbers, s="" if one else "s")
    message = (f"{where}: " if where else "") + message[0].lower() + message[1:]
    if not where:  # of a whole model: its text says all, and the value is the whole of the settings
        return message
    got = repr(fault.get("input"))
    return f"{message}, got {got if len(got) <= 60 else got[:57] + '...'}{_nearest(fault)}"


def _nearest(fault: dict) -> str:
    """The value that was meant, of one out of a few; empty where none is near."""
    if fault["type"] != "literal_error":
        return ""
    allowed = re.findall(r"'([^']*)'", fault["ctx"]["expected"])
    close = get_close_matches(str(fault.get("input")).lower(), allowed, n=1)
    return f": did you mean {close[0]!r}?" if close else ""


def _place(model: type[StrictModel], location: tuple[str | int, ...]) -> tuple[str, type[StrictModel]]:
    """A fault's place as the user has written it, and the settings class there. pydantic also names a union's kind."""
    current, shown = model, []
    inside: list[type[StrictModel]] = []
    for part in location:
        kinds = {kind: one for one in inside for kind in _kinds_of(one)} if len(inside) > 1 else {}
        if part in kinds:
            current, inside = kinds[part], []
            continue
        shown.append(str(part))
        if isinstance(part, str) and part in current.model_fields:
            inside = models_inside(current.model_fields[part])
            current = inside[0] if inside else current
    return ".".join(shown), current


def _kinds_of(model: type[StrictModel]) -> tuple[str, ...]:
    """What the `kind` of one of several settings classes may be."""
    field = model.model_fields["kind"]
    return get_args(field.annotation) or (field.default,)


def models_inside(field: FieldInfo) -> list[type[StrictModel]]:
    """The settings classes in an annotation such as `list[MemberSpec]`, `BudgetSpec | None` or a union of kinds."""
    found, pending = [], [field.annotation]
    while pending:
        annotation = pending.pop(0)
        if isinstance(annotation, type) and issubclass(annotation, StrictModel):
            found.append(annotation)
        pending.extend(getattr(annotation, "__args__", ()))
    return found
