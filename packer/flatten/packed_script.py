"""What a packed script holds: line table, spec, keys; read from its syntax tree, so that no text in it is mistaken."""

from __future__ import annotations

import ast
from typing import Any

from packer.errors import PackError

LINES_NAME = "PACKED_LINES"

Run = tuple[int, int, int]  # line in the script, line in the source, number of lines


def find_assignment(script: str, name: str) -> ast.AnnAssign | None:
    """The statement that gives an annotated top-level name its value. Raises PackError for what is no Python."""
    try:
        tree = ast.parse(script)
    except (SyntaxError, ValueError) as error:
        raise PackError(f"not a packed script: {error}") from None
    for node in tree.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == name:
            return node
    return None


def assigned_value(script: str, name: str) -> Any:
    """The literal that a script assigns to a name; None where it has no such name."""
    node = find_assignment(script, name)
    return None if node is None or node.value is None else ast.literal_eval(node.value)


def read_line_table(script: str) -> dict[str, list[Run]]:
    """The line table of a packed script: source path -> runs. Raises PackError for a text that has none."""
    table: dict[str, list[Run]] | None = assigned_value(script, LINES_NAME)
    if table is None:
        raise PackError(f"not a packed script: it has no {LINES_NAME}; give the .py file that the packer wrote")
    return table


def read_embedded_spec(script: str) -> dict[str, object] | None:
    """The spec inside a packed script, None when it was packed without one."""
    spec: dict[str, object] | None = assigned_value(script, "SPEC")
    return spec
