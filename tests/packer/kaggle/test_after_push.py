"""What comes after a push: the session, its output, the submission, the history in the YAML, the board, the quota."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from fake_kaggle import FakeClient, http, lost
from small_house import House

from foldpack.settings.ensemble import ScoreSpec, read_spec, write_spec
from packer.deploy.board import COLUMNS, board_rows
from packer.deploy.history import add_score
from packer.kaggle.client import CallError
from packer.kaggle.exits import DeployError, Exit
from packer.kaggle.journal import Journal
from packer.kaggle.log_follower import log_text
from packer.kaggle.quota import quota_table, quota_warning, read_quota, running_kernels
from packer.kaggle.session import Version, check_output, download, fetch_output, judge_session, run_hours, wait_session
from packer.kaggle.submit import Submitter, submit_version
from packer.kaggle.upload import Blob, Uploads, upload_file

VERSION = Version("me/best-kernel", 3)
PACK = "ab" * 32
SCORE = ScoreSpec(pack=PACK, kernel="me/best-kernel", version=3, public_score=0.61, when="2026-01-31T12:00:00Z",
                  message="all folds: a 'try' #1")


class Server:
    """A storage for uploads and downloads: `limit` bytes are taken of each PUT, then the connection ends with 503."""

    def __init__(self) -> None:
        self.stored, self.limit, self.puts, self.fails = b"", 10**9, 0, 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                outer.put(self)

            def do_GET(self) -> None:
                outer.fails -= 1
                self.send_response(500 if outer.fails >= 0 else 200)
                self.end_headers()
                self.wfile.write(b"error" if outer.fails >= 0 else outer.stored)

            def log_message(self, *_: object) -> None:
                pass

        self.http = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/blob?secret=1"
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def put(self, request: Any) -> None:
        self.puts += 1
        asked = request.headers.get("Content-Range", "")
        body = request.rfile.read(int(request.headers["Content-Length"]))
        if asked.startswith("bytes */"):
            whole = len(self.stored) == int(asked.rpartition("/")[2])
            request.send_response(200 if whole else 308)
            if self.stored and not whole:
                request.send_header("Range", f"bytes=0-{len(self.stored) - 1}")
        else:
            start = int(asked.split()[1].partition("-")[0]) if asked else 0
            self.stored = self.stored[:start] + body[: self.limit]
            request.send_response(503 if len(body) > self.limit else 200)
        request.end_headers()


@pytest.fixture
def server(monkeypatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    made = Server()
    yield made
    made.http.shutdown()
    made.http.server_close()


def uploader(server: Server) -> FakeClient:
    return FakeClient({"start_blob_upload": lambda request: {"token": "t", "createUrl": server.url}})


def test_an_upload_goes_on_where_it_broke_off(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "x.sealed"
    path.write_bytes(bytes(range(256)) * 40)
    server.limit = 3000
    client, seen = uploader(server), list[int]()
    uploads = Uploads(tmp_path)
    assert upload_file(client, uploads, path, seen.append) == "t"
    assert server.stored == path.read_bytes() and client.count("start_blob_upload") == 1
    assert seen[-1] == path.stat().st_size and (tmp_path / "uploads.json").stat().st_mode & 0o077 == 0
    puts = server.puts
    assert upload_file(client, Uploads(tmp_path), path, seen.append) == "t" and server.puts == puts  # it is there
    path.write_bytes(b"other")
    upload_file(client, Uploads(tmp_path), path, seen.append)
    assert server.stored == b"other" and client.count("start_blob_upload") == 2
    uploads = Uploads(tmp_path)
    uploads.forget(["x.sealed"])
    assert not (tmp_path / "uploads.json").exists()


def test_an_upload_of_a_killed_deploy_goes_on(server: Server, tmp_path: Path) -> None:
    from foldpack.files import sha256_file

    path = tmp_path / "x.sealed"
    path.write_bytes(b"0123456789")
    server.stored = b"0123"
    uploads = Uploads(tmp_path)
    uploads.keep(path.name, Blob("old", server.url, sha256_file(path), 10, False))
    client = uploader(server)
    assert upload_file(client, Uploads(tmp_path), path, lambda count: None) == "old"
    assert server.stored == b"0123456789" and client.count("start_blob_upload") == 0


def test_an_upload_that_never_works_does_not_tell_its_address(server: Server, tmp_path: Path) -> None:
    (tmp_path / "x.sealed").write_bytes(b"abc")
    server.limit = 0
    with pytest.raises(DeployError, match="the upload failed 8 times") as failure:
        upload_file(uploader(server), Uploads(tmp_path), tmp_path / "x.sealed", lambda count: None)
    assert "secret" not in str(failure.value) and failure.value.exit_code == Exit.FAILING


def test_a_download_is_tried_again_and_stays_in_its_folder(server: Server, tmp_path: Path) -> None:
    server.stored, server.fails = b"id,label\n", 2
    client = FakeClient({})
    assert download(client, server.url, "a/submission.csv", tmp_path).read_bytes() == b"id,label\n"
    for name in ("../x", "/etc/x"):
        with pytest.raises(DeployError, match="leads out of its folder"):
            download(client, server.url, name, tmp_path)
    server.fails = 99
    with pytest.raises(DeployError, match="did not give the output") as failure:
        download(client, server.url, "b.csv", tmp_path)
    assert "secret" not in str(failure.value) and not (tmp_path / "b.csv").exists()


# ---- the session ----


def statuses(*words: str, failure: str = "") -> FakeClient:
    left = list(words)

    def status(request: dict[str, Any]) -> dict[str, Any]:
        assert request["versionLabel"] == "v3"
        return {"status": left.pop(0) if len(left) > 1 else left[0], "failureMessage": failure}

    return FakeClient({"get_kernel_session_status": status})


def test_waiting_is_for_the_pushed_version(monkeypatch) -> None:
    monkeypatch.setattr("packer.kaggle.session.LogFollower.start", lambda follower: None)
    client = statuses("QUEUED", "QUEUED", "RUNNING", "COMPLETE")
    assert wait_session(client, VERSION, 1.0, client.said.append) == ("COMPLETE", "")
    assert client.said == [f"session of version 3: {word}" for word in ("queued", "running", "complete")]


def test_waiting_ends(monkeypatch) -> None:
    monkeypatch.setattr("packer.kaggle.session.LogFollower.start", lambda follower: None)
    with pytest.raises(DeployError, match="did not end within 0.01 h") as failure:
        wait_session(statuses("RUNNING"), VERSION, 0.01, lambda text: None)
    assert failure.value.exit_code == Exit.KERNEL_TIMED_OUT


@pytest.mark.parametrize(
    ("status", "failure", "code"),
    [("ERROR", "", Exit.KERNEL_ERROR), ("ERROR", "Your notebook timed out", Exit.KERNEL_TIMED_OUT),
     ("ERROR", "You have exceeded your GPU quota", Exit.QUOTA), ("CANCEL_ACKNOWLEDGED", "", Exit.KERNEL_CANCELLED)],
)
def test_how_a_session_may_end(status: str, failure: str, code: Exit) -> None:
    log = "\n".join([*(f"line {number}" for number in range(30)), "torch.OutOfMemoryError: CUDA out of memory."])
    with pytest.raises(DeployError) as error:
        judge_session(VERSION, status, failure, log)
    assert error.value.exit_code == code
    assert "line 29" in str(error.value) and "line 5" not in str(error.value) and "hint: the GPU's" in str(error.value)
    judge_session(VERSION, "COMPLETE", "", log)


def test_all_pages_of_the_output_are_fetched(server: Server, tmp_path: Path) -> None:
    log = json.dumps([{"stream_name": "stdout", "time": 3.5, "data": "one\n"}, {"time": 7200.0, "data": "two\n"}])

    def page(request: dict[str, Any]) -> dict[str, Any]:
        number = int(request.get("pageToken") or 0)
        files = [{"url": server.url, "fileName": f"file{number}.csv"}]
        more = str(number + 1) if number < 2 else ""
        return {"files": files, "log": log if number == 0 else "", "nextPageToken": more}

    client = FakeClient({"list_kernel_session_output": page})
    assert fetch_output(client, VERSION, tmp_path) == "one\ntwo\n"
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["file0.csv", "file1.csv", "file2.csv", "log.json", "log.txt"]
    assert run_hours(tmp_path) == 2.0 and log_text("plain") == "plain"


def test_output_that_kaggle_refuses_is_no_empty_output(tmp_path: Path) -> None:
    client = FakeClient({"list_kernel_session_output": lambda request: http(403, "denied")})
    with pytest.raises(DeployError, match="does not show what it said it has") as failure:
        fetch_output(client, VERSION, tmp_path)
    assert failure.value.exit_code == Exit.REFUSED
    assert fetch_output(client, VERSION, tmp_path, needed=False) == ""  # it failed: then its status is told


@pytest.mark.parametrize(
    ("text", "message"),
    [(None, "left no submission.csv"), ("id,label\n", "it has no rows"), ("id,label\na,7\na,8\n", "more than once"),
     ("id,label\na,cat\n", "id 'a': label is 'cat', which is no class"),
     ("id,answer\na,7\n", "column 'label' is missing")],
)
def test_a_wrong_submission_is_not_submitted(house: House, tmp_path: Path, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / "submission.csv").write_text(text)
    with pytest.raises(DeployError, match=message) as failure:
        check_output(tmp_path, house.spec, None)
    assert failure.value.exit_code == Exit.OUTPUT


def test_the_ids_are_compared_with_the_sample(house: House, tmp_path: Path) -> None:
    (tmp_path / "submission.csv").write_text("id,label\nother,7\n")
    assert check_output(tmp_path, house.spec, None) == 1
    with pytest.raises(DeployError, match="72 of 72 ids are missing, such as 'digit_0000'; each id of the sample"):
        check_output(tmp_path, house.spec, house.data)


# ---- the submission ----


class Submissions:
    """A competition that scores after two looks."""

    def __init__(self, folder: Path) -> None:
        self.made: list[dict[str, Any]] = []
        self.replies: list[Any] = []
        self.waiting, self.end = 2, {"status": "COMPLETE", "publicScore": "0.61", "privateScore": ""}
        self.client = FakeClient({"create_code_submission": self.create, "get_submission": self.get,
                                  "list_submissions": lambda request: {"submissions": self.made}})
        self.journal = Journal(folder)

    def create(self, request: dict[str, Any]) -> dict[str, Any] | CallError:
        reply = self.replies.pop(0) if self.replies else "ok"
        if reply in ("ok", "after"):
            self.made.append({"ref": len(self.made) + 70, "description": request["submissionDescription"]})
        if isinstance(reply, CallError):
            return reply
        return {"ref": self.made[-1]["ref"]} if reply == "ok" else lost("create_code_submission")

    def get(self, request: dict[str, Any]) -> dict[str, Any]:
        self.waiting -= 1
        return {**self.made[request["ref"] - 70], **({"status": "PENDING"} if self.waiting >= 0 else self.end)}

    def submit(self) -> Any:
        submitter = Submitter(self.client, VERSION, "digits", PACK, self.client.said.append)
        return submit_version(submitter, self.journal, "try")


@pytest.mark.parametrize("replies", [[], ["after"], ["before"], [http(500)], ["before", "after"]])
def test_a_version_is_submitted_once(tmp_path: Path, replies: list[Any]) -> None:
    world = Submissions(tmp_path)
    world.replies = replies
    entry = world.submit()
    assert (entry.public_score, entry.private_score, entry.state) == (0.61, None, "scored")
    world.submit()
    world.journal = Journal(tmp_path / "lost")
    world.submit()
    assert [one["description"] for one in world.made] == [f"try [{PACK[:12]} v3]"]


@pytest.mark.parametrize("code", [400, 403, 429])
def test_a_refused_submission(tmp_path: Path, code: int, monkeypatch) -> None:
    monkeypatch.setattr("packer.kaggle.client.TRIES", 1)
    world = Submissions(tmp_path)
    world.replies = [http(code, "You have used all of today's submissions", "create_code_submission")]
    with pytest.raises(DeployError) as failure:
        world.submit()
    assert failure.value.exit_code == (Exit.FAILING if code == 429 else Exit.SUBMISSION_REFUSED)
    assert "today's submissions" in str(failure.value)
    assert code == 429 or world.journal.data.submission is None


def test_a_scoring_error_says_why(tmp_path: Path) -> None:
    world = Submissions(tmp_path)
    world.end = {"status": "ERROR", "errorDescription": "Notebook Threw Exception"}
    with pytest.raises(DeployError, match="Notebook Threw Exception\nhint: Kaggle shows no more") as failure:
        world.submit()
    assert failure.value.exit_code == Exit.SCORING_ERROR
    with pytest.raises(DeployError, match="Notebook Threw Exception"):
        world.submit()
    assert len(world.made) == 1


def test_no_score_in_time(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("packer.kaggle.submit.SCORE_LOOKS", 3)
    world = Submissions(tmp_path)
    world.waiting = 4
    with pytest.raises(DeployError, match="no score for version 3 yet") as failure:
        world.submit()
    assert failure.value.exit_code == Exit.NO_SCORE
    assert world.submit().public_score == 0.61 and len(world.made) == 1


# ---- history, board, quota ----


def test_the_history_grows_and_nothing_else_changes(house: House, tmp_path: Path) -> None:
    path = tmp_path / "small.yml"
    text = "# my ensemble\n" + house.ensemble.read_text() + "# the end\n"
    path.write_text(text)
    spec = read_spec(path)
    add_score(path, SCORE)
    add_score(path, SCORE)  # the same version: no second entry
    later = SCORE.model_copy(update={"version": 4, "private_score": 0.5, "hours": 1.25})
    add_score(path, later)
    read = read_spec(path)
    assert read.history == [SCORE, later] and read.model_copy(update={"history": None}) == spec
    assert path.read_text().startswith(text)
    path.write_text("history: []\n" + text)  # written by hand in another way
    add_score(path, SCORE)
    assert read_spec(path).history == [SCORE]


def test_a_history_before_other_keys_and_indented(house: House, tmp_path: Path) -> None:
    path = tmp_path / "small.yml"
    write_spec(path, house.spec.model_copy(update={"history": [SCORE]}))
    entry = path.read_text().split("history:\n")[1].rstrip("\n").split("\n")
    path.write_text("history:\n" + "".join(f"  {line}\n" for line in entry) + house.ensemble.read_text())
    later = SCORE.model_copy(update={"version": 4})
    add_score(path, later)
    assert read_spec(path).history == [SCORE, later] and path.read_text().endswith(house.ensemble.read_text())


def test_the_board_shows_the_newest_first(house: House, tmp_path: Path) -> None:
    later = SCORE.model_copy(update={"version": 4, "when": "2026-02-01T00:00:00Z", "hours": 1.25})
    write_spec(tmp_path / "a.yml", house.spec.model_copy(update={"history": [SCORE, later]}))
    write_spec(tmp_path / "b.yml", house.spec.model_copy(update={"name": "other"}))
    (tmp_path / "c.yml").write_text("version: 1\n")
    rows, problems = board_rows(sorted(tmp_path.glob("*.yml")))
    assert [(row[0], row[7]) for row in rows] == [("small", "me/best-kernel v4"), ("small", "me/best-kernel v3"),
                                                  ("other", "")]
    first = dict(zip(COLUMNS, rows[0], strict=True))
    assert (first["public"], first["hours"], first["oof"]) == ("0.6100", "1.25", f"{house.spec.metric.oof:.4f}")
    assert rows[2][6] == f"< {house.spec.budget.hours:g}" and len(problems) == 1 and "c.yml" in problems[0]


def test_the_quota_and_its_warning() -> None:
    quota = {"timeUsed": 20 * 3600.0, "timeReserved": 3600.0, "totalTimeAllowed": 30 * 3600.0}
    client = FakeClient({
        "get_accelerator_quota_statistics": lambda request: {"gpuQuota": quota, "tpuQuota": None,
                                                             "quotaRefreshTime": "2026-01-31T00:00:00"},
        "list_kernels": lambda request: {"kernels": [{"ref": "me/a"}, {"ref": "me/b"}]},
        "get_kernel_session_status": lambda request: {"status": {"a": "ERROR", "b": "RUNNING"}[request["kernelSlug"]]}})
    client.username = lambda: "me"  # type: ignore[method-assign]
    read = read_quota(client)
    assert read.hours["GPU"].left == 9.0 and list(read.hours) == ["GPU"]
    assert running_kernels(client) == ["me/b"]
    assert quota_table(read, ["me/b"]).caption == "running: me/b\nthe hours are given anew at 2026-01-31T00:00:00"
    assert quota_warning(client, 9.0) == ""
    client.world["get_accelerator_quota_statistics"] = lambda request: http(403, "denied")
    assert "is not known" in quota_warning(client, 9.5)
    client.world["get_accelerator_quota_statistics"] = lambda request: http(401)
    with pytest.raises(DeployError, match="does not take your credentials"):
        quota_warning(client, 9.5)


def test_more_hours_than_are_left() -> None:
    quota = {"timeUsed": 20 * 3600.0, "timeReserved": 3600.0, "totalTimeAllowed": 30 * 3600.0}
    client = FakeClient({"get_accelerator_quota_statistics": lambda request: {"gpuQuota": quota}})
    assert "may take 9.5 h, but 9.0 of this week's 30 GPU hours are left" in quota_warning(client, 9.5)
