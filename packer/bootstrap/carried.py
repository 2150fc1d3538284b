"""Packages that the script carries: a solid xz archive in base85 at its end, imported from memory.

This module is packed into scripts that carry packages. Nothing is written to the disk. Data files are readable through
`importlib.resources`, versions through `importlib.metadata`.
"""

from __future__ import annotations

import base64
import collections.abc
import importlib.abc
import importlib.machinery
import importlib.metadata
import importlib.util
import io
import json
import lzma
import os
import sys
import types
import typing

CARRIED_LINE = "#|"  # begins every line of the archive


def read_carried(script: str) -> dict[str, bytes]:
    """The files in the archive at the end of the script: path -> content."""
    with open(script, encoding="utf-8") as file:
        lines = file.read().rstrip("\n").split("\n")
    first = len(lines)
    while first and lines[first - 1].startswith(CARRIED_LINE):
        first -= 1
    packed = base64.b85decode("".join(line[len(CARRIED_LINE) :] for line in lines[first:]))
    files: dict[str, str] = json.loads(lzma.decompress(packed))
    return {name: content.encode("latin-1") for name, content in files.items()}


class CarriedPath:
    """A file or folder of the archive, as `importlib.resources` wants it."""

    def __init__(self, files: dict[str, bytes], path: str) -> None:
        self.files = files
        self.path = path

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    def is_file(self) -> bool:
        return self.path in self.files

    def is_dir(self) -> bool:
        return any(name.startswith(self.path + "/") for name in self.files)

    def iterdir(self) -> collections.abc.Iterator[CarriedPath]:
        inside = [name[len(self.path) + 1 :] for name in self.files if name.startswith(self.path + "/")]
        return (self.joinpath(name) for name in sorted({name.partition("/")[0] for name in inside}))

    def joinpath(self, *parts: str) -> CarriedPath:
        inner = [piece for part in parts for piece in str(part).split("/") if piece not in ("", ".")]
        return CarriedPath(self.files, "/".join([self.path, *inner]))

    __truediv__ = joinpath

    def read_bytes(self) -> bytes:
        if not self.is_file():
            raise FileNotFoundError(f"{self.path} is not among the carried files")
        return self.files[self.path]

    def read_text(self, encoding: str | None = None, errors: str = "strict") -> str:
        return self.read_bytes().decode(encoding or "utf-8", errors)

    def open(self, mode: str = "r", **options: typing.Any) -> typing.IO[typing.Any]:
        raw = io.BytesIO(self.read_bytes())
        return raw if "b" in mode else io.TextIOWrapper(raw, **{"encoding": "utf-8", **options})


class CarriedResources:
    """What a loader hands to `importlib.resources`."""

    def __init__(self, folder: CarriedPath) -> None:
        self.folder = folder

    def files(self) -> CarriedPath:
        return self.folder


class CarriedLoader(importlib.abc.InspectLoader):
    """Runs one module of the archive."""

    def __init__(self, files: dict[str, bytes], root: str, path: str) -> None:
        self.all_files = files
        self.root = root
        self.path = path

    def is_package(self, fullname: str) -> bool:
        return self.path.endswith("/__init__.py")

    def get_source(self, fullname: str) -> str:
        return importlib.util.decode_source(self.all_files[self.path])

    def get_code(self, fullname: str) -> types.CodeType:
        return self.source_to_code(self.all_files[self.path], os.path.join(self.root, self.path))

    def get_data(self, path: str) -> bytes:
        name = os.path.relpath(path, self.root)
        if name not in self.all_files:
            raise FileNotFoundError(f"{name} is not among the carried files")
        return self.all_files[name]

    def get_resource_reader(self, fullname: str) -> CarriedResources:
        return CarriedResources(CarriedPath(self.all_files, self.path.rpartition("/")[0]))


class CarriedDistribution(importlib.metadata.Distribution):
    """Metadata of a carried package, for `importlib.metadata.version` and the like."""

    def __init__(self, files: dict[str, bytes], folder: str) -> None:
        self.all_files = files
        self.folder = folder

    def read_text(self, filename: str) -> str | None:
        content = self.all_files.get(f"{self.folder}/{filename}")
        return None if content is None else content.decode("utf-8")

    def locate_file(self, path: object) -> typing.Any:
        return CarriedPath(self.all_files, str(path))


class CarriedFinder:
    """Finds modules and metadata in the archive; stands first, so what is carried wins over what is installed."""

    def __init__(self, files: dict[str, bytes], root: str) -> None:
        self.all_files = files
        self.root = root

    def find_spec(self, fullname: str, path: object, target: object = None) -> typing.Any:
        base = fullname.replace(".", "/")
        for name in (f"{base}/__init__.py", f"{base}.py"):
            if name in self.all_files:
                loader = CarriedLoader(self.all_files, self.root, name)
                origin = os.path.join(self.root, name)
                spec = importlib.util.spec_from_loader(fullname, loader, origin=origin)
                if spec is not None:
                    spec.has_location = True
                return spec
        if any(name.startswith(base + "/") and name.endswith(".py") for name in self.all_files):
            spec = importlib.machinery.ModuleSpec(fullname, None, is_package=True)
            spec.submodule_search_locations = [os.path.join(self.root, base)]
            return spec
        return None

    def find_distributions(self, context: typing.Any = None) -> collections.abc.Iterator[CarriedDistribution]:
        wanted = (getattr(context, "name", None) or "").replace("-", "_").lower()
        for name in sorted(self.all_files):
            folder, _, file = name.rpartition("/")
            if file == "METADATA" and wanted in ("", folder.partition("-")[0].replace("-", "_").lower()):
                yield CarriedDistribution(self.all_files, folder)

    def invalidate_caches(self) -> None:
        """Nothing is cached."""


def install_carried(script: str) -> None:
    """Make the packages at the end of `script` importable."""
    finder = CarriedFinder(read_carried(script), script)
    sys.meta_path.insert(0, typing.cast(typing.Any, finder))
