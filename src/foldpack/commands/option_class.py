"""A command that takes its options as one object: the fields of a dataclass, each with its help, are its parameters."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, get_type_hints


def command_of(run: Callable[..., None]) -> Callable[..., None]:
    """`run` as typer wants it: each of its parameters that is a dataclass is replaced by the fields of that class.

    A field is written as a parameter is: `runs: Annotated[Path, typer.Option(help="...")] = Path("runs")`.
    """
    asked = inspect.signature(run, eval_str=True).parameters.values()
    objects: dict[str, Any] = {each.name: each.annotation for each in asked if is_dataclass(each.annotation)}
    parameters: list[inspect.Parameter] = []
    for each in asked:
        parameters += field_parameters(each.annotation) if each.name in objects else [each]

    @functools.wraps(run)
    def command(**given: Any) -> None:
        made = {name: kind(**{field.name: given.pop(field.name) for field in fields(kind)})
                for name, kind in objects.items()}
        run(**made, **given)

    keywords = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in parameters]
    command.__signature__ = inspect.Signature(keywords)  # type: ignore[attr-defined]
    command.__annotations__ = {each.name: each.annotation for each in keywords}
    return command


def field_parameters(kind: type) -> list[inspect.Parameter]:
    """The fields of a dataclass as parameters, with their annotations and defaults."""
    hints = get_type_hints(kind, include_extras=True)
    return [inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, annotation=hints[field.name],
                              default=inspect.Parameter.empty if field.default is MISSING else field.default)
            for field in fields(kind)]
