"""A packed kernel that is killed, starved and misled: it takes up where it was, and its submission is always valid."""

from __future__ import annotations

import contextlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from drilling import Drill, Trial, alive, children

from foldpack.engine.engine import MAX_LOSSES

RERUN = {"KAGGLE_IS_COMPETITION_RERUN": "1"}


def wait_until(true, seconds: float = 60.0) -> bool:
    """Whether something became true in time."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if true():
            return True
        time.sleep(0.005)
    return False


def units_finished(trial: Trial) -> int:
    """How many units are in the store."""
    return len(list((trial.output / ".foldpack" / "units").glob("*/*.rows")))


def rows_of_halves(trial: Trial) -> int:
    """How many rows of unfinished units are marked as whole."""
    marks = [path.read_bytes()[36:] for path in trial.output.glob(".foldpack/*/*/*.part/views")]
    return sum(int((np.frombuffer(each, np.uint16) > 0).sum()) for each in marks)


def kill_and_restart(drill: Drill, seed: int) -> tuple[bool, int]:
    """Kill a run at a random moment, look at what is there, start again. Returns whether it was killed, and after how
    many finished units."""
    dice = random.Random(seed)
    trial = drill.trial()
    slower = dice.choice([0.0, 0.1])  # for each of 16 batches, so that more moments lie between the units
    pid = drill.start(trial, fault=("slow", slower))
    time.sleep(dice.uniform(0.0, drill.seconds + 16 * slower))
    killed = drill.kill(pid) == -signal.SIGKILL
    finished = units_finished(trial)
    trial.require_valid()
    if dice.random() < 0.3:  # and once more
        pid = drill.start(trial)
        time.sleep(dice.uniform(0.0, drill.seconds))
        drill.kill(pid)
        trial.require_valid()
    assert drill.run(trial) == 0, trial.log
    assert trial.answer() == drill.unbroken, trial.log
    trial.require_tidy()
    shutil.rmtree(trial.folder)
    return killed, finished


@pytest.mark.parametrize("seed", range(6))
def test_killed_at_a_random_moment_and_started_again_it_answers_the_same(drill: Drill, seed: int) -> None:
    kill_and_restart(drill, seed)


@pytest.mark.slow
def test_killed_at_200_random_moments(drill: Drill, capsys: pytest.CaptureFixture[str]) -> None:
    seen = [kill_and_restart(drill, 1000 + seed) for seed in range(200)]
    counts = [sum(finished == count for killed, finished in seen if killed) for count in range(5)]
    with capsys.disabled():
        print(f"\n{sum(killed for killed, _ in seen)} of 200 runs were killed; after 0 to 4 finished units: {counts}")
    assert sum(killed for killed, _ in seen) > 100 and sum(count > 0 for count in counts) >= 3


def test_finished_units_are_not_computed_again(drill: Drill) -> None:
    trial = drill.trial()
    pid = drill.start(trial, fault=("slow", 0.1))
    assert wait_until(lambda: units_finished(trial) >= 2), trial.log
    drill.kill(pid)
    assert trial.require_valid()
    assert drill.run(trial) == 0 and trial.answer() == drill.unbroken
    assert "finished before) on CPU" in trial.log and "4 units (0 finished before)" not in trial.log.splitlines()[-12]
    assert any(f"({count} finished before)" in trial.log for count in (2, 3))


def test_half_a_unit_is_taken_up_where_it_was(drill: Drill) -> None:
    for workers in ((), ("--workers", "2")):
        trial = drill.trial()
        pid = drill.start(trial, *workers, fault=("slow", 0.3))
        assert wait_until(lambda trial=trial: rows_of_halves(trial) > 0), trial.log
        drill.kill(pid)
        assert drill.run(trial, *workers) == 0 and trial.answer() == drill.unbroken
        taken = re.findall(r"unit taken up: unit tiny_\w+/fold\d, rows (\d+)", trial.log)
        assert taken and set(taken) <= {"32", "40", "64", "72"}, trial.log
        trial.require_tidy()


def test_what_another_ensemble_has_finished_is_not_taken(drill: Drill, tmp_path: Path) -> None:
    """The store's names depend on the images: one that has changed makes every unit new."""
    trial = drill.own_inputs(tmp_path)
    pid = drill.start(trial, fault=("slow", 0.1))
    assert wait_until(lambda: units_finished(trial) >= 1), trial.log
    drill.kill(pid)
    images = sorted((trial.competition / "test").iterdir())
    content = images[1].read_bytes()
    images[0].unlink()
    images[0].write_bytes(content)
    assert drill.run(trial) == 0
    assert trial.log.count("(0 finished before)") == 2
    assert trial.answer() != drill.unbroken


def test_once_the_prior_is_written_a_submission_stands_at_every_moment(drill: Drill) -> None:
    """Killed without a restart; looked at while it runs, too."""
    trial = drill.trial()
    pid = drill.start(trial, fault=("slow", 0.02))
    assert wait_until(lambda: (trial.output / "submission.csv").exists())
    seen: set[bytes] = set()
    for _ in range(200):
        assert trial.require_valid()
        seen.add(trial.submission)
        if not alive(pid):
            break
        time.sleep(0.005)
    drill.kill(pid)
    assert trial.require_valid() and len(seen) >= 2


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_sigterm_and_ctrl_c_keep_the_best_so_far(drill: Drill, number: int, code: int) -> None:
    """The exit code tells the truth, except where only a code of 0 saves the submission: in the rerun."""
    for variables, expected in ((None, code), (RERUN, 0)):
        trial = drill.trial()
        pid = drill.start(trial, fault=("slow", 0.2), variables=variables)
        assert wait_until(lambda trial=trial: "in the submission after" in trial.log), trial.log
        assert drill.kill(pid, number) == expected, trial.log
        assert trial.require_valid() and f"terminated by signal {int(number)}" in trial.log
        assert len(set(trial.submission.split(b"\n"))) > 12  # not the prior
        assert drill.run(trial) == 0 and trial.answer() == drill.unbroken


def test_ctrl_c_reaches_the_workers_too_and_they_leave_it_to_the_engine(drill: Drill) -> None:
    """A terminal sends it to every process of the group."""
    trial = drill.trial()
    pid = drill.start(trial, "--workers", "2", fault=("slow", 0.2))
    assert wait_until(lambda: "in the submission after" in trial.log), trial.log
    workers = children(pid)
    assert len(workers) == 2
    os.killpg(pid, signal.SIGINT)
    assert drill.wait(pid) == 130, trial.log
    assert "Traceback" not in trial.log and "is lost" not in trial.log
    assert wait_until(lambda: not any(alive(worker) for worker in workers), 20), "orphans"
    assert trial.require_valid() and len(set(trial.submission.split(b"\n"))) > 12
    assert drill.run(trial) == 0 and trial.answer() == drill.unbroken


def has_library(pid: int, name: str) -> bool:
    """Whether a process has a library in its memory, so that its imports have begun."""
    with contextlib.suppress(OSError):
        return name in Path(f"/proc/{pid}/maps").read_text()
    return False


def test_ctrl_c_while_spawned_workers_import_is_quiet(drill: Drill) -> None:
    trial = drill.trial()
    command = [sys.executable, "-I", str(drill.house.build.script), *trial.arguments("--workers", "2")]
    with open(trial.folder / "log.txt", "w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True,
                                   env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert wait_until(lambda: sum(has_library(pid, "_multiarray_umath") for pid in children(process.pid)) == 2)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(60) == 130, trial.log
    assert "Traceback" not in trial.log and trial.require_valid()


def test_forked_workers_give_the_same_bits_also_when_they_are_killed(drill: Drill) -> None:
    for kills in (0, MAX_LOSSES - 1):  # one more may hit the same rows too often
        trial = drill.trial()
        pid = drill.start(trial, "--workers", "2", fault=("slow", 0.15 if kills else 0))
        for _ in range(kills):
            assert wait_until(lambda: len(children(pid)) >= 2)  # noqa: B023
            time.sleep(0.3)
            with contextlib.suppress(ProcessLookupError, IndexError):
                os.kill(children(pid)[-1], signal.SIGKILL)
        assert drill.wait(pid) == 0, trial.log
        assert trial.answer() == drill.unbroken, trial.log
        assert ("worker 1 on cpu is lost" in trial.log or "worker 0 on cpu is lost" in trial.log) == bool(kills)
        trial.require_tidy()


def test_workers_end_when_the_kernel_is_killed(drill: Drill) -> None:
    trial = drill.trial()
    pid = drill.start(trial, "--workers", "2", fault=("slow", 0.1))
    assert wait_until(lambda: units_finished(trial) >= 1), trial.log
    workers = children(pid)
    assert len(workers) == 2
    drill.kill(pid)
    assert wait_until(lambda: not any(alive(worker) for worker in workers), 20), "orphans"
    assert trial.require_valid()
    assert drill.run(trial) == 0 and trial.answer() == drill.unbroken


def test_spawned_workers_of_the_real_script_give_the_same_bits(drill: Drill) -> None:
    trial = drill.trial()
    command = [sys.executable, "-I", str(drill.house.build.script), *trial.arguments("--workers", "2")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300,
                          env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stdout + done.stderr
    assert trial.answer() == drill.unbroken


ON_SMALL_DISKS = """
for folder in /dev/shm "$SMALL/temp" "$SMALL/output"; do
    mkdir -p "$folder" && mount -t tmpfs -o size=2m small "$folder" || exit 77
done
export TMPDIR="$SMALL/temp"
"$@"
code=$?
cp -a "$SMALL/output" "$SMALL/kept"
exit $code
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_the_real_script_on_disks_without_room_for_images(drill: Drill, workers: int) -> None:
    """Spawned workers; 2 MB in each folder, which is less than is always left free: all images are streamed."""
    trial = drill.trial()
    command = ["unshare", "--mount", "sh", "-c", ON_SMALL_DISKS, "sh", sys.executable, "-I",
               str(drill.house.build.script), *trial.arguments("--workers", str(workers))]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=300,
                              env={**os.environ, "OMP_NUM_THREADS": "1", "SMALL": str(trial.folder)})
    except FileNotFoundError:
        pytest.skip("no unshare here")
    if done.returncode in (1, 77) and "decoded images" not in done.stdout:
        pytest.skip("no mounts of one's own here")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "72 of 72 images are decoded again for each unit" in done.stdout
    assert "images: decoded 72, repaired 0, prior 0" in done.stdout
    trial.output.rmdir()
    (trial.folder / "kept").rename(trial.output)
    assert trial.answer() == drill.unbroken
    trial.require_tidy()
    assert not list((trial.folder / "temp").iterdir())


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("room", [0, 4_000, 10_000, 100_000, 600_000])
def test_a_full_disk_is_named_and_what_was_finished_stands(drill: Drill, room: int, workers: int) -> None:
    """At the first byte, while a unit is written, after one; then too small for the decoded images, and large enough.

    Images that find no room are decoded again by the workers that read them: the answer has the same bits.
    """
    needed = 4 * (3_388 + 3_240)  # of the units: reserved, and written
    trial = drill.trial()
    arguments = ("--workers", str(workers)) if workers else ()
    code = drill.run(trial, *arguments, fault=("full", room))
    assert code == (2 if room < needed else 0), trial.log
    assert trial.require_valid()
    if code:
        told = [line for line in trial.log.splitlines() if line.startswith("error: ")]
        assert len(told) == 1 and "No space left on device" in told[0], trial.log
        assert drill.run(trial, fault=("full", room), variables=RERUN) == 0
        assert trial.require_valid()
    else:
        assert trial.answer() == drill.unbroken
        streamed = "72 of 72 images are decoded again for each unit" in trial.log
        assert streamed == (bool(workers) and room < 221_184), trial.log
    assert drill.run(trial) == 0 and trial.answer() == drill.unbroken


@pytest.mark.parametrize("pages", [1, 3, 4, 5, 6, 40])
def test_a_disk_that_is_really_small(drill: Drill, pages: int) -> None:
    """A disk of its own, of a few pages: whatever does not fit, a submission that is there is whole."""
    trial = drill.trial()
    code = drill.run(trial, fault=("disk", 4096 * pages))
    if code == 77:
        pytest.skip(trial.log.splitlines()[-1])
    kept = trial.folder / "output.kept"
    (trial.output).rmdir()
    kept.rename(trial.output)
    written = trial.require_valid()
    assert code in ((0,) if pages == 40 else (0, 1, 2)), trial.log
    assert code or trial.answer() == drill.unbroken  # predictions without room there went to the temporary folder
    assert written or pages <= 3, trial.log
    if code:
        assert "No space left on device" in trial.log or "are needed" in trial.log, trial.log
    for half in trial.output.glob(".submission*"):
        raise AssertionError(f"{half} is left")
    assert drill.run(trial) == 0 and trial.answer() == drill.unbroken


@pytest.mark.parametrize("most", [1, 7, 20])
def test_out_of_memory_at_every_batch(drill: Drill, most: int) -> None:
    trial = drill.trial()
    assert drill.run(trial, fault=("memory", most)) == 0, trial.log
    assert np.abs(trial.probs - drill.probs).max() <= 1e-5


def test_one_image_that_does_not_fit_is_an_error_and_the_prior_stands(drill: Drill) -> None:
    trial = drill.trial()
    assert drill.run(trial, fault=("memory", 0)) == 2
    assert "one image of 32 px does not fit into the memory of cpu" in trial.log
    assert trial.require_valid()


def test_a_run_that_hangs_is_ended_by_the_watchdog_and_taken_up_later(drill: Drill) -> None:
    for variables, expected in ((None, 3), (RERUN, 0)):
        trial = drill.trial()
        code = drill.run(trial, "--hours", "0.002", fault=("hang", 6), variables=variables)  # in the second unit
        assert code == expected, trial.log
        assert trial.require_valid() and "units 1 of 4" in trial.log
        assert drill.run(trial) == 0 and trial.answer() == drill.unbroken
        assert "(1 finished before)" in trial.log


def test_a_worker_that_hangs_is_replaced(drill: Drill) -> None:
    trial = drill.trial()
    assert drill.run(trial, "--workers", "2", fault=("hang", 6)) == 0, trial.log
    assert trial.answer() == drill.unbroken
    assert re.search(r"no answer for rows \d+ to \d+ in time", trial.log), trial.log


def test_mounts_that_moved_were_renamed_or_doubled(drill: Drill, tmp_path: Path) -> None:
    trial = drill.own_inputs(tmp_path)
    weights = next((trial.inputs / "datasets").glob("*/*"))
    for number, path in enumerate(sorted(weights.glob("*.sealed"))):
        path.rename(path.with_name(f"renamed {number}.bin"))
    shutil.copytree(weights, trial.inputs / "a" / "second" / "copy")
    shutil.move(trial.competition, trial.inputs / "flat")
    shutil.copytree(trial.inputs / "flat", trial.inputs / "zz" / "flat-again")
    assert drill.run(trial) == 0, trial.log
    assert trial.answer()[0] == drill.unbroken[0]
    assert np.array_equal(trial.probs, drill.probs)


def test_missing_weights_are_named_in_less_than_ten_seconds(drill: Drill, tmp_path: Path) -> None:
    trial = drill.own_inputs(tmp_path)
    sealed = sorted((trial.inputs / "datasets").rglob("*.sealed"))
    sealed[0].unlink()
    started = time.monotonic()
    assert drill.run(trial) == 2
    assert time.monotonic() - started < 10
    assert "sealed weights of tiny_" in trial.log and "attach the weights dataset" in trial.log
    assert trial.require_valid()
    assert drill.run(trial, variables=RERUN) == 0  # the other three stand
    assert "inputs missing" in trial.log and "3 of 4 units" in trial.log
    assert len(set(trial.submission.split(b"\n"))) > 12


@pytest.mark.parametrize("workers", [0, 2])
def test_a_damaged_file_is_an_error_and_in_the_rerun_the_others_stand(drill: Drill, tmp_path: Path,
                                                                      workers: int) -> None:
    trial = drill.own_inputs(tmp_path)
    path = sorted((trial.inputs / "datasets").rglob("*.sealed"))[1]
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.unlink()
    path.write_bytes(data)
    arguments = ("--workers", str(workers)) if workers else ()
    assert drill.run(trial, *arguments) == 2
    assert f"error: {path}" in trial.log
    assert trial.require_valid()
    assert drill.run(trial, *arguments, variables=RERUN) == 0
    assert "unit failed" in trial.log and "3 of 4 units" in trial.log
    assert trial.require_valid() and trial.submission != drill.unbroken[0]


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_an_error_that_nobody_foresaw_costs_one_unit_in_the_rerun(drill: Drill, workers: int) -> None:
    """In this process, in one worker process and in two: the same three units, and so the same bits."""
    answers = []
    for count in dict.fromkeys((0, workers)):
        trial = drill.trial()
        arguments = ("--workers", str(count)) if count else ()
        assert drill.run(trial, *arguments, fault=("error", 1), variables=RERUN) == 0, trial.log
        assert trial.log.count("unit failed: unit ") == 1 and "units 3 of 4" in trial.log
        answers.append(trial.answer())
    assert len(set(answers)) == 1 and answers[0] != drill.unbroken
    trial = drill.trial()
    assert drill.run(trial, *arguments, fault=("error", 1)) not in (0, 77), trial.log
    assert trial.require_valid() and "CUDNN_STATUS_EXECUTION_FAILED" in trial.log


def test_all_units_damaged_in_the_rerun_leave_the_prior(drill: Drill, tmp_path: Path) -> None:
    trial = drill.own_inputs(tmp_path)
    for path in (trial.inputs / "datasets").rglob("*.sealed"):
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.unlink()
        path.write_bytes(data)
    assert drill.run(trial, variables=RERUN) == 0
    assert trial.require_valid() and "holds the training prior" in trial.log
    assert drill.run(trial) == 2
