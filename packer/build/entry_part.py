"""What an entry hands to the kernel: expressions, and the imports that they need."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from types import FunctionType
from typing import Any

from foldpack.settings.strict_model import StrictModel
from packer.flatten.source import Import

WIDTH = 100  # of an expression that stays on one line


@dataclass(frozen=True)
class Part:
    """An expression, and what must be imported for it."""

    expression: str
    imports: tuple[Import, ...]


def object_part(value: object) -> Part:
    """The expression that makes an object again: of dataclasses and settings, functions of a module, and plain data."""
    names: dict[str, Import] = {}
    return Part(expression_of(value, names, 8), tuple(names.values()))


def expression_of(value: Any, names: dict[str, Import], indent: int) -> str:
    """See `object_part`. names: gets the imports. indent: of the line that it stands in; longer ones are broken."""
    if isinstance(value, FunctionType) or is_dataclass(value) or isinstance(value, StrictModel):
        kind = value if isinstance(value, FunctionType) else type(value)
        names[kind.__name__] = Import(kind.__module__, kind.__name__, "", 0, 1, "")
        if isinstance(value, FunctionType):
            return kind.__name__
        items = [f"{name}={expression_of(part, names, indent + 4)}" for name, part in given_fields(value)]
        opening, closing = f"{kind.__name__}(", ")"
    elif isinstance(value, dict):
        items = [f"{ascii(key)}: {expression_of(part, names, indent + 4)}" for key, part in value.items()]
        opening, closing = "{", "}"
    elif isinstance(value, list):
        items = [expression_of(part, names, indent + 4) for part in value]
        opening, closing = "[", "]"
    else:
        return ascii(value)
    flat = f"{opening}{', '.join(items)}{closing}"
    if indent + len(flat) <= WIDTH and "\n" not in flat:
        return flat
    inner = " " * (indent + 4)
    return "\n".join([opening, *(f"{inner}{item}," for item in items), f"{' ' * indent}{closing}"])


def given_fields(value: Any) -> Iterator[tuple[str, Any]]:
    """The fields that are not at their default."""
    if isinstance(value, StrictModel):
        for name, setting in type(value).model_fields.items():
            if setting.is_required() or getattr(value, name) != setting.get_default(call_default_factory=True):
                yield name, getattr(value, name)
        return
    for each in fields(value):
        made = each.default_factory() if callable(each.default_factory) else each.default
        if getattr(value, each.name) != made:
            yield each.name, getattr(value, each.name)
