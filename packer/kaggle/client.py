"""Calls to Kaggle through the real client, in a child process that cannot print, exit or wait for ever on us."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from foldpack.errors import FoldpackError
from packer.kaggle.exits import DeployError, Exit
from packer.kaggle.pace import Pace

KERNELS = ("kernels", "kernels_api_client")
DATASETS = ("datasets", "dataset_api_client")
COMPETITIONS = ("competitions", "competition_api_client")
SERVICES = {
    "save_kernel": KERNELS,
    "get_kernel": KERNELS,
    "list_kernels": KERNELS,
    "get_kernel_session_status": KERNELS,
    "list_kernel_session_output": KERNELS,
    "get_accelerator_quota_statistics": KERNELS,
    "get_dataset": DATASETS,
    "get_dataset_status": DATASETS,
    "list_dataset_files": DATASETS,
    "create_dataset": DATASETS,
    "create_dataset_version": DATASETS,
    "start_blob_upload": ("blobs", "blob_api_client"),
    "create_code_submission": COMPETITIONS,
    "get_submission": COMPETITIONS,
    "list_submissions": COMPETITIONS,
}
WORKER = Path(__file__).with_name("worker.py")
START_SECONDS = 60.0  # that the worker may take to import the client, on top of one request's time
TRIES = 6  # of a question, and of a change that had no effect
SETTLE_LOOKS = 6  # at what is there before an unanswered change counts as one without effect: 2.5 minutes by default
LONGEST_REQUESTED_PAUSE = 300.0  # seconds that a Retry-After may make us wait

Answer = dict[str, Any]
Found = TypeVar("Found")


class CallError(FoldpackError):
    """A request that failed. kind: `http` answered with an error code; `unsent` never left; `lost` may have worked."""

    def __init__(self, method: str, kind: str, code: int = 0, message: str = "",
                 retry_after: str | None = None) -> None:
        self.method, self.kind, self.code, self.message = method, kind, code, message
        self.retry_after = float(retry_after) if retry_after and retry_after.isdigit() else 0.0
        super().__init__(f"{method}: {f'{code} ' if code else ''}{message}")

    @property
    def absent(self) -> bool:
        """Kaggle says the same of what is missing and of what belongs to somebody else."""
        return self.code in (403, 404)

    @property
    def maybe_done(self) -> bool:
        """Whether the request may have had its effect all the same."""
        return self.kind == "lost" or self.code >= 500

    @property
    def passing(self) -> bool:
        """Whether trying again may help."""
        return self.maybe_done or self.kind == "unsent" or self.code == 429

    def deploy_error(self) -> DeployError:
        """What the user is told."""
        said = f"{self.method.replace('_', ' ')}: {self.code or ''} {self.message}".replace(":  ", ": ")
        if self.kind == "credentials" or self.code == 401:
            return DeployError(f"Kaggle does not take your credentials ({said}); make a new token on "
                               "kaggle.com/settings and save it with mode 0600", Exit.CREDENTIALS)
        if self.kind == "unsent":
            return DeployError(f"Kaggle cannot be reached ({said}); check the network and HTTPS_PROXY, then run the "
                               "same command again", Exit.UNREACHABLE)
        if self.code == 409:
            return DeployError(f"Kaggle says that the name is taken ({said}); rename the ensemble", Exit.SLUG_TAKEN)
        if self.passing:
            return DeployError(f"Kaggle kept failing ({said}); run the same command again: it takes up where this one "
                               "ended", Exit.FAILING)
        return DeployError(f"Kaggle refused the request ({said})", Exit.REFUSED)


class Worker:
    """One child process. `lock`: a file descriptor that it keeps open as long as it lives."""

    def __init__(self, lock: int | None = None) -> None:
        command = [sys.executable, "-P", str(WORKER), str(os.getpid())]  # -P: our modules hide none of the client's
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL, pass_fds=() if lock is None else (lock,))
        self.buffer = b""

    def ask(self, call: dict[str, object]) -> None:
        """Send a request. Raises OSError when the process is gone."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(call).encode() + b"\n")
        self.process.stdin.flush()

    def next_message(self, seconds: float) -> Answer | None:
        """The next line, None when none came in time or the process ended."""
        assert self.process.stdout is not None
        until = time.monotonic() + seconds
        while b"\n" not in self.buffer:
            left = until - time.monotonic()
            if left <= 0 or not select.select([self.process.stdout], [], [], left)[0]:
                return None
            piece = os.read(self.process.stdout.fileno(), 1 << 16)
            if not piece:
                return None
            self.buffer += piece
        line, _, self.buffer = self.buffer.partition(b"\n")
        return json.loads(line)

    def kill(self) -> None:
        """End it at once."""
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                try:
                    stream.close()
                except OSError:
                    pass  # what was still to be written to it


@dataclass(frozen=True)
class Written(Generic[Found]):
    """How a change ended: with Kaggle's answer, or with what was found there after a failure."""

    answer: Answer | None
    found: Found | None


class KaggleClient:
    """The calls. seconds: that one request may take. Use as a context manager."""

    def __init__(self, seconds: float = 120.0, pace: Pace | None = None, lock: int | None = None,
                 say: Callable[[str], None] = lambda text: None) -> None:
        self.seconds, self.pace, self.lock, self.say = seconds, pace or Pace(), lock, say
        self._worker: Worker | None = None
        self._username: str | None = None

    def __enter__(self) -> KaggleClient:
        return self

    def __exit__(self, *reason: object) -> None:
        self.close()

    def close(self) -> None:
        """End the child process."""
        if self._worker is not None:
            self._worker.kill()
            self._worker = None

    def interrupt(self) -> None:
        """End a request that another thread waits for."""
        if (worker := self._worker) is not None:
            worker.process.kill()

    def _started(self) -> Worker:
        if self._worker is None:
            self._worker = Worker(self.lock)
            self._username = str(self._result("sign_in", self.seconds + START_SECONDS)["username"])
        return self._worker

    def _result(self, method: str, seconds: float) -> Answer:
        assert self._worker is not None
        message = self._worker.next_message(seconds)
        if message is None:
            self.close()
            raise CallError(method, "lost", 0, f"no answer within {seconds:g} s")
        if "error" in message:
            if method == "sign_in":
                self.close()
            raise CallError(method, **message["error"])
        return message["answer"]

    def username(self) -> str:
        """Whose credentials these are. Raises DeployError."""
        def start(_: str, __: Answer) -> Answer:
            self._started()
            return {"username": self._username}
        try:
            return str(self._patiently(start, "sign_in", {})["username"])
        except CallError as error:
            raise error.deploy_error() from None

    def call(self, method: str, request: Answer) -> Answer:
        """One request, tried once. Raises CallError. The wire's own names go in and come out."""
        service, client = SERVICES[method]
        try:
            self._started().ask({"service": service, "client": client, "method": method, "request": request})
        except OSError:
            self.close()
            raise CallError(method, "lost", 0, "the client's process ended") from None
        return self._result(method, self.seconds)

    def _patiently(self, send: Callable[[str, Answer], Answer], method: str, request: Answer) -> Answer:
        failure: CallError | None = None
        for _ in self.pace.looks(TRIES):
            try:
                return send(method, request)
            except CallError as error:
                if not error.passing:
                    raise
                failure = error
            self.say(f"{failure}; asking again")
            self.pace.sleep(min(failure.retry_after, LONGEST_REQUESTED_PAUSE))
        assert failure is not None
        raise failure.deploy_error()

    def ask(self, method: str, request: Answer) -> Answer:
        """A question: tried again while that may help. Raises DeployError, or CallError for a refusal."""
        return self._patiently(self.call, method, request)

    def ask_if_there(self, method: str, request: Answer) -> Answer | None:
        """The answer, None when the thing is missing or somebody else's. Raises DeployError."""
        try:
            return self.ask(method, request)
        except CallError as error:
            if error.absent:
                return None
            raise error.deploy_error() from None

    def pages(self, method: str, request: Answer, needed: bool = False) -> Iterator[Answer]:
        """All pages of a listing. Raises DeployError; when the thing is not there, only if it is `needed`."""
        token = ""
        while True:
            page = self.ask_if_there(method, {**request, **({"pageToken": token} if token else {})})
            if page is None and needed:
                raise DeployError(f"Kaggle does not show what it said it has ({method.replace('_', ' ')}: 403 or 404); "
                                  "look at its page, and run the same command again", Exit.REFUSED)
            if page is None:
                return
            yield page
            token = str(page.get("nextPageToken") or "")
            if not token:
                return

    def change(self, method: str, request: Answer, look: Callable[[], Found | None]) -> Written[Found]:
        """Make a change exactly once. look: says what is there if the change has had its effect, else None.

        After a failure that leaves this open, `look` decides; only when it finds nothing is the request sent again.
        Raises CallError for a refusal, DeployError.
        """
        failure: CallError | None = None
        unclear = False
        for _ in self.pace.looks(TRIES):
            try:
                return Written(self.call(method, request), None)
            except CallError as error:
                failure = error
            unclear = unclear or failure.maybe_done
            self.say(f"{failure}")
            if unclear and (found := self.settled(look)) is not None:
                self.say(f"{method}: it had its effect all the same")
                return Written(None, found)
            if not failure.passing:
                raise failure
            self.pace.sleep(min(failure.retry_after, LONGEST_REQUESTED_PAUSE))
        assert failure is not None
        raise failure.deploy_error()

    def settled(self, look: Callable[[], Found | None]) -> Found | None:
        """What `look` finds within some looks: Kaggle may take a moment to show what it has just saved."""
        for _ in self.pace.looks(SETTLE_LOOKS):
            if (found := look()) is not None:
                return found
        return None

    def stream_log(self, kernel: str) -> Iterator[Answer]:
        """Events of the newest session's log as they come: {stream_name, time, data}. Raises CallError."""
        worker = self._started()
        worker.ask({"method": "stream_log", "request": {"kernel": kernel}})
        while (message := worker.next_message(self.seconds)) is not None and "event" in message:
            yield message["event"]
        if message is None or "error" in message:
            self.close()
            raise CallError("stream_log", "lost", 0, "the stream broke")


