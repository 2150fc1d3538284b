"""The peers that benchmarks compare with: packages of `make bench-setup` that foldpack itself does not need."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType


def find_peer(module: str, left_out: str) -> ModuleType | None:
    """The peer's module; or None, after one line on stderr that names it and what is left out without it."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError:
        say_missing(f"{module} is not installed here", left_out)
    except Exception as failure:  # such as a peer that a newer numpy breaks
        say_missing(f"{module} cannot be imported here ({' '.join(str(failure).split())})", left_out)
    return None


def say_missing(what: str, left_out: str) -> None:
    """One line on stderr."""
    print(f"{what}; left out: {left_out}; `make bench-setup` installs it", file=sys.stderr)
