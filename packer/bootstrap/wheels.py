"""Wheels from an attached dataset: installed offline into a folder of their own, before anything imports them.

This module is packed into scripts that need wheels.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile

WHEELS_VARIABLE = "PACKED_WHEELS_FOLDER"  # tells worker processes where the wheels lie


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


def install_wheels(dataset: str, packages: list[str]) -> None:
    """Install packages (`name` or `name==version`) from the wheels below the input folder; exit when one lacks.

    Without network and without dependencies: nothing that the image has (torch above all) is replaced.
    """
    arguments = sys.argv[1:]
    root = arguments[arguments.index("--input") + 1] if "--input" in arguments[:-1] else "/kaggle/input"
    folder = os.environ.get(WHEELS_VARIABLE)
    if folder is None:
        places, missing = find_wheels(root, packages)
        if missing:
            raise SystemExit(f"no wheel of {', '.join(missing)} below {root}; attach the dataset {dataset}")
        folder = tempfile.mkdtemp(prefix="wheels-")
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--target", folder]
        command += ["--disable-pip-version-check", *(f"--find-links={place}" for place in places), *packages]
        if subprocess.run(command, check=False).returncode != 0:
            raise SystemExit(f"pip could not install {', '.join(packages)} from {', '.join(places)}")
        os.environ[WHEELS_VARIABLE] = folder
    sys.path.insert(0, folder)
