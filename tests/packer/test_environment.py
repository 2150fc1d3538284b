"""The two scripts run in a new shell: they find the checkout's environment, or say in one line what to do."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from small_house import PROJECT, load_app

from foldpack.commands.main import app as foldpack

SCRIPTS = {"ensemble_search.py": "search", "deploy_kernel.py": "deploy"}


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with no package at all."""
    folder = tmp_path_factory.mktemp("bare") / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    return folder


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What the scripts need of a checkout, without an environment."""
    for script in SCRIPTS:
        shutil.copy(PROJECT / script, tmp_path)
    shutil.copytree(PROJECT / "packer", tmp_path / "packer", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def shell(script: Path, bare: Path, *words: str, venv: Path | str | None = None) -> subprocess.CompletedProcess:
    """Run a script as `./script` does where `python3` has none of our packages."""
    environment = {"PATH": "/usr/bin:/bin"} | ({} if venv is None else {"VENV": str(venv)})
    return subprocess.run([str(bare / "bin" / "python"), str(script), *words], capture_output=True, text=True,
                          cwd=bare, env=environment)


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_goes_on_in_the_environment_of_its_checkout(checkout: Path, bare: Path, script: str) -> None:
    (checkout / ".venv").symlink_to(sys.prefix)
    shown = shell(checkout / script, bare, "--version")
    assert (shown.stdout, shown.stderr, shown.returncode) == (f"foldpack {version('foldpack')}\n", "", 0)


def test_venv_says_where_the_environment_is(checkout: Path, bare: Path) -> None:
    (checkout / "elsewhere").symlink_to(sys.prefix)
    for venv in (sys.prefix, "elsewhere"):
        shown = shell(checkout / "ensemble_search.py", bare, "--version", venv=venv)
        assert (shown.returncode, shown.stderr) == (0, "")


@pytest.mark.parametrize("script", SCRIPTS)
def test_without_an_environment_one_line_says_what_to_do(checkout: Path, bare: Path, script: str) -> None:
    shown = shell(checkout / script, bare, "--help")
    assert shown.returncode == 2 and shown.stderr == (
        f"error: {checkout}/.venv: the project's environment is not there; run `make setup` in {checkout}, or set VENV "
        "to its folder\n")


def test_an_environment_without_packages_is_told(checkout: Path, bare: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(other)], check=True)
    shown = shell(checkout / "deploy_kernel.py", bare, "--help", venv=other)
    assert shown.returncode == 2 and shown.stderr == (
        f"error: {other}: the project's environment is not complete; run `make setup` in {checkout}\n")


@pytest.mark.parametrize(("script", "command"), SCRIPTS.items())
def test_a_script_is_a_command_of_foldpack(script: str, command: str) -> None:
    assert os.access(PROJECT / script, os.X_OK)
    [only] = load_app(script).registered_commands
    [same] = [each for each in foldpack.registered_commands if each.name == command]
    assert only.callback is same.callback
