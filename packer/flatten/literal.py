"""A spec as Python source: a literal of ASCII characters that no name, path or note in it can break out of."""

from __future__ import annotations

import ast
import textwrap

from foldpack.settings.plain_data import plain_problems
from packer.errors import PackError

WIDTH = 120


def render_literal(value: object, lead: str) -> str:
    """`lead` and the value as source lines of at most 120 characters (deep nesting aside).

    value: plain data, as in a YAML file. lead: what stands before it on its first line, such as "SPEC: dict = ".
    Raises PackError naming the place of anything else.
    """
    for problem in plain_problems(value, "SPEC"):
        raise PackError(problem)
    text = "\n".join(literal_lines(value, lead, 0, ""))
    if repr(ast.literal_eval(text[len(lead) :])) != repr(value):
        raise PackError("the spec does not survive being written as Python source; please report this spec as a bug")
    return text


def literal_lines(value: object, lead: str, indent: int, tail: str) -> list[str]:
    """Black's shape: on one line where it fits, else an item a line with a trailing comma; numbers fill lines."""
    pad, inner = " " * indent, " " * (indent + 4)
    flat = f"{pad}{lead}{ascii(value)}{tail}"
    if len(flat) <= WIDTH or not value:
        return [flat]
    if isinstance(value, dict):
        items = [literal_lines(item, f"{ascii(key)}: ", indent + 4, ",") for key, item in value.items()]
        return [f"{pad}{lead}{{", *(line for lines in items for line in lines), f"{pad}}}{tail}"]
    if isinstance(value, list):
        if all(isinstance(item, (int, float)) or item is None for item in value):
            words = f"{ascii(value)[1:-1]},"
            lines = textwrap.wrap(words, WIDTH, initial_indent=inner, subsequent_indent=inner, break_on_hyphens=False)
        else:
            lines = [line for item in value for line in literal_lines(item, "", indent + 4, ",")]
        return [f"{pad}{lead}[", *lines, f"{pad}]{tail}"]
    if isinstance(value, str) and len(pieces := split_text(value, max(20, WIDTH - len(inner) - 2))) > 1:
        return [f"{pad}{lead}(", *(f"{inner}{piece}" for piece in pieces), f"{pad}){tail}"]
    return [flat]  # what cannot be cut, such as a text whose key alone is longer than the line


def split_text(text: str, width: int) -> list[str]:
    """Literals that Python joins to `text`, each at most `width` characters, cut after a space where there is one."""
    pieces: list[str] = []
    while text:
        size = len(text)
        while len(ascii(text[:size])) > width:
            size = min(size - 1, max(1, size * width // len(ascii(text[:size]))))
        if size < len(text) and (space := text.rfind(" ", 1, size)) > size // 2:
            size = space + 1
        pieces.append(ascii(text[:size]))
        text = text[size:]
    return pieces
