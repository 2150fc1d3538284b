"""kill -9 at any moment of a deploy, then the same command again: exactly one of everything."""

from __future__ import annotations

import os
import random
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest
from project import Prepared, Site, make_site
from standin.client import Forker

SEED = 20261122


def kill_after(site: Site, seconds: float) -> bool:
    """Start a deploy and kill it after so long; whether it was still running."""
    running = site.start()
    time.sleep(seconds)
    with suppress(ProcessLookupError):
        os.kill(running.pid, signal.SIGKILL)
    return running.wait().returncode == -signal.SIGKILL


def killed_at(count: int, prepared: Prepared, forker: Forker, folder: Path) -> dict[str, list[str]]:
    """Kill `count` deploys at random moments of their run, finish each; what was not exactly once."""
    clean = make_site(folder / "clean", prepared, forker)
    with clean.standin:
        started = time.monotonic()
        assert clean.deploy().returncode == 0
        length = time.monotonic() - started
    chance, found, killed = random.Random(SEED), {}, 0
    for number in range(count):
        moment = chance.uniform(0.0, length)
        site = make_site(folder / str(number), prepared, forker)
        with site.standin:
            killed += kill_after(site, moment)
            done = site.deploy()
            problems = site.problems()
            if done.returncode != 0:
                problems.append(f"exit code {done.returncode}: {done.stderr[-300:]}")
            if problems:
                found[f"{number} at {moment:.2f} s of {length:.2f} s"] = problems
    assert killed > count / 2
    print(f"\n{killed} of {count} deploys were killed within {length:.1f} s; {len(found)} left something wrong")
    return found


def test_ten_killed_deploys(prepared: Prepared, forker: Forker, tmp_path: Path) -> None:
    assert killed_at(10, prepared, forker, tmp_path) == {}


@pytest.mark.slow
def test_a_hundred_killed_deploys(prepared: Prepared, forker: Forker, tmp_path: Path) -> None:
    assert killed_at(100, prepared, forker, tmp_path) == {}


def test_killed_again_and_again(site: Site) -> None:
    """The same deploy killed a little later each time goes forward and never writes twice."""
    for step in range(1, 9):
        kill_after(site, 0.25 * step)
    assert site.deploy().returncode == 0
    assert site.problems() == []
