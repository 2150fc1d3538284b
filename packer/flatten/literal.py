"""A spec as Python source: a literal of ASCII characters that no name, path or note in it can break out of."""

from __future__ import annotations

import ast
import math

from packer.errors import PackError

WIDTH = 120
MAX_DEPTH = 32


def render_literal(value: object, lead: str) -> str:
    """`lead` and the value as source lines of at most 120 characters (deep nesting aside).

    value: dict with text keys, list, text, int, finite float, bool or None. lead: what stands before it on its first
    line, such as "SPEC: dict[str, Any] = ". Raises PackError naming the place of anything else.
    """
    text = "\n".join(literal_lines(value, lead, 0, "", "SPEC"))
    found = ast.literal_eval(text[len(lead) :])
    if repr(found) != repr(value):
        raise PackError("the spec does not survive being written as Python source; please report this spec as a bug")
    return text


def literal_lines(value: object, lead: str, indent: int, tail: str, place: str) -> list[str]:
    """Black's shape: on one line where it fits, else an item a line with a trailing comma."""
    if indent > 4 * MAX_DEPTH:
        raise PackError(f"{place}: nested deeper than {MAX_DEPTH} levels; make the spec flatter")
    pad = " " * indent
    flat = f"{pad}{lead}{flat_literal(value, place)}{tail}"
    if len(flat) <= WIDTH:
        return [flat]
    inner = indent + 4
    if isinstance(value, dict) and value:
        lines = [f"{pad}{lead}{{"]
        for key, item in value.items():
            lines += literal_lines(item, f"{quote(key)}: ", inner, ",", f"{place}.{key}")
        return [*lines, f"{pad}}}{tail}"]
    if isinstance(value, list) and value:
        items = enumerate(value)
        if all(isinstance(item, (int, float)) or item is None for item in value):
            return [f"{pad}{lead}[", *filled(value, inner), f"{pad}]{tail}"]
        lines = [line for number, item in items for line in literal_lines(item, "", inner, ",", f"{place}[{number}]")]
        return [f"{pad}{lead}[", *lines, f"{pad}]{tail}"]
    if isinstance(value, str):
        pieces = split_text(value, max(20, WIDTH - inner - 2))
        if len(pieces) < 2:
            return [flat]  # the key alone is longer than the line
        return [f"{pad}{lead}(", *(" " * inner + piece for piece in pieces), f"{pad}){tail}"]
    return [flat]


def filled(items: list[object], indent: int) -> list[str]:
    """Numbers, as many on a line as fit."""
    lines, line = [], ""
    for item in items:
        word = f"{item!r},"
        if line and indent + len(line) + 1 + len(word) > WIDTH:
            lines.append(" " * indent + line)
            line = ""
        line += f" {word}" if line else word
    return [*lines, " " * indent + line]


def flat_literal(value: object, place: str) -> str:
    """The value on one line."""
    if isinstance(value, dict):
        for key in value:
            if type(key) is not str:
                raise PackError(f"{place}: key {key!r} is a {type(key).__name__}; the keys of a spec are text")
        items = (f"{quote(key)}: {flat_literal(item, f'{place}.{key}')}" for key, item in value.items())
        return "{" + ", ".join(items) + "}"
    if type(value) is list:
        return "[" + ", ".join(flat_literal(item, f"{place}[{number}]") for number, item in enumerate(value)) + "]"
    if type(value) is str:
        return quote(value)
    if value is None or type(value) in (bool, int):
        return repr(value)
    if type(value) is float:
        if not math.isfinite(value):
            raise PackError(f"{place}: {value} is not a finite number; a spec holds finite numbers only")
        return repr(value)
    raise PackError(f"{place}: a {type(value).__name__}; a spec holds dicts, lists, text, numbers, booleans and None")


def quote(text: str) -> str:
    """A string literal in double quotes, ASCII only."""
    return '"' + text.encode("unicode_escape").decode("ascii").replace('"', '\\"') + '"'


def split_text(text: str, width: int) -> list[str]:
    """Literals that Python joins to `text`, each at most `width` characters, cut after a space where there is one."""
    pieces: list[str] = []
    while text:
        size = len(text)
        while len(quote(text[:size])) > width:
            size = min(size - 1, max(1, size * width // len(quote(text[:size]))))
        if size < len(text) and (space := text.rfind(" ", 1, size)) > size // 2:
            size = space + 1
        pieces.append(quote(text[:size]))
        text = text[size:]
    return pieces
