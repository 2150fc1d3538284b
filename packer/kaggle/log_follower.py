"""Show a running session's log as it comes, in a thread with a client process of its own."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable

from packer.kaggle.client import CallError, KaggleClient

LONGEST_DRAIN = 10.0  # seconds that a finished session's last lines may take
RECONNECTS = 50


class LogFollower:
    """Follows the newest session of a kernel. Trouble with it is never an error: the whole log is fetched later."""

    def __init__(self, client: KaggleClient, ref: str, say: Callable[[str], None]) -> None:
        self.client = KaggleClient(client.seconds, client.pace, client.lock)
        self.ref, self.say = ref, say
        self.thread: threading.Thread | None = None
        self.stopped = threading.Event()

    def start(self) -> None:
        """Begin, unless it has begun."""
        if self.thread is None:
            self.thread = threading.Thread(target=self._follow, daemon=True)
            self.thread.start()

    def _follow(self) -> None:
        seen = 0  # events; Kaggle begins anew after a broken connection
        for _ in self.client.pace.looks(RECONNECTS):
            if self.stopped.is_set():
                return
            try:
                for number, event in enumerate(self.client.stream_log(self.ref)):
                    if number >= seen:
                        seen += 1
                        for line in str(event.get("data", "")).rstrip("\n").splitlines():
                            self.say(f"| {line}")
                return
            except (CallError, OSError):
                pass  # not there yet, or the connection broke

    def finish(self) -> None:
        """The session has ended: let the last lines come."""
        if self.thread is not None:
            self.thread.join(LONGEST_DRAIN)

    def stop(self) -> None:
        """End the thread and its process."""
        self.stopped.set()
        if self.thread is not None:
            self.client.interrupt()
            self.thread.join(LONGEST_DRAIN)
        self.client.close()


def log_text(log: str) -> str:
    """Kaggle's log, a JSON array of {stream_name, time, data} or plain text, as plain text."""
    try:
        events = json.loads(log)
        return "".join(str(event.get("data", "")) for event in events)
    except (ValueError, AttributeError, TypeError):
        return log
