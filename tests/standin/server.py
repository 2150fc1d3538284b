"""A stand-in for Kaggle on this machine: the real, unpatched `kaggle` package talks to it through HTTP_PROXY.

The client, told that its environment is LOCALHOST, asks for http://localhost/api/v1/...; the proxy variable brings
these requests here. Nothing leaves the machine: everything that is not http://localhost is refused and recorded.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

from standin.competitions import Competitions
from standin.datasets import Datasets
from standin.errors import ApiError
from standin.faults import Fault
from standin.handler import Handler
from standin.kernels import Kernels
from standin.sessions import CannedRunner, Competition, Runner, SandboxRunner
from standin.state import Dataset, Kernel, KernelVersion, Store, Submission

__all__ = ["CannedRunner", "Competition", "Fault", "Request", "SandboxRunner", "StandIn"]

Body = dict[str, Any]
Route = Callable[[str, Body, Fault | None], Body]


class QuietServer(ThreadingHTTPServer):
    """A client that goes away in the middle of an answer is no error here: tests kill clients."""

    daemon_threads = True
    standin: StandIn

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Tell every error but a broken connection."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


@dataclass
class Request:
    """What the client sent. Credentials are not kept, only whose they were."""

    index: int
    method: str
    path: str
    route: str  # the method's name for API calls (SaveKernel), else GET or PUT
    user: str
    body: Body
    status: int = 0  # 0: no answer was given
    fault: str = ""


class StandIn:
    """The server, its state and its interface for tests. Use as a context manager."""

    def __init__(self, state: Path, competitions: dict[str, Competition] | None = None,
                 runner: Runner | None = None, *, user: str = "someone", key: str = "0123456789abcdef" * 2,
                 token: str = "KGAT_" + "5" * 32, missing: int = 403, processing: int = 2, scoring: int = 2,
                 gpu_hours: float = 30.0, daily: int = 5, port: int = 0) -> None:
        self.store = Store(state)
        self.competitions = competitions or {}
        self.runner: Runner = runner or CannedRunner()
        self.user, self.key, self.token = user, key, token
        self.requests: list[Request] = []
        self.faults: list[Fault] = []
        self.missing = missing
        self.later: list[tuple[int, Callable[[], object]]] = []  # effects that wait for the request with this index
        self._kernels = Kernels(self.store, self.competitions, self.runner, missing, gpu_hours)
        self._datasets = Datasets(self.store, missing, processing)
        self._competitions = Competitions(self.store, self.competitions, self._kernels, daily, scoring)
        self.routes = self._routes()
        self.http = QuietServer(("127.0.0.1", port), Handler)
        self.http.standin = self
        self._thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    def _routes(self) -> dict[str, Route]:
        kernels, datasets, competitions = self._kernels, self._datasets, self._competitions
        return {
            "SaveKernel": kernels.save_kernel,
            "GetKernel": kernels.get_kernel,
            "ListKernels": kernels.list_kernels,
            "GetKernelSessionStatus": kernels.get_kernel_session_status,
            "ListKernelSessionOutput": kernels.list_kernel_session_output,
            "ListKernelFiles": kernels.list_kernel_files,
            "CancelKernelSession": kernels.cancel_kernel_session,
            "GetAcceleratorQuotaStatistics": kernels.get_accelerator_quota_statistics,
            "StartBlobUpload": datasets.start_blob_upload,
            "CreateDataset": datasets.create_dataset,
            "CreateDatasetVersion": datasets.create_dataset_version,
            "GetDatasetStatus": datasets.get_dataset_status,
            "GetDataset": datasets.get_dataset,
            "GetDatasetMetadata": datasets.get_dataset_metadata,
            "ListDatasets": datasets.list_datasets,
            "ListDatasetFiles": datasets.list_dataset_files,
            "DownloadDataset": datasets.download_dataset,
            "CreateCodeSubmission": competitions.create_code_submission,
            "GetSubmission": competitions.get_submission,
            "ListSubmissions": competitions.list_submissions,
            "GetSubmissionLimits": competitions.get_submission_limits,
            "IntrospectToken": self.introspect_token,
        }

    def __enter__(self) -> StandIn:
        self._thread.start()
        return self

    def __exit__(self, *args: object) -> None:
        if isinstance(self.runner, SandboxRunner):
            self.runner.stop()
        self.http.shutdown()
        self.http.server_close()
        for thread in self._kernels.threads:
            thread.join(timeout=10)

    @property
    def port(self) -> int:
        """Where it listens, on 127.0.0.1."""
        return self.http.server_address[1]

    @property
    def kernels(self) -> dict[str, Kernel]:
        """Kernels by owner/slug."""
        return self.store.world.kernels

    @property
    def datasets(self) -> dict[str, Dataset]:
        """Datasets by owner/slug."""
        return self.store.world.datasets

    @property
    def submissions(self) -> list[Submission]:
        """Code submissions, oldest first."""
        return self.store.world.submissions

    def source(self, version: KernelVersion) -> str:
        """The text of a pushed version."""
        return self.store.source(version)

    def calls(self, route: str) -> list[Request]:
        """The recorded requests of one route."""
        return [one for one in self.requests if one.route == route]

    def environment(self, folder: Path, token: bool = False) -> dict[str, str]:
        """Variables with which a subprocess reaches this server and nothing else; credentials lie in folder/home.

        token: write an access token instead of a user name and key.
        """
        home, temporary = folder / "home", folder / "tmp"
        credentials = home / ".kaggle" / ("access_token" if token else "kaggle.json")
        credentials.parent.mkdir(parents=True, exist_ok=True)
        temporary.mkdir(exist_ok=True)
        credentials.write_text(self.token if token else json.dumps({"username": self.user, "key": self.key}))
        credentials.chmod(0o600)
        kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH", "LANG") if name in os.environ}
        proxy = f"http://127.0.0.1:{self.port}"
        proxies = dict.fromkeys(("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY"), proxy)
        return {**kept, **proxies, "NO_PROXY": "", "no_proxy": "", "HOME": str(home), "TMPDIR": str(temporary),
                "XDG_CONFIG_HOME": str(home / ".config"), "XDG_CACHE_HOME": str(home / ".cache"),
                "KAGGLE_API_ENVIRONMENT": "LOCALHOST", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "",
                "NO_ALBUMENTATIONS_UPDATE": "1"}

    def introspect_token(self, user: str, body: Body, fault: Fault | None) -> Body:
        """IntrospectToken: whose token it is."""
        return {"active": True, "username": self.user} if body.get("token") == self.token else {"active": False}

    def record(self, method: str, path: str, route: str, user: str, body: Body) -> tuple[Request, Fault | None]:
        """Note a request and find the fault that shall happen to it."""
        with self.store.lock:
            request = Request(len(self.requests), method, path, route, user, body)
            self.requests.append(request)
            self.let_late_calls_act(request.index)
            for fault in self.faults:
                if fault.applies(request.index, route):
                    fault.met += 1
                    request.fault = fault.kind
                    return request, fault
        return request, None

    def let_late_calls_act(self, index: int) -> None:
        """Calls whose connection was lost and whose effect comes only now."""
        due = [act for at, act in self.later if at <= index]
        self.later = [(at, act) for at, act in self.later if at > index]
        for act in due:
            with suppress(ApiError):
                act()

    def call(self, route: str, user: str, body: Body, fault: Fault | None) -> Body:
        """One API call. Raises ApiError for every answer but 200."""
        if route not in self.routes:
            raise ApiError(404, f"{route} is not in the stand-in")
        if not user and route != "IntrospectToken":
            raise ApiError(401, "Unauthenticated")
        with self.store.lock:
            return self.routes[route](user, body, fault)

    @contextmanager
    def unreachable(self) -> Iterator[None]:
        """Inside the block every connection is closed without an answer."""
        fault = Fault("timeout-before", times=1_000_000)
        self.faults.insert(0, fault)
        try:
            yield
        finally:
            self.faults.remove(fault)

    def wait_for_sessions(self, seconds: float = 120.0) -> None:
        """Return when no session runs any more. Raises TimeoutError."""
        end = time.monotonic() + seconds
        for thread in self._kernels.threads:
            thread.join(timeout=max(0.0, end - time.monotonic()))
            if thread.is_alive():
                raise TimeoutError(f"a session still runs after {seconds:g} s")
