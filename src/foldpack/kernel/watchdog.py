"""What ends the kernel in time when its own loop cannot: a thread that watches the clock, and the signal of an end."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType

from foldpack.engine.deadline import Deadline
from foldpack.kernel.policy import END_SIGNALS, EXIT_LATE, signal_exit_code

WATCH_SECONDS = 1.0  # between two looks at the clock
FIRST_SECONDS = 30.0  # a loop that starts behind its deadline gets so long to see that
GRACE_SHARE = 1 / 3  # of the margin that the loop may use up after the deadline, until the watchdog ends the process


class Terminated(BaseException):
    """The process was asked to end (SIGTERM, or Ctrl-C). No Exception: nothing on the way may swallow it."""

    def __init__(self, number: int) -> None:
        super().__init__(f"signal {number}")
        self.exit_code = signal_exit_code(number)


class Watchdog:
    """Ends the process when the deadline is long over and the loop has not noticed, because it hangs.

    `on_late` returns the exit code; what is finished is on disk already. As a context manager it also turns SIGTERM
    and SIGINT into `Terminated`, raised in the main thread.
    """

    def __init__(self, deadline: Deadline, on_late: Callable[[], int]) -> None:
        self._deadline = deadline
        self._on_late = on_late
        self._done = threading.Event()
        self._before: dict[int, object] = {}
        self._started = time.monotonic()

    def __enter__(self) -> Watchdog:
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, raise_terminated) for number in END_SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _watch(self) -> None:
        while not self._done.wait(min(WATCH_SECONDS, max(0.01, self.late_in()))):
            if self.late_in() <= 0:
                code = EXIT_LATE
                try:
                    code = self._on_late()
                finally:  # whatever the last words run into: the process must end
                    os._exit(code)

    def late_in(self) -> float:
        """Seconds until the process is ended."""
        first = FIRST_SECONDS - (time.monotonic() - self._started)
        return max(first, self._deadline.left() + self._deadline.margin_seconds * GRACE_SHARE)


def raise_terminated(number: int, frame: FrameType | None) -> None:
    """Handler of SIGTERM and SIGINT."""
    raise Terminated(number)

