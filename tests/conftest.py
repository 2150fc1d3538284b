"""Fixtures for all tests. Nothing heavy is imported here: torch is loaded only by the tests that need it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# The same examples on every machine and in every run; `FOLDPACK_TESTS=random make test` looks for new ones.
settings.register_profile("same", derandomize=True, database=None, deadline=None)
if os.environ.get("FOLDPACK_TESTS") != "random":
    settings.load_profile("same")
# Tiny networks are quickest on one thread, and several threads stall each other on a busy machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")  # numbers are compared with those of the CPU
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # or its import asks the network for a newer version
# What a shell may have set that changes what programs write, or where they look.
SHELL = ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "CLICOLOR_FORCE", "TERMINAL_WIDTH", "VENV", "PYTHONSAFEPATH")


@pytest.fixture(scope="session", autouse=True)
def private_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test reads or writes the developer's keyring, credentials or caches, or follows the settings of a shell."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(home))
        patch.setenv("XDG_CONFIG_HOME", str(home / ".config"))
        patch.setenv("XDG_CACHE_HOME", str(home / ".cache"))
        for name in [*SHELL, *(each for each in os.environ if each.startswith(("KAGGLE_", "FOLDPACK_", "GIT_")))]:
            patch.delenv(name, raising=False)
        # A pack names the commit of its checkout; what tests copy lies in none, wherever their folders are.
        patch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path_factory.getbasetemp()))
        patch.setenv("GIT_CONFIG_NOSYSTEM", "1")
        before = os.umask(0o022)
        yield
        os.umask(before)


@pytest.fixture(scope="session", autouse=True)
def no_power_cut() -> Iterator[None]:
    """What is written survives a killed process without being synced to the disk, which takes longer than all else.

    `posix.fsync` is the real one.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory):
    """A small digits competition with two trained runs, their ensemble and the packed kernel. Read only: copy first."""
    from small_house import make_house

    return make_house(tmp_path_factory.mktemp("house"))


@pytest.fixture(scope="session")
def embed_place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small retrieval competition with two trained runs and their ensemble: `embed_place.py`. Read only."""
    from embed_place import make_embed_place

    return make_embed_place(tmp_path_factory.mktemp("embed"))
