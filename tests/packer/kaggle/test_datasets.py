"""Datasets: uploaded once, known again by their manifest's name, and waited for until kernels get them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fake_kaggle import FakeClient, http, lost

from packer.build.manifest import Staged, finish_dataset, part_slug, split_dataset
from packer.kaggle.client import CallError
from packer.kaggle.datasets import READY_LOOKS, Dataset, ensure_dataset
from packer.kaggle.exits import DeployError, Exit
from packer.kaggle.journal import DatasetEntry, Journal
from packer.kaggle.upload import Uploads


class World:
    """One dataset on a pretended Kaggle. `delay`: questions until a new version is current."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder / "weights"
        self.versions: list[dict[str, int]] = []
        self.private, self.delay, self.shown, self.status = True, 0, 0, "READY"
        self.replies: list[Any] = []
        create = self.create
        self.client = FakeClient({"get_dataset": self.get, "get_dataset_status": self.get_status,
                                  "list_dataset_files": self.list, "create_dataset": create,
                                  "create_dataset_version": create})
        self.journal, self.uploads = Journal(folder), Uploads(folder)
        monkeypatch.setattr("packer.kaggle.datasets.upload_file", lambda client, uploads, path, advance: path.name)
        self.write("a")

    def write(self, text: str) -> None:
        self.folder.mkdir(exist_ok=True)
        (self.folder / "one.sealed").write_text(text)

    def tick(self) -> None:
        self.delay -= 1
        if self.delay < 0:
            self.shown = len(self.versions)

    def get(self, _: dict[str, Any]) -> dict[str, Any] | CallError:
        self.tick()
        if not self.versions:
            return http(403, "denied", "get_dataset")
        return {"currentVersionNumber": self.shown, "isPrivate": self.private, "versions": None}

    def get_status(self, _: dict[str, Any]) -> dict[str, Any] | CallError:
        return {"status": self.status} if self.versions else http(404, "", "get_dataset_status")

    def list(self, request: dict[str, Any]) -> dict[str, Any]:
        files = list(self.versions[request["datasetVersionNumber"] - 1].items())
        start = int(request.get("pageToken") or 0)
        more = str(start + 1) if start + 1 < len(files) else ""  # pages of one file
        return {"datasetFiles": [{"name": name, "totalBytes": size} for name, size in files[start : start + 1]],
                "nextPageToken": more}

    def create(self, request: dict[str, Any]) -> dict[str, Any] | CallError:
        reply = self.replies.pop(0) if self.replies else {"status": "ok"}
        if isinstance(reply, dict) or reply == "after":
            if not (isinstance(reply, dict) and reply.get("error")):
                names = [one["token"] for one in (request.get("body") or request)["files"]]
                self.versions.append({name: (self.folder / name).stat().st_size for name in names})
        if isinstance(reply, CallError):
            return reply
        return reply if isinstance(reply, dict) else lost("create_dataset")

    def ensure(self, *, secret: bool = False, public: bool = False) -> int:
        staged = finish_dataset(self.folder, "me/best-weights", secret=secret)
        return ensure_dataset(Dataset(self.client, staged, public, self.client.said.append), self.journal, self.uploads)

    @property
    def created(self) -> int:
        return self.client.count("create_dataset") + self.client.count("create_dataset_version")


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path, monkeypatch)


def test_uploaded_once_and_then_only_when_changed(world: World) -> None:
    assert world.ensure() == 1 and world.ensure() == 1 and world.created == 1
    world.write("b")  # as many bytes as before: only the manifest's name tells
    assert world.ensure() == 2 and world.client.count("create_dataset_version") == 1
    world.write("a")
    assert world.ensure() == 3  # back to the first content: the current version is another


@pytest.mark.parametrize("replies", [["after"], ["before"], [http(500)], [http(429)], ["before", "after"]])
@pytest.mark.parametrize("delay", [0, 5])
def test_whatever_fails_on_the_way_there_is_one_version(world: World, replies: list[Any], delay: int) -> None:
    world.replies, world.delay = replies, delay
    assert world.ensure() == 1 and len(world.versions) == 1


def test_a_version_counts_when_it_is_current(world: World) -> None:
    world.ensure()
    world.write("b")
    world.replies, world.delay = [{"status": "ok"}], 12
    assert world.ensure() == 2 and world.delay < 0  # READY was said all the time


@pytest.mark.parametrize(("state", "created"), [("intent", 1), ("created", 0), ("ready", 1)])
def test_a_deploy_that_was_killed_goes_on(world: World, state: Any, created: int) -> None:
    """Nothing is there: an intent is sent; what Kaggle took is waited for; what was current before has gone."""
    staged = finish_dataset(world.folder, "me/best-weights")
    world.journal.note_dataset("me/best-weights", DatasetEntry(content=staged.content, state=state, before=0))
    if created:
        assert world.ensure() == 1
    else:
        with pytest.raises(DeployError, match="did not become current .status unknown; version 0: there is none"):
            world.ensure()
    assert world.created == created


def test_a_listing_that_is_not_ours_is_told(world: World) -> None:
    world.ensure()
    dataset = Dataset(world.client, finish_dataset(world.folder, "me/best-weights"), False, world.client.said.append)
    world.versions[0]["one.sealed"] = 7
    world.versions[0]["stray.csv"] = 1
    assert dataset.differences(1) == ["one.sealed is listed with 7 bytes, not 1", "stray.csv is not ours"]
    del world.versions[0]["one.sealed"], world.versions[0]["stray.csv"]
    assert dataset.differences(1) == ["one.sealed is not listed"]


def test_a_lost_journal_finds_the_dataset_again(world: World, tmp_path: Path) -> None:
    world.ensure()
    world.journal = Journal(tmp_path / "other")
    assert world.ensure() == 1 and world.created == 1
    assert any("are there already" in line for line in world.client.said)


@pytest.mark.parametrize(("status", "message"), [("FAILED", "could not process"), ("BLOBS_RECEIVED", "did not become")])
def test_a_dataset_that_does_not_get_ready(world: World, status: str, message: str) -> None:
    world.status = status
    with pytest.raises(DeployError, match=message) as failure:
        world.ensure()
    assert failure.value.exit_code == Exit.DATASET
    assert world.client.count("get_dataset_status") <= 2 * READY_LOOKS + 2


@pytest.mark.parametrize(("reply", "code"), [(http(403, "denied"), Exit.REFUSED), ({"error": "bad"}, Exit.DATASET),
                                             ({"status": "error", "error": "bad"}, Exit.DATASET)])
def test_a_refusal_is_told_and_forgotten(world: World, reply: Any, code: Exit) -> None:
    world.replies = [reply]
    with pytest.raises(DeployError) as failure:
        world.ensure()
    assert failure.value.exit_code == code and world.journal.data.datasets == {}
    assert world.ensure() == 1


@pytest.mark.parametrize(("secret", "public", "private"),
                         [(True, True, True), (False, True, False), (False, False, True)])
def test_keys_are_private_whatever_the_user_says(world: World, secret: bool, public: bool, private: bool) -> None:
    world.ensure(secret=secret, public=public)
    [request] = [request for method, request in world.client.calls if method == "create_dataset"]
    assert request["isPrivate"] is private and request["licenseName"] == "other"


def test_public_keys_stop_everything(world: World) -> None:
    world.ensure(secret=True)
    world.private = False
    with pytest.raises(DeployError, match="is public and would show your keys") as failure:
        world.ensure(secret=True)
    assert failure.value.exit_code == Exit.DATASET


def test_the_manifest_names_its_content(tmp_path: Path) -> None:
    def staged(text: str) -> Staged:
        (tmp_path / "x.sealed").write_text(text)
        (tmp_path / "dataset-metadata.json").write_text("{}")
        return finish_dataset(tmp_path, "me/w")

    one, again, other = staged("1"), staged("1"), staged("2")
    assert one == again and one.content != other.content
    [manifest] = tmp_path.glob("foldpack-manifest-*.json")  # that of the older content is gone
    assert manifest.name == f"foldpack-manifest-{other.content[:16]}.json"
    assert other.files == {"x.sealed": 1, manifest.name: manifest.stat().st_size}
    [row] = json.loads(manifest.read_text())["files"]
    assert row["name"] == "x.sealed" and row["size"] == 1 and len(row["sha256"]) == 64
    assert other.notes == f"foldpack sha256:{other.content}"


def test_large_weights_are_split_alike_each_time(tmp_path: Path) -> None:
    def lay() -> Path:
        folder = tmp_path / "weights"
        folder.mkdir(exist_ok=True)
        for name in "abcde":
            (folder / f"{name}.sealed").write_bytes(b"x" * 10)
        return folder

    for _ in range(2):
        parts = split_dataset(lay(), "me/best-weights", 25)
        assert [slug for slug, _ in parts] == ["me/best-weights", "me/best-weights-2", "me/best-weights-3"]
        assert [sorted(path.stem for path in folder.glob("*.sealed")) for _, folder in parts] == [
            ["a", "b"], ["c", "d"], ["e"]]
    assert [slug for slug, _ in split_dataset(lay(), "me/best-weights", 50)] == ["me/best-weights"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["weights"]
    assert part_slug("me/" + "x" * 42 + "-weights", 2) == "me/" + "x" * 42 + "-weigh-2"  # 50 characters
