"""What ends a kernel that cannot end itself: the signal of an end, and the watchdog, in processes of their own."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

from foldpack.engine.deadline import Deadline
from foldpack.kernel.watchdog import Terminated, Watchdog

START = """
import sys, time
from foldpack.kernel import watchdog as watch
from foldpack.engine.deadline import Deadline
watch.FIRST_SECONDS = 0.2
def last_words():
    print("the best so far is on disk", flush=True)
    return 3
"""
HANG = START + """
with watch.Watchdog(Deadline(0.5 / 3600, 0.3), last_words):
    print("begun", flush=True)
    time.sleep(60)
"""
FAILING = START + """
def no_words():
    raise OSError("the screen is gone")
with watch.Watchdog(Deadline(0.5 / 3600, 0.3), no_words):
    time.sleep(60)
"""
BUSY = START + """
with watch.Watchdog(Deadline(0.5 / 3600, 0.3), last_words):
    while True:
        try:
            time.sleep(0.001)
        except Exception:
            pass
"""
IN_TIME = START + """
with watch.Watchdog(Deadline(1.0 / 3600, 0.3), last_words):
    pass
time.sleep(1.5)
print("alive")
"""
TERMINATED = START + """
try:
    with watch.Watchdog(Deadline(1.0, 0.3), last_words):
        print("begun", flush=True)
        try:
            time.sleep(60)
        except Exception:
            print("swallowed")
except watch.Terminated as ending:
    print("flushed after", ending)
    sys.exit(143)
"""


@pytest.mark.parametrize("code", [HANG, BUSY])
def test_a_loop_that_does_not_see_its_deadline_is_ended(code: str) -> None:
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=50)
    assert done.returncode == 3 and "the best so far is on disk" in done.stdout
    assert time.monotonic() - started < 40


def test_last_words_that_fail_do_not_keep_the_process_alive() -> None:
    done = subprocess.run([sys.executable, "-c", FAILING], capture_output=True, text=True, timeout=50)
    assert done.returncode == 3


def test_who_is_in_time_is_left_alone() -> None:
    done = subprocess.run([sys.executable, "-c", IN_TIME], capture_output=True, text=True, timeout=50)
    assert (done.returncode, done.stdout) == (0, "alive\n")


def test_sigterm_is_raised_in_the_main_thread_and_nothing_swallows_it() -> None:
    process = subprocess.Popen([sys.executable, "-c", TERMINATED], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "begun\n"
    process.send_signal(signal.SIGTERM)
    assert process.stdout.read() == "flushed after signal 15\n"
    assert process.wait(20) == 143


def test_the_handler_of_before_comes_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with Watchdog(Deadline(1.0, 0.1), lambda: 3):
        assert signal.getsignal(signal.SIGTERM) is not before
        with pytest.raises(Terminated, match="signal 15"):
            signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before


def test_the_grace_is_a_third_of_the_margin_so_it_ends_before_the_limit_less_three_percent() -> None:
    clock = [0.0]
    dog = Watchdog(Deadline(10.0, 0.06, lambda: clock[0]), lambda: 3)
    dog._started -= 100.0  # the first seconds are over
    assert dog.late_in() == pytest.approx(36_000 * 0.96)
    clock[0] = 36_000 * 0.97
    assert dog.late_in() < 0
