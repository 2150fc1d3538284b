"""Imports of other packages, merged and sorted as ruff's isort rules sort them, so that scripts pass `ruff check`."""

from __future__ import annotations

import re
from collections.abc import Iterable

from packer.flatten.source import Import
from packer.image.image import is_stdlib

WIDTH = 120


def render_imports(imports: Iterable[Import]) -> list[str]:
    """Lines of the import sections: the standard library, a blank line, all else. No `__future__`."""
    unique = sorted(set((each.module, each.name, each.alias) for each in imports))
    sections: list[str] = []
    for stdlib in (True, False):
        chosen = [each for each in unique if is_stdlib(each[0].partition(".")[0]) is stdlib]
        lines = import_section(chosen)
        if lines and sections:
            sections.append("")
        sections += lines
    return sections


def import_section(imports: list[tuple[str, str, str]]) -> list[str]:
    """`import` statements first, then `from` statements, each sorted by module."""
    whole = sorted((each for each in imports if not each[1]), key=lambda each: (natural(each[0]), natural(each[2])))
    lines = [f"import {module}" + (f" as {alias}" if alias else "") for module, _, alias in whole]
    members: dict[str, list[str]] = {}
    aliased: list[tuple[str, str, str]] = []
    for module, name, alias in imports:
        if name and not alias:
            members.setdefault(module, []).append(name)
        elif name:
            aliased.append((module, name, alias))
    froms = [(module, sorted(names, key=member_key), "") for module, names in members.items()]
    froms += [(module, [name], alias) for module, name, alias in aliased]
    froms.sort(key=lambda each: (natural(each[0]), member_key(each[1][0]), natural(each[2])))
    for module, names, alias in froms:
        lines += from_lines(module, names, alias)
    return lines


def from_lines(module: str, names: list[str], alias: str) -> list[str]:
    """A `from` import of some names: one line if it fits, else one line a name."""
    line = f"from {module} import {', '.join(names)}" + (f" as {alias}" if alias else "")
    if len(line) <= WIDTH:
        return [line]
    if alias:
        return [f"from {module} import (", f"    {names[0]} as {alias},", ")"]
    return [f"from {module} import (", *(f"    {name}," for name in names), ")"]


def member_key(name: str) -> tuple[int, object]:
    """CONSTANTS, then Classes, then functions; each in natural order."""
    cased = [character for character in name if character.isupper() or character.islower()]
    if len(name) > 1 and cased and all(character.isupper() for character in cased):
        return 0, natural(name)
    return (1 if name[:1].isupper() else 2), natural(name)


def natural(text: str) -> tuple[list[tuple[int, int]], str]:
    """Upper and lower case together, numbers by value, then by the exact text."""
    pieces = re.findall(r"[0-9]+|[^0-9]", text.lower())
    return [(ord("0"), int(piece)) if piece.isdigit() else (ord(piece), 0) for piece in pieces], text
