"""Ctrl-C, as a real signal to the real command: it says so, keeps what the docs promise, and ends with 130."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from foldpack.search.files.blend_spec import read_blend

ROOT = Path(__file__).resolve().parents[2]
SIZES = (90, 80, 70)  # of the folds
WAITING = """import time
from pathlib import Path
from foldpack.metrics.classification import accuracy

def metric(y, p):
    if len(y) == {rows} and not Path("waiting").exists():
        Path("waiting").touch()
        time.sleep(300)
    return accuracy(y, p)
"""


@pytest.fixture
def folder(tmp_path):
    """Two members, labels and folds; and the ensemble of an earlier search."""
    rng = np.random.default_rng(1)
    y = rng.integers(0, 3, sum(SIZES))
    for name, noise in (("a", 0.6), ("b", 1.0)):
        odds = 1.5 * np.eye(3)[y] + rng.normal(0, noise, (len(y), 3))
        np.save(tmp_path / f"{name}.npy", np.exp(odds) / np.exp(odds).sum(axis=1, keepdims=True))
    np.save(tmp_path / "y.npy", y)
    np.save(tmp_path / "folds.npy", np.repeat(np.arange(3), SIZES))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "best.yml").write_text("old")
    return tmp_path


def interrupted(folder, metric, ready, *options):
    """Run the search, press Ctrl-C as soon as `ready()`, and wait for the end."""
    command = [sys.executable, str(ROOT / "ensemble_search.py"), "best", "a.npy", "b.npy", "--labels", "y.npy",
               "--folds", "folds.npy", "--metric", metric, "--out", "out", *options]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               env=environment, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    try:
        end = time.monotonic() + 120
        while not ready() and process.poll() is None and time.monotonic() < end:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 130, err
    assert "Traceback" not in out + err
    assert err.strip().splitlines()[-1] == "interrupted; finished parts are kept"
    return out


def whole_files(folder):
    """The report's numbers, after a look at everything that was written."""
    names = sorted(path.name for path in (folder / "out").iterdir() if path.is_file())
    assert names == ["best.report.html", "best.report.json", "best.yml"]
    assert (folder / "out/best.report.html").read_text().endswith("</html>\n")
    spec = read_blend(folder / "out/best.yml")
    numbers = json.loads((folder / "out/best.report.json").read_text())
    assert spec.metric.oof == pytest.approx(numbers["scores"]["in_sample"], abs=1e-6) and numbers["interrupted"]
    return spec, numbers


def waits(folder, rows):
    (folder / "slow.py").write_text(WAITING.format(rows=rows))
    return (folder / "waiting").exists


@pytest.mark.parametrize("rows", [SIZES[1] + SIZES[2], SIZES[2]], ids=["first fold's fit", "third fold's score"])
def test_in_the_choice_the_best_so_far_is_kept_and_level_two_is_not_begun(folder, rows):
    out = interrupted(folder, "slow.py", waits(folder, rows), "--level2")
    note = "Ctrl-C ended the choice: the best found so far is kept, its nested score is missing"
    assert f"  note: {note}\n" in out and "ensemble out/best.yml" in out and "  nested " not in out
    spec, numbers = whole_files(folder)
    assert numbers["notes"][0] == note and "level 2 was not tried: the blend stands" in numbers["notes"]
    assert spec.metric.nested is None and numbers["scores"]["nested"] is None and not spec.last.level2


def test_in_level_two_the_blend_stands_with_its_nested_score(folder):
    trials = folder / "trials.journal"
    out = interrupted(folder, "accuracy", lambda: trials.is_file() and trials.stat().st_size > 4000, "--level2",
                      "--level2-trials", "100000", "--study", "trials.journal")
    assert "  note: level 2 was interrupted: the blend stands\n" in out and "  nested 0." in out
    spec, _ = whole_files(folder)
    assert not spec.last.level2 and spec.metric.nested is not None
    assert not list((folder / "out").glob("best/*"))


def test_before_the_choice_nothing_is_kept(folder):
    interrupted(folder, "slow.py", waits(folder, sum(SIZES)))
    assert [path.name for path in (folder / "out").iterdir()] == ["best.yml"]
    assert (folder / "out/best.yml").read_text() == "old"
