"""The sets of weights that a foreign checkpoint holds, and the names of their tensors. Reads and writes no file."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from foldpack.errors import FoldpackError

WRAPPERS = ("module.", "model.", "_orig_mod.")  # of (Distributed)DataParallel and AveragedModel, Lightning, compile
COUNTER = "n_averaged"  # the buffer in which torch's AveragedModel counts
COPY_WORDS = {"ema", "teacher", "student", "swa", "avg", "averaged", "average", "momentum", "target", "online"}
OPTIMIZER = re.compile(r"opt|optim(i[sz]er)?s?[a-z0-9]?")  # a word of the name under which its state is kept
DEEPEST = 8  # levels of nesting that are looked at


class WeightFileError(FoldpackError):
    """A file of weights that cannot be read, or must not be."""


@dataclass(frozen=True)
class WeightSet:
    """Tensors that lie side by side in a checkpoint."""

    place: str  # keys that lead to the mapping, joined by dots; "" at the top
    tensors: dict[str, torch.Tensor]
    prefix: str = ""  # what the names of this set begin with in the mapping, such as "net."; not in `tensors`
    doubtful: bool = False  # an optimizer's, or numbers beside the weights: taken only where they are named

    @property
    def title(self) -> str:
        """What `--key` calls it."""
        return dotted(self.place, self.prefix.rstrip(".")) or "."

    @property
    def text(self) -> str:
        """Its name and size, for a list."""
        return f"{self.title} ({tensors_text(len(self.tensors))})"


@dataclass(frozen=True)
class Chosen:
    """The weights that were taken."""

    title: str  # of the set, as `--key` names it
    tensors: dict[str, torch.Tensor]
    left_out: list[str]  # everything else in the file, each with what it is
    stripped: str = ""  # what stood before every name
    kept: str = ""  # on a prefix that stays as not all names have it


def choose_weights(content: Any, source: str, key: str | None = None, option: str = "--key") -> Chosen:
    """The one set of weights in `content`, or the one that `key` names, without the prefixes of wrappers.

    key: keys joined by dots, "." for the tensors at the top. A prefix of names may end it: `state_dict.net` are the
    tensors of `state_dict` whose names begin with `net.`. option: what messages call it.
    Raises WeightFileError for no weights, several without a key, an unknown key, and two tensors of one name.
    """
    if not isinstance(content, Mapping | list | tuple):
        raise WeightFileError(f"{source}: holds a {type(content).__name__}, want a state_dict; save model.state_dict()")
    sets = weight_sets(content, source)
    likely = [each for each in sets if not each.doubtful]
    if key is not None:
        chosen = find_set(sets, source, key, option)
    elif not likely:
        names = ", ".join(rest_lines(content, None)[:8]) or "nothing"
        raise WeightFileError(f"{source}: no tensors that could be weights, at the top or below; it has: {names}")
    elif len(likely) > 1:
        listed = ", ".join(each.text for each in likely)
        raise WeightFileError(f"{source}: holds {len(likely)} sets of weights: {listed}; take one with {option} NAME")
    else:
        chosen = likely[0]
    counters = [name for name in chosen.tensors if name.rpartition(".")[2] == COUNTER]
    weights = {name: tensor for name, tensor in chosen.tensors.items() if name not in counters}
    if not weights:
        raise WeightFileError(f"{source}: {chosen.title} holds no weights but {', '.join(counters)}; name another set")
    tensors, stripped = strip_wrappers(weights)
    left = [f"{name} (a count of the averaging, no weight)" for name in counters]
    return Chosen(chosen.title, tensors, left + rest_lines(content, chosen), stripped, kept_prefix(tensors, chosen))


def find_set(sets: Sequence[WeightSet], source: str, key: str, option: str = "--key") -> WeightSet:
    """The set of this name, or the part of one whose names begin so. Raises WeightFileError for none."""
    for each in sets:
        if each.title == key:
            return each
    for each in sets:
        head = f"{each.title}." if each.title != "." else ""
        prefix = f"{key.removeprefix(head)}."
        part = {name.removeprefix(prefix): tensor for name, tensor in each.tensors.items() if name.startswith(prefix)}
        if key.startswith(head) and part:
            return replace(each, tensors=part, prefix=each.prefix + prefix)
    allowed = [each.text for each in sets if not each.doubtful] or [each.text for each in sets]
    raise WeightFileError(f"{source}: no weights under {option} {key}; allowed: {', '.join(allowed) or 'none'}")


def weight_sets(content: Any, source: str) -> list[WeightSet]:
    """All mappings with tensors in them, from the top down. Raises WeightFileError for two tensors of one name."""
    found = []
    for place, mapping, optimizer in mappings(content):
        if tensors := named_tensors(mapping, place, source):
            found.append((place, tensors, 0 if optimizer else net_rank(tensors)))
    best = max((rank for *_, rank in found), default=0)
    sets = []
    for place, tensors, rank in found:
        below = any(other != place and is_below(other, place) and other_rank == best for other, _, other_rank in found)
        stray = below and not any("." in name or name in ("weight", "bias") for name in tensors)
        sets += split_copies(WeightSet(place, tensors, doubtful=stray or rank < best or not rank))
    return sets


def mappings(content: Any, place: str = "", optimizer: bool = False, depth: int = 0) -> Iterator[tuple]:
    """All mappings in nested mappings and lists -> place, mapping, whether it is of an optimizer's state."""
    if depth > DEEPEST or not isinstance(content, Mapping | list | tuple):
        return
    if isinstance(content, Mapping):
        words = place.rpartition(".")[2].lower().split("_")
        optimizer = optimizer or {"state", "param_groups"} <= {str(key) for key in content}
        optimizer = optimizer or any(OPTIMIZER.fullmatch(word) for word in words)
        yield place, content, optimizer
    for key, value in entries(content):
        yield from mappings(value, dotted(place, key), optimizer, depth + 1)


def entries(content: Mapping | list | tuple) -> list[tuple[str, Any]]:
    """What a mapping or a list holds, by its key or position."""
    pairs = content.items() if isinstance(content, Mapping) else enumerate(content)
    return [(str(key), value) for key, value in pairs]


def named_tensors(mapping: Mapping, place: str, source: str) -> dict[str, torch.Tensor]:
    """The tensors and arrays of numbers directly in a mapping. Raises WeightFileError for two of one name."""
    tensors: dict[str, torch.Tensor] = {}
    for name, value in entries(mapping):
        tensor = as_tensor(value)
        if tensor is not None and name in tensors:
            raise WeightFileError(f"{source}: two tensors of {place or 'the top'} are called '{name}'; names must be "
                                  "unique, so rename one where the file was made")
        if tensor is not None:
            tensors[name] = tensor
    return tensors


def as_tensor(value: Any) -> torch.Tensor | None:
    """A tensor, or an array of numbers as one; None for anything else, single numbers too."""
    if isinstance(value, torch.Tensor):
        return value
    if not isinstance(value, np.ndarray):
        return None
    try:
        return torch.from_numpy(np.array(value, dtype=value.dtype.newbyteorder("=")))
    except TypeError:  # text, objects, dates
        return None


def net_rank(tensors: Mapping[str, torch.Tensor]) -> int:
    """How much tensors look like a network's: 3 with matrices of floats, 2 with vectors of them, 1 otherwise."""
    sides = [tensor.ndim for tensor in tensors.values() if tensor.is_floating_point() or tensor.is_complex()]
    return 1 + min(2, max(sides, default=0))


def split_copies(found: WeightSet) -> list[WeightSet]:
    """A set whose names hold a network and its average, as `net.` and `net_ema.`: each becomes a set of its own."""
    groups: dict[str, dict[str, torch.Tensor]] = {}
    for name, tensor in found.tensors.items():
        first, _, rest = name.partition(".")
        if rest:
            groups.setdefault(first, {})[rest] = tensor
    forms = {}  # the names of what is more than a count; some averages drop the dots
    for first, tensors in groups.items():
        weights = {name: tensor for name, tensor in tensors.items() if tensor.ndim}
        forms[first] = {name.replace(".", "") for name in strip_wrappers(weights)[0]}
    copies = [forms[first] for first in groups if COPY_WORDS & set(first.lower().split("_")) and forms[first]]
    alike = [first for first in groups if forms[first] in copies]
    if len(alike) < 2:
        return [found]
    return [replace(found, tensors=groups[first], prefix=f"{first}.") for first in alike]


def strip_wrappers(tensors: Mapping[str, torch.Tensor]) -> tuple[dict[str, torch.Tensor], str]:
    """Take off prefixes of wrappers while every name begins with the same one -> tensors, what was taken off."""
    result, stripped = dict(tensors), ""
    while result:
        prefix = next((each for each in WRAPPERS
                       if all(name.startswith(each) and name != each for name in result)), None)
        if prefix is None:
            break
        result = {name.removeprefix(prefix): tensor for name, tensor in result.items()}
        stripped += prefix
    return result, stripped


def kept_prefix(tensors: Mapping[str, torch.Tensor], chosen: WeightSet) -> str:
    """A line on a wrapper's prefix that most names have, but not all; "" where there is none."""
    for prefix in WRAPPERS:
        others = [name for name in tensors if not name.startswith(prefix)]
        if 0 < len(others) <= len(tensors) // 2:
            part = dotted(chosen.title.strip("."), prefix.rstrip("."))
            return (f"'{prefix}' stays before {len(tensors) - len(others)} names, but not before {len(others)}, such "
                    f"as '{others[0]}'; --key {part} takes only those that have it")
    return ""


def rest_lines(value: Any, chosen: WeightSet | None, place: str = "") -> list[str]:
    """All that is not taken, each entry with what it is: everything for None."""
    if chosen is None or not is_below(chosen.place, place):
        if place:
            return [f"{place} ({kind_of(value)})"]
        return [f"{name} ({kind_of(entry)})" for name, entry in entries(value)]
    if chosen.place != place:
        return [line for name, entry in entries(value) for line in rest_lines(entry, chosen, dotted(place, name))]
    others: dict[str, list[str]] = {}  # tensors beside the prefix, by the first part of their names
    lines = []
    for name, entry in entries(value):
        if as_tensor(entry) is None:
            lines.append(f"{dotted(place, name)} ({kind_of(entry)})")
        elif not name.startswith(chosen.prefix):
            others.setdefault(shared_part(name, chosen.prefix), []).append(name)
    return lines + [f"{dotted(place, part)} ({tensors_text(len(names))})" if len(names) > 1 else
                    f"{dotted(place, names[0])} (tensor)" for part, names in others.items()]


def shared_part(name: str, prefix: str) -> str:
    """The beginning of a name up to where it leaves the prefix, and the part after: `a.c` of `a.c.d` and `a.b.`."""
    parts = name.split(".")
    length = next((k for k, (one, other) in enumerate(zip(parts, prefix.split("."), strict=False)) if one != other), 0)
    return ".".join(parts[: length + 1])


def kind_of(value: Any) -> str:
    """What an entry is: how many tensors it holds, else its type."""
    if isinstance(value, torch.Tensor):
        return "tensor"
    count = count_tensors(value)
    return tensors_text(count) if count else type(value).__name__


def count_tensors(value: Any, depth: int = 0) -> int:
    """How many tensors lie in nested mappings and lists."""
    if isinstance(value, Mapping | list | tuple) and depth <= DEEPEST:
        return sum(count_tensors(entry, depth + 1) for _, entry in entries(value))
    return int(as_tensor(value) is not None)


def tensors_text(count: int) -> str:
    """`1 tensor`, `2 tensors`."""
    return f"{count} tensor{'s' * (count != 1)}"


def is_below(name: str, above: str) -> bool:
    """Whether a dotted name is another or lies below it; everything lies below the top, ""."""
    return not above or name == above or name.startswith(above + ".")


def dotted(*parts: str) -> str:
    """Keys joined by dots, empty ones left out."""
    return ".".join(part for part in parts if part)
