"""The stand-in and the real client: every call that a deploy needs, each from a subprocess of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from standin.client import Forker
from standin.faults import AFTER_KINDS, KINDS
from standin.server import CannedRunner, Competition, Fault, SandboxRunner, StandIn
from standin.sessions import Outcome
from standin.state import STATE_FILE

SCRIPT = """
import os, pathlib
inputs = pathlib.Path(os.environ.get("FOLDPACK_REHEARSAL_INPUT", "/kaggle/input"))
print("hello from the kernel")
found = sorted(str(one.relative_to(inputs)) for one in inputs.rglob("*") if one.is_file())
print(found)
pathlib.Path("submission.csv").write_text(f"id,label\\n1,{len(found)}\\n")
"""
Client = Callable[..., subprocess.CompletedProcess]


@pytest.fixture
def competition(tmp_path: Path) -> Competition:
    """A competition of two files, scored by the number that the kernel wrote."""
    folder = tmp_path / "competition"
    folder.mkdir()
    (folder / "sample_submission.csv").write_text("id,label\n1,0\n")
    return Competition(data=folder, score=lambda csv: float(csv.read_text().split(",")[-1]) / 10)


@pytest.fixture
def standin(tmp_path: Path, competition: Competition, forker: Forker) -> Iterator[StandIn]:
    """A server whose sessions are canned."""
    with StandIn(tmp_path / "state", {"digits": competition}) as server:
        yield server


@pytest.fixture(scope="module")
def forker() -> Iterator[Forker]:
    """Starts the client quickly; each call is still a process of its own."""
    with Forker() as process:
        yield process


def client_of(server: StandIn, tmp_path: Path, forker: Forker, token: bool = False) -> Client:
    """The `kaggle` command, or a piece of Python with an authenticated `api`, aimed at the server."""
    environment = server.environment(tmp_path, token)

    def run(*words: str, code: str = "") -> subprocess.CompletedProcess:
        if code:
            code = "from kaggle import api\napi.authenticate()\n" + code
        return forker.run(list(words), environment, tmp_path, module="" if code else "kaggle", code=code)

    return run


@pytest.fixture
def kaggle(standin: StandIn, tmp_path: Path, forker: Forker) -> Client:
    """The real client."""
    return client_of(standin, tmp_path, forker)


def write_dataset(tmp_path: Path, **files: str) -> Path:
    """A folder that the client can upload."""
    folder = tmp_path / "weights"
    folder.mkdir(exist_ok=True)
    metadata = {"title": "best-weights", "id": "someone/best-weights", "licenses": [{"name": "other"}]}
    (folder / "dataset-metadata.json").write_text(json.dumps(metadata))
    for name, text in files.items():
        (folder / f"{name}.sealed").write_text(text)
    return folder


def write_kernel(tmp_path: Path, text: str = SCRIPT, **changes: object) -> Path:
    """A folder that the client can push."""
    folder = tmp_path / "kernel"
    folder.mkdir(exist_ok=True)
    (folder / "best.py").write_text(text)
    metadata = {"id": "someone/best-kernel", "title": "best kernel", "code_file": "best.py", "language": "python",
                "kernel_type": "script", "is_private": True, "enable_gpu": True, "enable_internet": False,
                "dataset_sources": ["someone/best-weights"], "competition_sources": ["digits"]}
    (folder / "kernel-metadata.json").write_text(json.dumps({**metadata, **changes}))
    return folder


def upload(kaggle: Client, tmp_path: Path, **files: str) -> None:
    """Create the dataset and ask until it is there."""
    assert kaggle("datasets", "create", "-p", str(write_dataset(tmp_path, **files))).returncode == 0
    for _ in range(2):
        kaggle("datasets", "status", "someone/best-weights")


def test_a_dataset_is_created_and_versioned(standin: StandIn, kaggle: Client, tmp_path: Path) -> None:
    folder = write_dataset(tmp_path, a="first file", b="second")
    done = kaggle("datasets", "create", "-p", str(folder))
    assert done.returncode == 0, done.stderr
    dataset = standin.datasets["someone/best-weights"]
    assert dataset.private and dataset.versions[0].files == {"a.sealed": 10, "b.sealed": 6}
    assert kaggle("datasets", "status", "someone/best-weights").stdout.strip() == "blobs_received"
    assert kaggle("datasets", "status", "someone/best-weights").stdout.strip() == "ready"
    assert "a.sealed" in kaggle("datasets", "files", "someone/best-weights").stdout
    (folder / "a.sealed").write_text("changed")
    done = kaggle("datasets", "version", "-p", str(folder), "-m", "sha 1234")
    assert done.returncode == 0 and dataset.versions[1].notes == "sha 1234"
    shown = kaggle(code="print(api.dataset_status('someone/best-weights', format='json'))")
    assert json.loads(shown.stdout) == {"status": "blobs_received", "current_version_number": 2}
    assert standin.store.blob_path(dataset.versions[1].blobs["a.sealed"]).read_text() == "changed"
    got = kaggle("datasets", "download", "someone/best-weights", "-f", "a.sealed", "-p", str(tmp_path / "back"))
    assert got.returncode == 0, got.stdout + got.stderr
    assert (tmp_path / "back" / "a.sealed").read_text() == "changed"
    assert "best-weights" in kaggle("datasets", "list", "-m").stdout


def test_a_second_create_and_a_version_of_nothing_are_refused(standin: StandIn, kaggle: Client,
                                                             tmp_path: Path) -> None:
    folder = write_dataset(tmp_path, a="x")
    assert kaggle("datasets", "version", "-p", str(folder), "-m", "m").returncode == 1
    assert not standin.datasets
    kaggle("datasets", "create", "-p", str(folder))
    assert "already in use" in kaggle("datasets", "create", "-p", str(folder)).stdout
    assert len(standin.datasets["someone/best-weights"].versions) == 1


def test_a_broken_upload_is_resumed(standin: StandIn, kaggle: Client, tmp_path: Path) -> None:
    standin.faults.append(Fault("timeout-before", route="PUT", times=1))
    folder = write_dataset(tmp_path, a="0123456789" * 100)
    done = kaggle(code=f"print(api.dataset_create_new({str(folder)!r}, quiet=True).status)")
    assert "ok" in done.stdout, done.stdout + done.stderr
    blob = standin.datasets["someone/best-weights"].versions[0].blobs["a.sealed"]
    assert standin.store.blob_path(blob).read_text() == "0123456789" * 100
    assert [one.body["received"] for one in standin.calls("PUT")][-1] == 1000


def test_a_kernel_runs_in_the_sandbox_and_is_scored(tmp_path: Path, competition: Competition, forker: Forker) -> None:
    with StandIn(tmp_path / "state", {"digits": competition}, SandboxRunner()) as standin:
        kaggle = client_of(standin, tmp_path, forker)
        upload(kaggle, tmp_path, a="x")
        assert "version 1 successfully pushed" in kaggle("kernels", "push", "-p", str(write_kernel(tmp_path))).stdout
        followed = kaggle("kernels", "logs", "-f", "someone/best-kernel")
        assert "hello from the kernel" in followed.stdout, followed.stderr
        standin.wait_for_sessions()
        assert "COMPLETE" in kaggle("kernels", "status", "someone/best-kernel").stdout
        assert "submission.csv" in kaggle("kernels", "files", "someone/best-kernel").stdout
        kaggle("kernels", "output", "someone/best-kernel", "-p", str(tmp_path / "out"))
        assert (tmp_path / "out" / "submission.csv").read_text() == "id,label\n1,2\n"
        assert "datasets/someone/best-weights/a.sealed" in (tmp_path / "out" / "best-kernel.log").read_text()
        kaggle("kernels", "pull", "someone/best-kernel", "-m", "-p", str(tmp_path / "pulled"))
        assert (tmp_path / "pulled" / "best-kernel.py").read_text() == SCRIPT
        assert "best-kernel" in kaggle("kernels", "list", "-m").stdout
        words = ["digits", "-f", "submission.csv", "-k", "someone/best-kernel", "-v", "1", "-m", "first"]
        sent = kaggle("competitions", "submit", *words)
        assert "Successfully submitted" in sent.stdout and "4 submissions remaining" in sent.stdout
        shown = [kaggle("competitions", "submissions", "digits").stdout for _ in range(2)]
        assert "PENDING" in shown[0] and "0.20000" in shown[1]
        assert "GPU" in kaggle("quota").stdout


def test_the_hidden_test_set_is_used_in_the_rerun(tmp_path: Path, competition: Competition, forker: Forker) -> None:
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    for name in "abcd":
        (hidden / name).write_text(name)
    both = Competition(competition.data, competition.score, hidden)
    with StandIn(tmp_path / "state", {"digits": both}, SandboxRunner(), scoring=1) as standin:
        kaggle = client_of(standin, tmp_path, forker)
        kaggle("kernels", "push", "-p", str(write_kernel(tmp_path, dataset_sources=[])))
        standin.wait_for_sessions()
        kaggle("competitions", "submit", "digits", "-f", "submission.csv", "-k", "someone/best-kernel", "-v", "1",
               "-m", "rerun")
        assert "0.40000" in kaggle("competitions", "submissions", "digits").stdout


def test_a_failing_kernel_is_an_error(tmp_path: Path, competition: Competition, forker: Forker) -> None:
    with StandIn(tmp_path / "state", {"digits": competition}, SandboxRunner()) as standin:
        kaggle = client_of(standin, tmp_path, forker)
        kaggle("kernels", "push", "-p", str(write_kernel(tmp_path, "raise SystemExit(3)\n", dataset_sources=[])))
        standin.wait_for_sessions()
        shown = kaggle("kernels", "status", "someone/best-kernel").stdout
        assert "ERROR" in shown and "exit code 3" in shown


def test_the_kernel_binds_the_dataset_version_of_that_moment(standin: StandIn, kaggle: Client, tmp_path: Path) -> None:
    upload(kaggle, tmp_path, a="x")
    standin.faults.append(Fault("stale-dataset"))
    kaggle("datasets", "version", "-p", str(write_dataset(tmp_path, a="y")), "-m", "new")
    assert kaggle("datasets", "status", "someone/best-weights").stdout.strip() == "ready"  # it is not
    kaggle("kernels", "push", "-p", str(write_kernel(tmp_path)))
    assert standin.kernels["someone/best-kernel"].versions[0].datasets == {"someone/best-weights": 1}
    for _ in range(3):
        kaggle("datasets", "status", "someone/best-weights")
    kaggle("kernels", "push", "-p", str(write_kernel(tmp_path)))
    assert standin.kernels["someone/best-kernel"].versions[1].datasets == {"someone/best-weights": 2}


def test_what_the_push_refuses_or_drops(standin: StandIn, kaggle: Client, tmp_path: Path) -> None:
    big = kaggle("kernels", "push", "-p", str(write_kernel(tmp_path, "#" * 1_000_000)))
    assert big.returncode == 1 and "1 megabytes" in big.stdout + big.stderr and not standin.kernels
    missing = kaggle("kernels", "push", "-p", str(write_kernel(tmp_path)))
    assert missing.returncode == 0 and "not valid dataset sources" in missing.stdout  # and it runs without data
    other = kaggle("kernels", "push", "-p", str(write_kernel(tmp_path, title="another name")))
    assert other.returncode == 0 and list(standin.kernels) == ["someone/best-kernel"]
    foreign = kaggle("kernels", "push", "-p", str(write_kernel(tmp_path, id="nobody/best-kernel")))
    assert foreign.returncode == 1
    renamed = kaggle("kernels", "push", "-p", str(write_kernel(tmp_path, id="someone/other", title="best kernel")))
    assert renamed.returncode == 1 and "already exists" in renamed.stdout + renamed.stderr


def test_a_third_session_is_refused(tmp_path: Path, competition: Competition, forker: Forker) -> None:
    with StandIn(tmp_path / "state", {"digits": competition}, CannedRunner(Outcome("RUNNING"), Outcome("RUNNING")),
                 ) as standin:
        kaggle = client_of(standin, tmp_path, forker)
        said = [kaggle("kernels", "push", "-p", str(write_kernel(tmp_path))).stdout for _ in range(3)]
        assert "session count of 2 reached" in said[2]
        assert len(standin.kernels["someone/best-kernel"].versions) == 2


# What the client's exit code says.
SILENT = ("slow", "dropped-sources", "dropped-models", "changed-slug")
FAULTS = {kind: int(kind not in SILENT) for kind in KINDS if kind != "stale-dataset"}


@pytest.mark.parametrize("kind", FAULTS)
def test_the_client_meets_every_fault_at_a_push(standin: StandIn, kaggle: Client, tmp_path: Path, kind: str) -> None:
    """The exit code of the real client, and what really happened: the two do not agree."""
    standin.faults.append(Fault(kind, route="SaveKernel", seconds=0.2))
    done = kaggle("kernels", "push", "-p", str(write_kernel(tmp_path, dataset_sources=[])))
    assert done.returncode == FAULTS[kind], done.stdout + done.stderr
    if kind == "timeout-late":
        assert not standin.kernels
        assert [kaggle("kernels", "list", "-m").returncode for _ in range(2)] == [0, 0]
    took_effect = kind in AFTER_KINDS or FAULTS[kind] == 0
    assert len(standin.kernels) == took_effect
    assert standin.calls("SaveKernel")[0].fault == kind and standin.faults[0].met == 1


def test_an_access_token_works_and_a_wrong_key_does_not(standin: StandIn, tmp_path: Path, forker: Forker) -> None:
    assert client_of(standin, tmp_path / "t", forker, token=True)("quota").returncode == 0
    assert standin.calls("IntrospectToken")
    environment = standin.environment(tmp_path)
    credentials = Path(environment["HOME"], ".kaggle", "kaggle.json")
    assert credentials.stat().st_mode & 0o777 == 0o600
    credentials.write_text(json.dumps({"username": "someone", "key": "wrong"}))
    done = subprocess.run([sys.executable, "-m", "kaggle", "quota"], env=environment, capture_output=True, text=True)
    assert done.returncode == 1 and standin.requests[-1].status == 401


def test_nothing_leaves_the_machine(standin: StandIn, tmp_path: Path, forker: Forker) -> None:
    code = "import requests\ntry:\n    requests.get('https://example.com')\nexcept requests.ConnectionError as e:\n" \
           "    print('refused')"
    environment = standin.environment(tmp_path)
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.stdout == "refused\n" and standin.requests[-1].route == "CONNECT"


def test_the_state_outlives_the_server(tmp_path: Path, competition: Competition, forker: Forker) -> None:
    with StandIn(tmp_path / "state", {"digits": competition}) as standin:
        client_of(standin, tmp_path, forker)("kernels", "push", "-p", str(write_kernel(tmp_path, dataset_sources=[])))
    with StandIn(tmp_path / "state", {"digits": competition}) as again:
        version = again.kernels["someone/best-kernel"].versions[0]
        assert again.source(version) == SCRIPT and version.session.status == "COMPLETE"
    assert "import argparse" not in (tmp_path / "state" / STATE_FILE).read_text()


def test_an_unknown_fault_is_refused() -> None:
    with pytest.raises(ValueError, match="'http-418' is no fault; there are http-400"):
        Fault("http-418")


def test_the_server_by_hand(tmp_path: Path, forker: Forker) -> None:
    """`python -m standin` tells the variables with which a client reaches it, then each request."""
    words = [sys.executable, "-u", "-m", "standin", str(tmp_path), "--port", "0", "--canned"]
    path = str(Path(__file__).parents[1])
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path}) as server:
        assert server.stdout is not None
        try:
            environment = dict(os.environ)
            while "KAGGLE_API_ENVIRONMENT" not in environment:
                name, _, value = server.stdout.readline().removeprefix("export ").strip().partition("=")
                environment[name] = value.strip("'")
            done = forker.run(["quota"], environment, tmp_path, module="kaggle")
            assert done.returncode == 0, done.stdout + done.stderr  # a client that asked nothing is told of by nobody
            said = server.stdout.readline()
        finally:
            server.terminate()
    assert "GetAcceleratorQuotaStatistics" in said
