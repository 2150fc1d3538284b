"""Names of classes: "pred_cat" is "cat", "prob_10" is number 10, and "prob_2" stands before it."""

from __future__ import annotations

import os
import re


def numbered(count: int) -> list[str]:
    """The names of classes that have none: "0", "1", ..."""
    return [str(one) for one in range(count)]


def are_numbers(names: list[str]) -> bool:
    """Whether the names are "0", "1" ... in any order."""
    return sorted(names) == sorted(numbered(len(names)))


def numbers_in(names: list[str]) -> list[int] | None:
    """The number of each name, where the names differ in it alone: ["p_10", "p_2"] -> [10, 2]; else None."""
    if len(names) < 2:
        return None
    head = os.path.commonprefix(names).rstrip("0123456789")
    rest = [name[len(head):] for name in names]
    tail = os.path.commonprefix([name[::-1] for name in rest])[::-1].lstrip("0123456789")
    inner = [name[: len(name) - len(tail)] for name in rest]
    if not all(re.fullmatch(r"[0-9]+", one) for one in inner) or len({int(one) for one in inner}) < len(names):
        return None
    return [int(one) for one in inner]


def column_order(names: list[str]) -> list[str]:
    """The order of the classes that a file's names say: by number where they are numbered, others as they stand."""
    numbers = numbers_in(names)
    return names if numbers is None else [name for _, name in sorted(zip(numbers, names, strict=True))]


def same_names(names: list[str], known: list[str]) -> list[str] | None:
    """The names in the order of the known ones, if they are these between one prefix and one suffix of their own.

    "pred_cat" is "cat", "cat" is "pred_cat", and both are "prob_cat"; "p3" is "class_3". None where they are not.
    """
    if all(name in names for name in known):
        return known
    inner = within(names, known)
    if inner is not None and sorted(inner) == sorted(known):
        return [names[inner.index(name)] for name in known]
    inner = within(known, names)
    if inner is not None and sorted(inner) == sorted(names):
        return inner
    for keys in ((numbers_in(names), numbers_in(known)), (_bare(names), _bare(known))):
        if keys[0] is not None and keys[1] is not None and sorted(map(str, keys[0])) == sorted(map(str, keys[1])):
            place = dict(zip(keys[0], names, strict=True))
            return [place[key] for key in keys[1]]
    return None


def within(names: list[str], some: list[str]) -> list[str] | None:
    """What stands in the names between one prefix and one suffix, if all of `some` are among it; else None."""
    for name in names if some else []:
        head, found, tail = name.partition(max(some, key=len))
        if not found or not all(one.startswith(head) and one.endswith(tail) for one in names):
            continue
        inner = [one[len(head): len(one) - len(tail)] for one in names]
        if set(some) <= set(inner):
            return inner
    return None


def _bare(names: list[str]) -> list[str] | None:
    """The names without the prefix and the suffix that all share, cut where a separator stands; None where none is."""
    if len(names) < 2:
        return None
    head = re.match(r".*[\W_]|", os.path.commonprefix(names))
    tail = re.search(r"[\W_].*|$", os.path.commonprefix([name[::-1] for name in names])[::-1])
    start, end = len(head[0]) if head else 0, len(tail[0]) if tail else 0
    inner = [name[start: len(name) - end] for name in names]
    return inner if len(set(inner)) == len(names) and all(inner) else None
