"""The locks hold what setup.cfg asks for, for every Python we support, and nothing of the machine that made them."""

from __future__ import annotations

import configparser
import importlib.util
import os
import re
import subprocess
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PYTHONS = ("3.11", "3.12", "3.13")
NEEDED = {"locks/setup.txt": ("test", "dev"), "locks/bench.txt": ("bench",)}
# What a lock may hold: comments, `name==version ; python_version == '3.11'`, and hashes.
LINE = re.compile(r"#.*|[a-z0-9.-]+==[\w.!+]+( ; python_version == '[\d.]+'( or python_version == '[\d.]+')*)? \\"
                  r"|    --hash=sha256:[0-9a-f]{64}( \\)?|")


def locked(text: str) -> list[tuple[Requirement, int]]:
    """(pinned requirement, number of hashes) of every package in a lock."""
    parts = re.split(r"(?m)^(?=[a-z0-9])", text)[1:]
    return [(Requirement(part.split("\\")[0].strip()), part.count("--hash=sha256:")) for part in parts]


def wanted(setup_cfg: str, extras: tuple[str, ...]) -> list[Requirement]:
    """What setup.cfg asks for: install_requires and some extras."""
    parser = configparser.ConfigParser()
    parser.read_string(setup_cfg)
    groups = [parser["options"]["install_requires"], *(parser["options.extras_require"][name] for name in extras)]
    return [Requirement(line) for group in groups for line in group.strip().splitlines()]


def problems(requirements: list[Requirement], lock: str) -> list[str]:
    """One line for every requirement that a lock does not satisfy on every Python."""
    found = []
    for python in PYTHONS:
        here = {canonicalize_name(each.name): (each, hashes) for each, hashes in locked(lock)
                if each.marker is None or each.marker.evaluate({"python_version": python})}
        for requirement in requirements:
            pin, hashes = here.get(canonicalize_name(requirement.name), (None, 0))
            if pin is None:
                found.append(f"{requirement} is not locked for Python {python}; run `make lock`")
            elif not requirement.specifier.contains(str(pin.specifier).removeprefix("=="), prereleases=True):
                found.append(f"{requirement} is asked for, {pin} is locked; run `make lock`")
            elif not hashes:
                found.append(f"{requirement} is locked without a hash; run `make lock`")
    return sorted(set(found))


def whole(name: str) -> str:
    """A lock with what it stands on."""
    below = "" if name == "locks/setup.txt" else (ROOT / "locks/setup.txt").read_text()
    return below + (ROOT / name).read_text()


@pytest.mark.parametrize("name", NEEDED)
def test_a_lock_satisfies_setup_cfg(name: str) -> None:
    requirements = wanted((ROOT / "setup.cfg").read_text(), NEEDED[name])
    found = problems(requirements, whole(name))
    assert not found, f"{name}: " + "; ".join(found)


@pytest.mark.parametrize(("asked", "message"), [
    ("six>=1.16", "six>=1.16 is not locked for Python 3.12; run `make lock`"),
    ("numpy>=3", "numpy>=3 is asked for, numpy==2.4.6 is locked; run `make lock`"),
    ("PyYAML>=6", "PyYAML>=6 is locked without a hash; run `make lock`"),
])
def test_a_lock_that_is_out_of_date_is_told(asked: str, message: str) -> None:
    mark = f"--hash=sha256:{'0' * 64}"
    lock = (f"# made\nnumpy==2.4.6 \\\n    {mark} \\\n    {mark}\npyyaml==6.0.4 \\\n"
            f"six==1.17.0 ; python_version == '3.11' or python_version == '3.13' \\\n    {mark}\n")
    assert problems([Requirement(asked)], lock) == [message]


@pytest.mark.parametrize("name", NEEDED)
def test_a_lock_names_no_index_and_no_path(name: str) -> None:
    lines = (ROOT / name).read_text().splitlines()
    assert "make lock" in lines[0]
    assert [line for line in lines if LINE.fullmatch(line) is None] == []
    assert all(hashes for _, hashes in locked("\n".join(lines)))


@pytest.mark.parametrize("python", PYTHONS)
def test_each_python_gets_one_version_of_a_package(python: str) -> None:
    names = [each.name for each, _ in locked(whole("locks/bench.txt"))
             if each.marker is None or each.marker.evaluate({"python_version": python})]
    assert sorted(names) == sorted(set(names))


def test_the_pins_hold() -> None:
    pins = {line for line in (ROOT / "locks/pins.txt").read_text().splitlines() if not line.startswith("#")}
    assert pins == {"torch==2.14.1", "torchvision==0.29.1"}
    assert pins <= {str(each) for each, _ in locked(whole("locks/setup.txt"))}


def test_setup_installs_the_lock_and_nothing_else() -> None:
    quiet = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    shown = subprocess.run(["make", "--dry-run", "setup", "VENV=nowhere"], cwd=ROOT, capture_output=True, text=True,
                           env=quiet)
    allowed = ("--require-hashes -r locks/setup.txt", "--no-deps --no-build-isolation -e .")
    installs = re.findall(r"pip install [^&|;\n]*", shown.stdout)
    assert installs and all(any(words in each for words in allowed) for each in installs), shown.stdout


def make_lock():
    """locks/make_lock.py as a module."""
    place = importlib.util.spec_from_file_location("make_lock", ROOT / "locks/make_lock.py")
    assert place is not None and place.loader is not None
    module = importlib.util.module_from_spec(place)
    place.loader.exec_module(module)
    return module


def file_of(name: str, digit: str) -> dict:
    return {"url": f"https://example.org/a/{name}", "hashes": {"sha256": digit * 64}}


WHEELS = [file_of(f"a-1.0-{tags}.whl", digit) for tags, digit in (
    ("cp311-cp311-manylinux_2_28_x86_64", "1"), ("cp313-cp313-manylinux2014_x86_64.manylinux_2_17_x86_64", "2"),
    ("cp39-abi3-manylinux_2_34_x86_64", "3"), ("py3-none-any", "4"),
    ("cp314-cp314-manylinux_2_28_x86_64", "8"), ("cp313-cp313t-manylinux_2_28_x86_64", "8"),
    ("cp311-cp311-musllinux_1_2_x86_64", "8"), ("cp311-cp311-manylinux_2_28_aarch64", "8"),
    ("cp312-cp312-win_amd64", "8"), ("cp312-cp312-macosx_11_0_arm64", "8"))]


@pytest.mark.parametrize(("package", "line", "digits"), [
    ({"wheels": WHEELS, "sdist": file_of("a-1.0.tar.gz", "9")}, "a==1.0", "1234"),
    ({"wheels": WHEELS[-3:], "sdist": file_of("a-1.0.tar.gz", "9")}, "a==1.0", "9"),
    ({"sdist": file_of("a-1.0.tar.gz", "9"), "marker": "python_full_version >= '3.12'"},
     "a==1.0 ; python_version == '3.12' or python_version == '3.13'", "9"),
    ({"wheels": WHEELS[:1], "marker": "python_full_version == '3.11.*' and sys_platform == 'linux'"},
     "a==1.0 ; python_version == '3.11'", "1"),
])
def test_an_entry_has_the_hashes_that_our_machines_can_install(package: dict, line: str, digits: str) -> None:
    made = make_lock().entry({"name": "a", "version": "1.0", **package})
    assert made == " \\\n    ".join([line, *(f"--hash=sha256:{digit * 64}" for digit in digits)])
    assert all(LINE.fullmatch(each) for each in made.split("\n"))


def test_a_package_that_no_python_of_ours_needs_is_left_out() -> None:
    assert make_lock().pythons_of({"name": "a", "marker": "sys_platform == 'win32'"}) == []
    assert make_lock().pythons_of({"name": "a"}) == list(PYTHONS)
