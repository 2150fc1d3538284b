"""The modules of the packer that are packed into scripts, read as source; the names they take are not the project's."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from packer.errors import PackError
from packer.flatten.source import Import, Module, parse_module

TRACEBACKS = "tracebacks.py"
PACKAGES = "packages.py"
RUNTIME_FILES = (TRACEBACKS, PACKAGES)
SCRIPT_NAMES = frozenset({"SPEC", "KEYS", "PACKED_LINES"})


@cache
def runtime_module(file: str) -> Module:
    """A module of the packer that is packed into scripts."""
    path = Path(__file__).parents[1] / "bootstrap" / file
    module = parse_module(path.read_text(encoding="utf-8"), f"packer/bootstrap/{file}", f"packer.bootstrap.{path.stem}")
    if not isinstance(module, Module):
        raise PackError(f"the packer's own {file} is broken: {module}")
    return module


@cache
def reserved_names() -> frozenset[str]:
    """Names that a script defines for itself."""
    return SCRIPT_NAMES.union(*(runtime_module(file).defined for file in RUNTIME_FILES))


@cache
def runtime_imports() -> tuple[tuple[Module, Import], ...]:
    """What the runtime modules import; the project may import the same, but mean nothing else by these names."""
    modules = [runtime_module(file) for file in RUNTIME_FILES]
    return tuple((module, each) for module in modules for each in module.plain_imports)
