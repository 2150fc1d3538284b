"""YAML that means what it looks like: one document, no tricks, every surprise of YAML 1.1 refused or read as text.

Read: mappings with unique text keys, lists, text, whole numbers, finite floats, `true`, `false`, `null` (also `~`).
Only plain scalars become anything but text, and only these do: `12`, `-3`, `0.5`, `1e-3`, `true`, `false`, `null`.
So `NO`, `on`, `1:30`, `007`, `0x1F`, `1_000` and `2026-11-22` stay text.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

import yaml

from foldpack.errors import FoldpackError

YAML_MAX_BYTES = 4 * 1024 * 1024
YAML_MAX_DEPTH = 32
YAML_MAX_DIGITS = 100
YAML_WIDTH = 110
YAML_TOO_DEEP = f"nested deeper than {YAML_MAX_DEPTH} levels; make it flatter"

YAML_INT = re.compile(r"[-+]?(0|[1-9][0-9]*)")
YAML_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
YAML_NOT_FINITE = re.compile(r"[-+]?\.(inf|nan)", re.IGNORECASE)
YAML_FORBIDDEN = re.compile("[^\\t\\n\\r\\x20-\\x7e\\x85\\xa0-\\ud7ff\\ue000-\\ufffd\\U00010000-\\U0010ffff]")
YAML_PLAIN = re.compile(r"[A-Za-z0-9_./][A-Za-z0-9_./+@-]*( [A-Za-z0-9_./+@-]+)*")
YAML_BRACKETS = re.compile(r"""'[^']*'|"(?:\\.|[^"\\])*"|[\[\]{}]""")
YAML_WORDS: dict[str, bool | None] = {"true": True, "false": False, "null": None, "~": None, "": None}

# Read as something else by YAML 1.1; written in quotes so that every reader agrees.
YAML_OLD_WORDS = frozenset({"yes", "no", "on", "off", "y", "n", "true", "false", "null"})


class YamlError(FoldpackError):
    """A YAML file that is broken, or that could be misread. Text: `file:line: what was found and the mend`."""


def yaml_line(event: yaml.Event) -> int:
    """The line of an event, counted from 1."""
    return event.start_mark.line + 1 if event.start_mark else 1


class YamlTree:
    """Builds plain Python data from the events of the YAML parser, one event at a time and without recursion."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.open: list[dict[str, object] | list[object]] = []
        self.keys: list[str | None] = []
        self.lines: list[dict[str, int]] = []
        self.root: object = None
        self.documents = 0

    def fail(self, event: yaml.Event, problem: str) -> YamlError:
        """The error for something at this event, with its place."""
        return YamlError(f"{self.source}:{yaml_line(event)}: {problem}")

    def take(self, event: yaml.Event) -> None:
        """Add one event; raises YamlError at the first thing that is not allowed."""
        if isinstance(event, yaml.DocumentStartEvent):
            self.documents += 1
            if self.documents > 1:
                raise self.fail(event, "a second document starts here; one file holds one document: remove '---'")
        elif isinstance(event, yaml.AliasEvent):
            raise self.fail(event, f"alias *{event.anchor} is not allowed; write the value out")
        elif isinstance(event, (yaml.ScalarEvent, yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            self.refuse_extras(event)
            if isinstance(event, yaml.ScalarEvent):
                self.add_scalar(event)
            else:
                self.add_container(event)
        elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            self.open.pop()
            self.keys.pop()
            self.lines.pop()

    def refuse_extras(self, event: yaml.NodeEvent) -> None:
        """Anchors and tags. Raises YamlError."""
        if event.anchor is not None:
            raise self.fail(event, f"anchor &{event.anchor} is not allowed; write the value out where it is used")
        tag = getattr(event, "tag", None)
        if tag is not None:
            raise self.fail(event, f"tag {tag} is not allowed; write the value without it")

    def at_key(self) -> bool:
        """Whether the next scalar is a key."""
        return bool(self.open) and isinstance(self.open[-1], dict) and self.keys[-1] is None

    def add_scalar(self, event: yaml.ScalarEvent) -> None:
        """A key, or a value."""
        value = event.value if event.style else self.plain_value(event)
        if self.at_key():
            self.add_key(event, value)
        else:
            self.add_value(value)

    def plain_value(self, event: yaml.ScalarEvent) -> object:
        """What a scalar without quotes means."""
        text = event.value
        if text in YAML_WORDS:
            return YAML_WORDS[text]
        if YAML_NOT_FINITE.fullmatch(text):
            raise self.fail(event, f"{text} is not a finite number; write a finite one, or text in quotes")
        if not YAML_FLOAT.fullmatch(text):
            return text
        if len(text) > YAML_MAX_DIGITS:
            raise self.fail(event, f"a number of {len(text)} characters; at most {YAML_MAX_DIGITS}, or text in quotes")
        if YAML_INT.fullmatch(text):
            return int(text)
        if text.lstrip("+-").isdigit():
            return text  # leading zeros: an identifier such as 007
        value = float(text)
        if not math.isfinite(value):
            raise self.fail(event, f"{text} is too large for a float; write a finite number, or text in quotes")
        return value

    def add_key(self, event: yaml.ScalarEvent, key: object) -> None:
        """A key of the innermost mapping. Raises YamlError for one that is no text or is there already."""
        mapping, seen = self.open[-1], self.lines[-1]
        if not isinstance(key, str):
            shown = event.value or "(nothing)"
            raise self.fail(event, f"key {shown} is not text; put it in quotes, or use another name")
        if key == "<<" and not event.style:
            raise self.fail(event, "the merge key << is not allowed; write the keys out")
        if isinstance(mapping, dict) and key in mapping:
            raise self.fail(event, f"key {key!r} is already set in line {seen[key]}; keep one of the two")
        seen[key] = yaml_line(event)
        self.keys[-1] = key

    def add_value(self, value: object) -> None:
        """A value where one is due: in a list, under a key, or as the whole document."""
        if not self.open:
            self.root = value
        elif isinstance(parent := self.open[-1], list):
            parent.append(value)
        else:
            parent[self.keys[-1] or ""] = value
            self.keys[-1] = None

    def add_container(self, event: yaml.CollectionStartEvent) -> None:
        """Open a list or a mapping. Raises YamlError for one that is a key or lies too deep."""
        if self.at_key():
            raise self.fail(event, "a list or mapping cannot be a key; use text")
        if len(self.open) >= YAML_MAX_DEPTH:
            raise self.fail(event, YAML_TOO_DEEP)
        container: dict[str, object] | list[object] = {} if isinstance(event, yaml.MappingStartEvent) else []
        self.add_value(container)
        self.open.append(container)
        self.keys.append(None)
        self.lines.append({})


def load_strict(text: str, source: str) -> object:
    """The one document in `text` as dicts, lists, text, ints, floats, bools and None.

    source: the file's name, for messages. Raises YamlError with `source:line` for broken YAML, duplicate or non-text
    keys, aliases, anchors, tags, merge keys, NaN and infinity, several or no documents, more than 32 levels or 4 MiB.
    """
    try:
        size = len(text.encode("utf-8"))
    except UnicodeEncodeError as error:
        line = text.count("\n", 0, error.start) + 1
        raise YamlError(f"{source}:{line}: half a surrogate pair; save the file as UTF-8") from None
    if size > YAML_MAX_BYTES:
        raise YamlError(f"{source}:1: {size} bytes; at most {YAML_MAX_BYTES}")
    if forbidden := YAML_FORBIDDEN.search(text):
        line, code = text.count("\n", 0, forbidden.start()) + 1, ord(forbidden[0])
        raise YamlError(f"{source}:{line}: broken YAML: a character that YAML does not allow (U+{code:04X})")
    tree = YamlTree(source)
    try:
        for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
            tree.take(event)
    except yaml.MarkedYAMLError as error:
        if line := yaml_too_deep_line(text):  # a parser may have a limit of its own, and give up before ours is met
            raise YamlError(f"{source}:{line}: {YAML_TOO_DEEP}") from None
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise YamlError(f"{source}:{line}: broken YAML: {error.problem or error.context}") from None
    except yaml.YAMLError:
        raise YamlError(f"{source}:1: broken YAML: it cannot be read") from None
    if tree.documents == 0 or tree.root is None:
        raise YamlError(f"{source}:1: the file is empty; write its content")
    return tree.root


def yaml_too_deep_line(text: str) -> int:
    """The line of the first bracket that lies deeper than allowed, counted from 1; 0 where there is none."""
    depth = 0
    for found in YAML_BRACKETS.finditer(text):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(found[0], 0)
        if depth > YAML_MAX_DEPTH:
            return text.count("\n", 0, found.start()) + 1
    return 0


def dump_strict(data: object) -> str:
    """YAML text of `data`, which `load_strict` reads back as equal; the same data give the same text.

    data: dicts with text keys (kept in their order), lists, text, ints, finite floats, bools, None. What fits a line
    of 110 characters and holds only scalars, or is empty, is written inline. Raises YamlError for anything else.
    """
    if data is None:
        raise YamlError("the top of a YAML file cannot be null; write a mapping or a list")
    if not isinstance(data, (dict, list)) or not data:
        return yaml_inline(data, "top") + "\n"
    return "\n".join(yaml_lines(data, 0, "top")) + "\n"


def yaml_lines(data: dict[str, object] | list[object], indent: int, place: str) -> Iterator[str]:
    """The block lines of a container that is not empty."""
    if indent >= 2 * YAML_MAX_DEPTH:
        raise YamlError(f"{place}: {YAML_TOO_DEEP}")
    pad = " " * indent
    for key, value in data.items() if isinstance(data, dict) else enumerate(data):
        where = f"{place}.{key}" if isinstance(data, dict) else f"{place}[{key}]"
        lead = f"{pad}{yaml_key(key, place)}:" if isinstance(data, dict) else f"{pad}-"
        inline = yaml_inline(value, where) if yaml_is_flat(value) else ""
        if inline and (not isinstance(value, (dict, list)) or not value or len(lead) + 1 + len(inline) <= YAML_WIDTH):
            yield f"{lead} {inline}"
        elif inline and isinstance(value, list):
            yield lead
            yield from yaml_filled(value, indent + 2, where)
        elif isinstance(data, dict):
            yield lead
            yield from yaml_lines(yaml_container(value, where), indent + 2, where)
        else:
            first, *rest = yaml_lines(yaml_container(value, where), indent + 2, where)
            yield f"{lead} {first.lstrip(' ')}"
            yield from rest


def yaml_filled(items: list[object], indent: int, place: str) -> Iterator[str]:
    """A long list of scalars in brackets, as many on a line as fit."""
    line = " " * indent + "["
    for number, item in enumerate(items):
        word = yaml_inline(item, f"{place}[{number}]") + ("," if number + 1 < len(items) else "]")
        if len(line) + len(word) > YAML_WIDTH and not line.endswith("["):
            yield line.rstrip(" ")
            line = " " * (indent + 1)
        line += word + " "
    yield line.rstrip(" ")


def yaml_container(value: object, place: str) -> dict[str, object] | list[object]:
    """The value, which is a list or a mapping. Raises YamlError for anything else."""
    if isinstance(value, (dict, list)):
        return value
    raise YamlError(f"{place}: a {type(value).__name__} cannot be written; use dict, list, text, number, bool or None")


def yaml_is_flat(value: object) -> bool:
    """Scalars, empty containers, and containers of these alone are written inline where they fit."""
    if isinstance(value, dict):
        return all(not isinstance(item, (dict, list)) or not item for item in value.values())
    if isinstance(value, list):
        return all(not isinstance(item, (dict, list)) or not item for item in value)
    return True


def yaml_inline(value: object, place: str) -> str:
    """One value without line breaks."""
    if isinstance(value, dict):
        pairs = (f"{yaml_key(key, place)}: {yaml_inline(item, f'{place}.{key}')}" for key, item in value.items())
        return "{" + ", ".join(pairs) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(yaml_inline(item, f"{place}[{number}]") for number, item in enumerate(value)) + "]"
    if isinstance(value, str):
        return yaml_text(value, place)
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if type(value) is int:
        if len(text := str(value)) > YAML_MAX_DIGITS:
            raise YamlError(f"{place}: a number of {len(text)} digits; at most {YAML_MAX_DIGITS}")
        return text
    if type(value) is float:
        return yaml_float(value, place)
    raise YamlError(f"{place}: a {type(value).__name__} cannot be written; use dict, list, text, number, bool or None")


def yaml_float(value: float, place: str) -> str:
    """A finite float that every YAML reader takes for one. Raises YamlError."""
    if not math.isfinite(value):
        raise YamlError(f"{place}: {value} is not a finite number; leave it out or write null")
    mantissa, mark, exponent = repr(value).partition("e")
    # YAML 1.1 readers take 1e-07 for text; with a point in it they do not.
    return mantissa + (".0" if mark and "." not in mantissa else "") + mark + exponent


def yaml_key(key: object, place: str) -> str:
    """A key of a mapping. Raises YamlError for what is no text."""
    if not isinstance(key, str):
        raise YamlError(f"{place}: key {key!r} is a {type(key).__name__}; keys are text")
    return yaml_text(key, place)


def yaml_text(text: str, place: str) -> str:
    """Text as it is where every YAML reader sees the same text, else in double quotes."""
    if YAML_PLAIN.fullmatch(text) and text.lower() not in YAML_OLD_WORDS and not text[0].isdigit():
        if not YAML_FLOAT.fullmatch(text) and not YAML_NOT_FINITE.fullmatch(text):
            return text
    if re.fullmatch(r"[0-9]+[a-z]*[a-z][0-9a-z]*", text) and not re.fullmatch(r"[0-9]+e[0-9]+|0[box].*", text):
        return text  # a hexadecimal digest and the like
    return '"' + "".join(yaml_character(character, place) for character in text) + '"'


def yaml_character(character: str, place: str) -> str:
    """One character inside double quotes. Raises YamlError for half a surrogate pair."""
    code = ord(character)
    if 0xD800 <= code <= 0xDFFF:
        raise YamlError(f"{place}: text with half a surrogate pair (U+{code:04X}) cannot be written; remove it")
    if character in '"\\':
        return "\\" + character
    if character == "\n":
        return "\\n"
    if 0x20 <= code <= 0x7E or (code >= 0xA0 and character.isprintable()):
        return character
    return f"\\x{code:02X}" if code <= 0xFF else f"\\u{code:04X}" if code <= 0xFFFF else f"\\U{code:08X}"
