"""kill -9 at any moment of a deploy, then the same command again: exactly one of everything."""

from __future__ import annotations

import os
import random
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from project import SUBMIT, Prepared, Site, make_site
from standin.client import Forker
from standin.server import Fault

SEED = 20261122


def kill_after(site: Site, seconds: float, words: tuple[str, ...] = ()) -> bool:
    """Start a deploy and kill it after so long; whether it was still running."""
    running = site.start(*words)
    time.sleep(seconds)
    with suppress(ProcessLookupError):
        os.kill(running.pid, signal.SIGKILL)
    return running.wait().returncode == -signal.SIGKILL


def not_once(site: Site, words: tuple[str, ...]) -> list[str]:
    """Deploy again; what is then not exactly once."""
    done = site.deploy(*words)
    problems = site.problems()
    if done.returncode != 0:
        problems.append(f"exit code {done.returncode}: {done.stderr[-300:]}")
    if len(site.standin.submissions) != bool(words):
        problems.append(f"{len(site.standin.submissions)} submissions")
    if words and len(yaml.safe_load(site.ensemble.read_text()).get("history") or []) != 1:
        problems.append("the ensemble's history has not this one score")
    return problems


def killed_at(count: int, prepared: Prepared, forker: Forker, folder: Path,
              words: tuple[str, ...] = ()) -> dict[str, list[str]]:
    """Kill `count` deploys at random moments of their run, finish each; what was not exactly once."""
    clean = make_site(folder / "clean", prepared, forker)
    with clean.standin:
        started = time.monotonic()
        assert clean.deploy(*words).returncode == 0
        length = time.monotonic() - started
    chance, found, killed = random.Random(SEED), {}, 0
    for number in range(count):
        moment = chance.uniform(0.0, length)
        site = make_site(folder / str(number), prepared, forker)
        with site.standin:
            killed += kill_after(site, moment, words)
            if problems := not_once(site, words):
                found[f"{number} at {moment:.2f} s of {length:.2f} s"] = problems
    print(f"\n{killed} of {count} deploys were killed within {length:.1f} s; {len(found)} left something wrong")
    assert killed >= count // 3  # a busy machine may be slower in the clean run, and then many end before their moment
    return found


def test_some_killed_deploys(prepared: Prepared, forker: Forker, tmp_path: Path) -> None:
    assert killed_at(3, prepared, forker, tmp_path, SUBMIT) == {}


@pytest.mark.slow
@pytest.mark.parametrize("words", [(), SUBMIT])
def test_a_hundred_killed_deploys(prepared: Prepared, forker: Forker, tmp_path: Path, words: tuple[str, ...]) -> None:
    assert killed_at(100, prepared, forker, tmp_path, words) == {}


@pytest.mark.slow
def test_killed_again_and_again(site: Site) -> None:
    """The same deploy killed a little later each time goes forward and never writes twice."""
    for step in range(1, 9):
        kill_after(site, 0.25 * step)
    assert not_once(site, ()) == []


@pytest.mark.slow
@pytest.mark.parametrize("route", ["SaveKernel", "CreateDataset"])
def test_the_client_is_killed_in_the_middle_of_a_call(site: Site, route: str) -> None:
    """The deploy lives on, looks for what the lost call may still do (3 s at this pace), and sends nothing twice."""
    site.standin.faults.append(Fault("slow", route=route, seconds=1.0))
    running = site.start("--poll", "0.5")
    while not site.standin.calls(route):
        time.sleep(0.01)
    (worker,) = children(running.pid)
    os.kill(worker, signal.SIGKILL)
    done = running.wait()
    assert done.returncode == 0, done.stdout + done.stderr
    assert site.problems() == [] and len(site.standin.calls(route)) == 1


def children(pid: int) -> list[int]:
    """The processes that a process has started."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            if int(stat.read_text().rpartition(")")[2].split()[1]) == pid:
                found.append(int(stat.parent.name))
    return found
