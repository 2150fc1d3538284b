"""Fixtures of the deploy tests: one prepared project for all, a fresh copy and a fresh server for each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from project import DEPLOY_IMPORTS, Prepared, Site, make_site, prepare, python_path, small_spec
from small_house import House, copy_code
from standin.client import Forker


@pytest.fixture(scope="session")
def code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of our code."""
    return copy_code(tmp_path_factory.mktemp("code"))


@pytest.fixture(scope="session")
def forker(code: Path) -> Iterator[Forker]:
    """Starts deploys quickly; each is still a process of its own, and so is the client in it."""
    with Forker(DEPLOY_IMPORTS, python_path(code)) as process:
        yield process


@pytest.fixture(scope="session")
def prepared(house: House, code: Path, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """A project of one net and one fold, its weights sealed."""
    return prepare(tmp_path_factory.mktemp("prepared"), house, small_spec(house), code)


@pytest.fixture
def site(prepared: Prepared, forker: Forker, tmp_path: Path) -> Iterator[Site]:
    """A project of its own and a server whose sessions are canned."""
    made = make_site(tmp_path, prepared, forker)
    with made.standin:
        yield made
