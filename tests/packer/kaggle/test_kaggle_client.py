"""The client's process: what it may do to us, how its errors are told apart, and the pace of our questions."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import requests
from fake_kaggle import FakeClient, http, lost, quick_pace

from packer.kaggle.client import SERVICES, TRIES, CallError, KaggleClient
from packer.kaggle.exits import DeployError, Exit
from packer.kaggle.hints import HINTS, hints_for
from packer.kaggle.journal import Journal, JournalData, only_one
from packer.kaggle.pace import Pace
from packer.kaggle.worker import describe, plain, redactor

DOCS = Path(__file__).resolve().parents[3] / "docs" / "deploying.md"


def answer(status: int, body: str, **headers: str) -> requests.HTTPError:
    response = requests.Response()
    response.status_code = status
    response._content = body.encode()
    response.headers.update(headers)
    return requests.HTTPError(f"{status} error", response=response)


@pytest.mark.parametrize(
    ("error", "kind", "code", "message"),
    [
        (answer(409, '{"code": 409, "message": "title exists"}'), "http", 409, "title exists"),
        (answer(200, '{"code": 403, "message": "denied"}'), "http", 403, "denied"),
        (answer(502, "<html>"), "http", 502, "502 error"),
        (requests.ConnectionError("Max retries ... NewConnectionError(...)"), "unsent", 0, "ConnectionError"),
        (requests.exceptions.ProxyError("RemoteDisconnected"), "lost", 0, "no readable answer (ProxyError)"),
        (requests.ConnectionError("RemoteDisconnected"), "lost", 0, "no readable answer (ConnectionError)"),
        (requests.ReadTimeout(), "lost", 0, "no readable answer (ReadTimeout)"),
        (requests.exceptions.ChunkedEncodingError(), "lost", 0, "no readable answer (ChunkedEncodingError)"),
        (json.JSONDecodeError("x", "y", 0), "lost", 0, "no readable answer (JSONDecodeError)"),
        (SystemExit(1), "lost", 0, "SystemExit"),
    ],
)
def test_errors_are_told_apart(error: BaseException, kind: str, code: int, message: str) -> None:
    described = describe(error)
    assert (described["kind"], described["code"], described["message"]) == (kind, code, message)


def test_a_quota_of_days_keeps_its_days() -> None:
    from kagglesdk.kernels.types.kernels_api_service import ApiAcceleratorQuota, ApiGetKernelSessionStatusResponse

    quota = ApiAcceleratorQuota.from_dict({"totalTimeAllowed": "108000s", "timeUsed": "3600s"})
    assert plain(quota)["totalTimeAllowed"] == 108_000.0 and quota.to_dict()["totalTimeAllowed"] == "21600s"
    assert plain(ApiGetKernelSessionStatusResponse.from_dict({}))["status"] == "QUEUED"  # the client leaves it out


def test_every_method_that_we_call_is_the_clients() -> None:
    from kagglesdk.kaggle_client import KaggleClient as Real

    real = Real(username="u", password="p")
    for method, (service, client) in SERVICES.items():
        assert "request" in getattr(getattr(getattr(real, service), client), method).__annotations__, method


def test_credentials_are_taken_out_of_messages() -> None:
    hide = redactor(type("Api", (), {"config_values": {"username": "me", "key": "abc123", "token": "KGAT_5"}}))
    assert hide("bad key abc123, token KGAT_5, Basic bWU6YWJjMTIz") == "bad key ***, token ***, Basic ***"


def test_no_credentials_print_nothing_and_end_nothing(tmp_path: Path, capfd, monkeypatch) -> None:
    for name in [each for each in os.environ if each.startswith("KAGGLE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    with KaggleClient(30.0, quick_pace()) as client, pytest.raises(DeployError, match="make a new token") as failure:
        client.username()
    assert failure.value.exit_code == Exit.CREDENTIALS
    assert capfd.readouterr() == ("", "")


def test_the_process_dies_with_its_parent(tmp_path: Path) -> None:
    code = ("import os, sys; from packer.kaggle.client import KaggleClient\n"
            "client = KaggleClient(60); print(client.username(), client._worker.process.pid, flush=True)\n"
            "os.kill(os.getpid(), 9)")
    environment = {**os.environ, "HOME": str(tmp_path), "KAGGLE_USERNAME": "me", "KAGGLE_KEY": "k"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)
    user, process = done.stdout.split()
    assert user == "me" and done.returncode == -9
    for _ in Pace(0.05).looks(40):
        if not is_alive(int(process)):
            return
    raise AssertionError("the client's process outlives the deploy")


def is_alive(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def test_questions_are_asked_again_while_that_may_help() -> None:
    replies: list = [lost("get_kernel"), http(500), http(429), {"a": 1}]
    client = FakeClient({"get_kernel": lambda request: replies.pop(0)})
    assert client.ask("get_kernel", {}) == {"a": 1} and client.count("get_kernel") == 4
    client = FakeClient({"get_kernel": lambda request: http(503)})
    with pytest.raises(DeployError, match="Kaggle kept failing.*503.*run the same command again") as failure:
        client.ask("get_kernel", {})
    assert failure.value.exit_code == Exit.FAILING and client.count("get_kernel") == TRIES
    client = FakeClient({"get_kernel": lambda request: http(401)})
    with pytest.raises(CallError):
        client.ask("get_kernel", {})
    assert client.count("get_kernel") == 1


@pytest.mark.parametrize(
    ("error", "code"),
    [(CallError("x", "unsent"), Exit.UNREACHABLE), (CallError("x", "credentials"), Exit.CREDENTIALS),
     (http(401), Exit.CREDENTIALS), (http(409), Exit.SLUG_TAKEN), (http(400), Exit.REFUSED), (http(413), Exit.REFUSED),
     (http(429), Exit.FAILING), (http(500), Exit.FAILING), (lost(), Exit.FAILING)],
)
def test_every_failure_has_its_exit_code(error: CallError, code: Exit) -> None:
    assert error.deploy_error().exit_code == code


def test_retry_after_is_waited_for() -> None:
    pauses: list[float] = []
    replies: list = [CallError("get_kernel", "http", 429, "slow down", "77"), {}]
    client = FakeClient({"get_kernel": lambda request: replies.pop(0)})
    client.pace = quick_pace(pauses)
    client.ask("get_kernel", {})
    assert 77.0 in pauses


def test_pauses_grow_to_a_limit_and_tremble() -> None:
    pauses: list[float] = []
    assert list(quick_pace(pauses).looks(7)) == list(range(7))
    assert pauses == pytest.approx([1.0, 1.6, 2.56, 4.096, 6.0, 6.0])
    assert Pace(10.0, chance=lambda: 0.0).pause(0) == 7.5 and Pace(10.0, chance=lambda: 1.0).pause(0) == 12.5
    assert len(list(quick_pace([]).looks_for(20.0))) == 6


def test_the_journal_is_read_back_and_strange_ones_are_refused(tmp_path: Path) -> None:
    Journal(tmp_path).note(kernel="me/k", pack_id="p")
    assert Journal(tmp_path).data == JournalData(kernel="me/k", pack_id="p")
    before = (tmp_path / "deploy.json").stat().st_mtime_ns
    Journal(tmp_path).note(kernel="me/k")
    assert (tmp_path / "deploy.json").stat().st_mtime_ns == before
    for text in ("{", '{"version": 9}', '{"pushh": 1}'):
        (tmp_path / "deploy.json").write_text(text)
        with pytest.raises(DeployError, match="deploy.json: .*; remove the file"):
            Journal(tmp_path)


def test_one_deploy_at_a_time(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("packer.kaggle.journal.LOCK_LOOKS", 2)
    with only_one(tmp_path, "best"):
        with pytest.raises(DeployError, match="another deploy of 'best' is running") as failure:
            with only_one(tmp_path, "best"):
                pass
        with only_one(tmp_path, "other"):
            pass
    assert failure.value.exit_code == Exit.BUSY
    with only_one(tmp_path, "best"):
        pass


def test_every_exit_code_and_hint_is_in_the_docs() -> None:
    text = DOCS.read_text(encoding="utf-8")
    rows = [int(line.split("|")[1]) for line in text.splitlines() if re.match(r"\| \d+ \|", line)]
    assert rows == sorted(Exit)
    for pattern, hint in HINTS:
        assert f"| `{pattern.replace('|', chr(92) + '|')}` | {hint} |" in text


@pytest.mark.parametrize(("log", "word"), [("torch.OutOfMemoryError: CUDA out of memory. Tried", "GPU's memory"),
                                           ("Notebook Threw Exception", "docs/deploying.md"),
                                           ("no kernel image is available for execution on the device", "P100"),
                                           ("ModuleNotFoundError: No module named 'x'", "foldpack image"),
                                           ("OSError: [Errno 28] No space left on device", "20 GB")])
def test_known_failures_have_a_hint(log: str, word: str) -> None:
    assert any(word in hint for hint in hints_for(log))
    assert hints_for("all is well") == []
