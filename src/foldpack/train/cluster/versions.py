"""What has to be the same on all machines that train for one command: the programs, the data and the project's code."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from foldpack.data.image_place import image_file
from foldpack.files import sha256_file
from foldpack.settings.project_code import is_project_code
from foldpack.settings.run import RunConfig

if TYPE_CHECKING:
    from foldpack.train.dataset import TrainingSet

PACKAGES = ("torch", "timm")
LOOKED_INTO = 64  # images whose bytes are compared; of all others the size


def program_versions() -> dict[str, str]:
    """Of Python, foldpack with a digest of its source, torch and timm."""
    return {"python": f"{sys.version_info[0]}.{sys.version_info[1]}",
            "foldpack": f"{package_version('foldpack')} of source {source_digest()}",
            **{name: package_version(name) for name in PACKAGES}}


def package_version(name: str) -> str:
    """The version of an installed package; "none" where it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "none"


def source_digest() -> str:
    """12 hex digits over all modules of foldpack: a checkout has no version of its own."""
    package = Path(__file__).resolve().parents[2]
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        digest.update(f"{path.relative_to(package).as_posix()} {sha256_file(path)}\n".encode())
    return digest.hexdigest()[:12]


def files_digest(data: TrainingSet, paths: Sequence[Path]) -> str:
    """Hex SHA-256 of ids, folds and truth, of the sizes of all image files, and of the bytes of `LOOKED_INTO` of them.

    paths: of the images, row by row; those that are missing are told by what reads them.
    """
    digest = hashlib.sha256()
    for text in (data.ids, data.classes, data.answer or []):
        digest.update("\n".join(text).encode("utf-8", "surrogateescape") + b"\0")
    for array in (data.targets, data.fold, *data.numbers.values()):
        digest.update(np.ascontiguousarray(array).tobytes())
    files = [image_file(path) or path for path in paths]
    digest.update(" ".join(str(path.stat().st_size if path.is_file() else None) for path in files).encode())
    for row in sorted(set(np.linspace(0, len(files) - 1, LOOKED_INTO).astype(int).tolist())):
        digest.update(sha256_file(files[row]).encode() if files[row].is_file() else b"missing")
    return digest.hexdigest()


def code_digests(configs: Iterable[RunConfig]) -> dict[str, str]:
    """File of the project -> its SHA-256, of all that runs name: their competition and their code."""
    files = {name.partition(":")[0] for config in configs for name in named_in(config.model_dump(mode="json"))}
    return {name: sha256_file(Path(name)) if Path(name).is_file() else "missing" for name in sorted(files)}


def named_in(value: object) -> Iterator[str]:
    """All texts in plain data that name a file of the project: `FILE.py:NAME`, and a `competition.yml`."""
    if isinstance(value, dict):
        for inner in value.values():
            yield from named_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from named_in(inner)
    elif isinstance(value, str) and (is_project_code(value) or value.endswith((".yml", ".yaml"))):
        yield value
