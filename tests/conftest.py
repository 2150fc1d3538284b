"""Fixtures for all tests. Nothing heavy is imported here: torch is loaded only by the tests that need it."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

# Tiny networks are quickest on one thread, and several threads stall each other on a busy machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")  # numbers are compared with those of the CPU
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # or its import asks the network for a newer version


@pytest.fixture(scope="session", autouse=True)
def private_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test reads or writes the developer's keyring, credentials or caches."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(home))
        patch.setenv("XDG_CONFIG_HOME", str(home / ".config"))
        patch.setenv("XDG_CACHE_HOME", str(home / ".cache"))
        for name in ("KAGGLE_USERNAME", "KAGGLE_KEY", "KAGGLE_CONFIG_DIR", "KAGGLE_KERNEL_RUN_TYPE"):
            patch.delenv(name, raising=False)
        yield


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory):
    """A small digits competition with two trained runs, their ensemble and the packed kernel. Read only: copy first."""
    from small_house import make_house

    return make_house(tmp_path_factory.mktemp("house"))
