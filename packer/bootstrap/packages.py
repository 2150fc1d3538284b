"""Packages that the image lacks: carried at the end of this script, or as wheels of an attached dataset.

This module is packed into scripts that have such packages. They are unpacked into a folder of their own, before the
imports that need them; worker processes are told of it by a variable, and it is removed at the end.
"""

from __future__ import annotations

import atexit
import base64
import collections.abc
import contextlib
import json
import lzma
import os
import re
import shutil
import subprocess
import sys
import tempfile

CARRIED_LINE = "#|"  # begins every line of the archive: solid xz in base85
PACKAGES_VARIABLE = "PACKED_PACKAGES_FOLDER"


@contextlib.contextmanager
def packed_packages(name: str, script: str, dataset: str, wheels: list[str]) -> collections.abc.Iterator[None]:
    """Make the packages importable, in the script itself and its workers. name: the script's `__name__`."""
    if name in ("__main__", "__mp_main__"):
        folder = os.environ.get(PACKAGES_VARIABLE)
        if folder is None:
            folder = tempfile.mkdtemp(prefix="packages-")
            atexit.register(shutil.rmtree, folder, ignore_errors=True)
            unpack_carried(script, folder)
            install_wheels(folder, dataset, wheels)
            os.environ[PACKAGES_VARIABLE] = folder
        sys.path.insert(0, folder)  # what comes with the script wins over what is installed
    yield


def unpack_carried(script: str, folder: str) -> None:
    """Write the files of the archive at the end of the script, if there is one."""
    with open(script, encoding="utf-8") as file:
        lines = file.read().rstrip("\n").split("\n")
    first = len(lines)
    while lines[first - 1].startswith(CARRIED_LINE):
        first -= 1
    packed = base64.b85decode("".join(line[len(CARRIED_LINE) :] for line in lines[first:]))
    for name, content in json.loads(lzma.decompress(packed) if packed else b"{}").items():
        path = os.path.join(folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as target:
            target.write(content.encode("latin-1"))


def install_wheels(folder: str, dataset: str, packages: list[str]) -> None:
    """Install packages (`name` or `name==version`) from the wheels below the input folder; exit when one lacks.

    Without network and without dependencies: nothing that the image has (torch above all) is replaced.
    """
    if not packages:
        return
    arguments = sys.argv[1:]
    root = arguments[arguments.index("--input") + 1] if "--input" in arguments[:-1] else "/kaggle/input"
    places, missing = find_wheels(root, packages)
    if missing:
        raise SystemExit(f"no wheel of {', '.join(missing)} below {root}; attach the dataset {dataset}")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--target", folder]
    command += ["--disable-pip-version-check", *(f"--find-links={place}" for place in places), *packages]
    if subprocess.run(command, check=False).returncode != 0:
        raise SystemExit(f"pip could not install {', '.join(packages)} from {', '.join(places)}")


def find_wheels(root: str, packages: list[str]) -> tuple[list[str], list[str]]:
    """Folders below `root` that hold a wheel of one of the packages, and the packages that none holds."""
    wanted = {re.sub(r"[-_.]+", "-", re.split(r"[=<>!~ ]", package)[0]).lower(): package for package in packages}
    folders: list[str] = []
    for folder, below, files in sorted(os.walk(root, followlinks=True)):
        below.sort()
        for file in sorted(files):
            name = re.sub(r"[-_.]+", "-", file.partition("-")[0]).lower()
            if file.endswith(".whl") and name in wanted:
                wanted[name] = ""
                folders += [] if folder in folders else [folder]
    return folders, [package for package in wanted.values() if package]
