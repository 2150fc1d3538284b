"""Write locks/setup.txt and locks/bench.txt from setup.cfg: `make lock`, or `make lock UPGRADE=1` for newer versions.

uv resolves once for every Python of PYTHONS and says which files there are. A lock keeps the hashes of those that a
Linux x86_64 machine can install: the wheels, or the source where a package has no wheel.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

from packaging.markers import Marker
from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import parse_wheel_filename

ROOT = Path(__file__).resolve().parents[1]
PYTHONS = ("3.11", "3.12", "3.13")
PLATFORMS = [*(f"manylinux_2_{minor}_x86_64" for minor in range(40, 4, -1)), "manylinux2014_x86_64",
             "manylinux2010_x86_64", "manylinux1_x86_64", "linux_x86_64"]
MACHINE = {"sys_platform": "linux", "platform_machine": "x86_64", "platform_system": "Linux", "os_name": "posix",
           "implementation_name": "cpython", "platform_python_implementation": "CPython"}
LOCKS = {"setup.txt": ["test", "dev"], "bench.txt": ["test", "dev", "bench"]}
HEADERS = {
    "setup.txt": "# What `make setup` installs. Made from setup.cfg by `make lock`; do not edit.",
    "bench.txt": "# What `make bench` installs on top of setup.txt. Made from setup.cfg by `make lock`; do not edit.",
}


def tags_of(python: str) -> set[Tag]:
    """The wheel tags that CPython of a version takes on Linux x86_64."""
    version = tuple(int(part) for part in python.split("."))
    interpreter = "cp" + "".join(python.split("."))
    return {*cpython_tags(version, platforms=PLATFORMS), *compatible_tags(version, interpreter, PLATFORMS)}


TAGS = frozenset(tag for python in PYTHONS for tag in tags_of(python))


def uv_resolve(extras: list[str], constraints: list[Path], out: Path) -> None:
    """Resolve setup.cfg with some extras into `out`; versions that stand in `out` already stay where they fit."""
    command = [str(Path(sys.executable).with_name("uv")), "pip", "compile", "--quiet", "--universal",
               "--python-version", PYTHONS[0], "--no-emit-index-url", "--output-file", str(out)]
    command += [f"--extra={extra}" for extra in extras] + [f"--constraints={file}" for file in constraints]
    done = subprocess.run([*command, "setup.cfg"], cwd=ROOT, stdout=subprocess.DEVNULL)
    if done.returncode != 0:
        raise SystemExit("error: setup.cfg: no versions fit all of it (see above); the locks are as they were")


def resolved(extras: list[str], constraints: list[Path], before: list[Path]) -> list[dict]:
    """The packages of setup.cfg with some extras, as a pylock.toml (PEP 751) lists them."""
    with tempfile.TemporaryDirectory() as folder:
        kept, made = Path(folder, "kept.txt"), Path(folder, "pylock.toml")
        kept.write_text("".join(file.read_text() for file in before if file.exists()))
        uv_resolve(extras, constraints, kept)
        uv_resolve(extras, [*constraints, kept], made)
        return tomllib.loads(made.read_text())["packages"]


def wheel_hashes(package: dict) -> Iterator[str]:
    """SHA-256 of the files that Linux x86_64 can install: wheels, else the source."""
    fitting = [wheel for wheel in package.get("wheels", []) if TAGS & parse_wheel_filename(file_name(wheel))[3]]
    for file in fitting or [package["sdist"]]:
        yield file["hashes"]["sha256"]


def file_name(file: dict) -> str:
    return unquote(file.get("name") or file["url"].rsplit("/", 1)[1])


def pythons_of(package: dict) -> list[str]:
    """Those of PYTHONS that need a package."""
    marker = Marker(package.get("marker", "python_version >= '3'"))
    return [python for python in PYTHONS
            if marker.evaluate({**MACHINE, "python_version": python, "python_full_version": f"{python}.0"})]


def entry(package: dict) -> str:
    """One package as pip's hash-checking mode reads it."""
    pythons = [] if (wanted := pythons_of(package)) == list(PYTHONS) else wanted
    only = " or ".join(f"python_version == '{python}'" for python in pythons)
    first = f"{package['name']}=={package['version']}{only and ' ; '}{only}"
    return " \\\n    ".join([first, *(f"--hash=sha256:{one}" for one in sorted(set(wheel_hashes(package))))])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions that setup.cfg allows")
    upgrade = parser.parse_args().upgrade
    files = [ROOT / "locks" / name for name in LOCKS]
    constraints, written = [ROOT / "locks/pins.txt"], set()
    for file in files:
        packages = resolved(LOCKS[file.name], constraints, [] if upgrade else files)
        added = [each for each in map(entry, filter(pythons_of, packages)) if each not in written]
        file.write_text("\n".join([HEADERS[file.name], *added, ""]))
        print(f"{file.relative_to(ROOT)}: {len(added)} packages")
        constraints.append(file)
        written.update(added)


if __name__ == "__main__":
    main()
