"""YAML that means what it looks like: one document, no tricks, every surprise of YAML 1.1 refused or read as text.

Read: mappings with unique text keys, lists, text, whole numbers, finite floats, `true`, `false`, `null` (also `~`).
Only plain scalars become anything but text, and only these do: `12`, `-3`, `0.5`, `1e-3`, `true`, `false`, `null`.
So `NO`, `on`, `1:30`, `007`, `0x1F`, `1_000` and `2026-11-22` stay text. PyYAML parses and writes; what a plain scalar
means is said here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

import yaml

from foldpack.errors import FoldpackError
from foldpack.settings.plain_data import PLAIN_DEPTH, PLAIN_DIGITS, PLAIN_TOO_DEEP, plain_problems

YAML_MAX_BYTES = 4 * 1024 * 1024
YAML_WIDTH = 110
YAML_TEXT = "tag:yaml.org,2002:str"
YAML_INLINE = 100  # characters of a mapping that stays on one line

YAML_INT = re.compile(r"[-+]?(0|[1-9][0-9]*)")
YAML_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
YAML_NO_TEXT = re.compile(rf"{YAML_FLOAT.pattern}|[yYnN]")
YAML_NOT_FINITE = re.compile(r"[-+]?\.(inf|nan)", re.IGNORECASE)
BARE_BRACES = re.compile(r"[:,{] *\{\w+\}[^\s,}]")  # a template without quotes
YAML_FORBIDDEN = re.compile("[^\\t\\n\\r\\x20-\\x7e\\x85\\xa0-\\ud7ff\\ue000-\\ufffd\\U00010000-\\U0010ffff]")
YAML_BRACKETS = re.compile(r"""'[^']*'|"(?:\\.|[^"\\])*"|[\[\]{}]""")
YAML_WORDS: dict[str, bool | None] = {"true": True, "false": False, "null": None, "~": None, "": None}


class YamlError(FoldpackError):
    """A YAML file that is broken, or that could be misread. Text: `file:line: what was found and the mend`."""


class YamlReader:
    """Builds plain data from the events of the parser; raises YamlError at the first thing that is not allowed."""

    def __init__(self, source: str, events: Iterator[yaml.Event]) -> None:
        self.source = source
        self.events = events

    def fail(self, event: yaml.Event, problem: str) -> YamlError:
        """The error for something at this event, with its place."""
        return YamlError(f"{self.source}:{yaml_line(event)}: {problem}")

    def document(self) -> object:
        """The one document; None for an empty file."""
        next(self.events)
        if isinstance(next(self.events), yaml.StreamEndEvent):
            return None
        root = self.value(next(self.events), 0)
        next(self.events)
        if isinstance(event := next(self.events), yaml.DocumentStartEvent):
            raise self.fail(event, "a second document starts here; one file holds one document: remove '---'")
        return root

    def value(self, event: yaml.Event, depth: int) -> object:
        """What begins with this event, a container with all that is in it."""
        if isinstance(event, yaml.AliasEvent):
            raise self.fail(event, f"alias *{event.anchor} is not allowed; write the value out")
        if (anchor := getattr(event, "anchor", None)) is not None:
            raise self.fail(event, f"anchor &{anchor} is not allowed; write the value out where it is used")
        if (tag := getattr(event, "tag", None)) is not None:
            raise self.fail(event, f"tag {tag} is not allowed; write the value without it")
        if isinstance(event, yaml.ScalarEvent):
            return event.value if event.style else self.plain(event)
        if depth >= PLAIN_DEPTH:
            raise self.fail(event, PLAIN_TOO_DEEP)
        if isinstance(event, yaml.MappingStartEvent):
            return self.mapping(depth)
        items = []
        while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
            items.append(self.value(event, depth + 1))
        return items

    def mapping(self, depth: int) -> dict[str, object]:
        """The keys and values up to the mapping's end."""
        found: dict[str, object] = {}
        lines: dict[str, int] = {}
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            if isinstance(event, yaml.CollectionStartEvent):
                raise self.fail(event, "a list or mapping cannot be a key; use text")
            key = self.value(event, depth)
            if not isinstance(key, str):
                shown = getattr(event, "value", "") or "(nothing)"
                raise self.fail(event, f"key {shown} is not text; put it in quotes, or use another name")
            if key == "<<" and not getattr(event, "style", None):
                raise self.fail(event, "the merge key << is not allowed; write the keys out")
            if key in found:
                raise self.fail(event, f"key {key!r} is already set in line {lines[key]}; keep one of the two")
            lines[key] = yaml_line(event)
            found[key] = self.value(next(self.events), depth + 1)
        return found

    def plain(self, event: yaml.ScalarEvent) -> object:
        """What a scalar without quotes means."""
        text = event.value
        if text in YAML_WORDS:
            return YAML_WORDS[text]
        if YAML_NOT_FINITE.fullmatch(text):
            raise self.fail(event, f"{text} is not a finite number; write a finite one, or text in quotes")
        if not YAML_FLOAT.fullmatch(text):
            return text
        if len(text) > PLAIN_DIGITS:
            raise self.fail(event, f"a number of {len(text)} characters; at most {PLAIN_DIGITS}, or text in quotes")
        if YAML_INT.fullmatch(text):
            return int(text)
        if text.lstrip("+-").isdigit():
            return text  # leading zeros: an identifier such as 007
        value = float(text)
        if not math.isfinite(value):
            raise self.fail(event, f"{text} is too large for a float; write a finite number, or text in quotes")
        return value


def yaml_line(event: yaml.Event) -> int:
    """The line of an event, counted from 1."""
    return event.start_mark.line + 1 if event.start_mark else 1


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
    try:
        root = YamlReader(source, yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))).document()
    except yaml.MarkedYAMLError as error:
        if line := yaml_too_deep_line(text):  # a parser may have a limit of its own, and give up before ours is met
            raise YamlError(f"{source}:{line}: {PLAIN_TOO_DEEP}") from None
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        near = text.splitlines()[max(0, line - 2) : line]  # a parser may only stumble on the next line
        hint = '; text that begins with braces needs quotes, such as "{id}.jpg"' if any(map(BARE_BRACES.search, near)) \
            else ""
        raise YamlError(f"{source}:{line}: broken YAML: {error.problem or error.context}{hint}") from None
    except yaml.YAMLError:
        raise YamlError(f"{source}:1: broken YAML: it cannot be read") from None
    if root is None:
        raise YamlError(f"{source}:1: the file is empty; write its content")
    return root


def yaml_too_deep_line(text: str) -> int:
    """The line of the first bracket that lies deeper than allowed, counted from 1; 0 where there is none."""
    depth = 0
    for found in YAML_BRACKETS.finditer(text):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(found[0], 0)
        if depth > PLAIN_DEPTH:
            return text.count("\n", 0, found.start()) + 1
    return 0


class YamlWriter(yaml.SafeDumper):
    """Blocks, and in them lists and short mappings of scalars on one line; quotes where any reader needs them."""

    def ignore_aliases(self, data: object) -> bool:
        """What stands twice is written twice."""
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        """The items of a list stand to the right of its key."""
        super().increase_indent(flow, False)

    def represent_data(self, data: object) -> yaml.Node:
        """Line ends and what cannot be seen are written as escapes."""
        if isinstance(data, str):
            return self.represent_scalar(YAML_TEXT, data, None if data.isprintable() else '"')
        return super().represent_data(data)

    def resolve(self, kind: type[yaml.Node], value: Any, implicit: Any) -> str:
        """What a reader takes a plain scalar for: also what we do, and what YAML 1.1 says but PyYAML does not."""
        tag = super().resolve(kind, value, implicit)
        other = tag == YAML_TEXT and implicit[0] and YAML_NO_TEXT.fullmatch(value)
        return "number or word" if other else tag

    def represent_sequence(self, tag: str, sequence: Any, flow_style: bool | None = None) -> yaml.SequenceNode:
        """In brackets, filling lines, where all items are scalars or empty."""
        node = super().represent_sequence(tag, sequence, flow_style)
        node.flow_style = all(isinstance(item, yaml.ScalarNode) or not item.value for item in node.value)
        return node

    def represent_mapping(self, tag: str, mapping: Any, flow_style: bool | None = None) -> yaml.MappingNode:
        """In braces, where all values are scalars or empty and they fit a line."""
        node = super().represent_mapping(tag, mapping, flow_style)
        flat = all(isinstance(value, yaml.ScalarNode) or not value.value for _, value in node.value)
        node.flow_style = flat and sum(len(key.value) + len(value.value) + 4 for key, value in node.value) < YAML_INLINE
        return node


def dump_strict(data: object) -> str:
    """YAML text of `data`, which `load_strict` reads back as equal; the same data give the same text.

    data: dicts with text keys (kept in their order), lists, text, ints, finite floats, bools, None. Raises YamlError
    for anything else, with its place.
    """
    if data is None:
        raise YamlError("the top of a YAML file cannot be null; write a mapping or a list")
    for problem in plain_problems(data, "top"):
        raise YamlError(problem)
    return yaml.dump(data, Dumper=YamlWriter, sort_keys=False, allow_unicode=True, width=YAML_WIDTH)


def dump_block(data: dict[str, object]) -> str:
    """As `dump_strict`, each key of the top on a line of its own, however short the whole is."""
    parts = [dump_strict({key: value}) for key, value in data.items()]
    return "".join(f"{part.strip()[1:-1]}\n" if part.startswith("{") else part for part in parts)
