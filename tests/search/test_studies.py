"""A study in a real PostgreSQL, where two processes at once tune on it. Left out where there is no server to start."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from foldpack.errors import DataError
from foldpack.search.studies import open_database, open_study

WORKER = """
import sys
from foldpack.search.studies import open_study
study = open_study(sys.argv[1], "shared", "digest", "data")
for _ in range(5):
    trial = study.ask()
    study.tell(trial, trial.suggest_float("x", 0, 1) ** 2)
"""


def find_program(name: str) -> str:
    """Of the server; Debian keeps them off the path."""
    found = [str(path) for path in sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))] or [shutil.which(name)]
    if found[-1] is None:
        pytest.skip(f"there is no {name} here: install PostgreSQL")
    return found[-1]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The URL of a server of our own, behind a socket; it refuses to be run by root."""
    pytest.importorskip("psycopg")
    initdb, pg_ctl = find_program("initdb"), find_program("pg_ctl")
    owner = None
    if os.geteuid() == 0:
        owner = next((each.pw_name for each in pwd.getpwall() if each.pw_name == "postgres"), None)
        if owner is None:
            pytest.skip("PostgreSQL does not run as root, and there is no user postgres")
    with tempfile.TemporaryDirectory(prefix="foldpack-pg-") as name:
        folder = Path(name)
        if owner is not None:
            shutil.chown(folder, owner)
        run = {"user": owner, "cwd": folder, "check": True, "stdout": subprocess.DEVNULL}
        subprocess.run([initdb, "-D", folder / "db", "-U", "tuner", "-A", "trust", "--no-sync"], **run)
        options = f"-k {folder} -c listen_addresses='' -c fsync=off"
        subprocess.run([pg_ctl, "-D", folder / "db", "-o", options, "-l", folder / "log", "-w", "start"], **run)
        try:
            yield f"postgresql+psycopg://tuner@/postgres?host={folder}"
        finally:
            subprocess.run([pg_ctl, "-D", folder / "db", "-m", "immediate", "stop"], **run)


@pytest.mark.slow
def test_two_processes_share_a_study_in_postgresql(server: str) -> None:
    study = open_study(server, "shared", "digest", "data")
    both = [subprocess.Popen([sys.executable, "-c", WORKER, server]) for _ in range(2)]
    assert [process.wait() for process in both] == [0, 0]
    trials = study.get_trials()
    assert len(trials) == 10 and [trial.number for trial in trials] == list(range(10))
    assert study.best_value == min(trial.params["x"] ** 2 for trial in trials)
    with pytest.raises(DataError, match="'shared' was made on other data"):
        open_study(server, "shared", "another digest", "data")


@pytest.mark.slow
def test_a_database_that_is_not_there_is_told_without_its_password(server: str) -> None:
    with pytest.raises(DataError, match="the database cannot be opened") as failure:
        open_database(server.replace("tuner@/postgres", "tuner:secret@/nobody"))
    assert "secret" not in str(failure.value) and "\n" not in str(failure.value)
