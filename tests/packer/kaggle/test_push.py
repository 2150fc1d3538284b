"""The push: exactly one version whatever fails on the way, and nothing that is not ours is touched."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fake_kaggle import FakeClient, http, lost

from packer.kaggle.client import CallError
from packer.kaggle.exits import DeployError, Exit
from packer.kaggle.journal import Journal, PushEntry
from packer.kaggle.push import Kernel, push_kernel, request_hash, same_text, save_request, short_ref, shown_request

TEXT = "# Pack id        abc\n# Ensemble       best, digits\nprint('kernel')\n"
METADATA = {
    "id": "me/best-kernel", "title": "best kernel", "code_file": "best.py", "language": "python",
    "kernel_type": "script", "is_private": True, "enable_gpu": True, "enable_tpu": False, "enable_internet": False,
    "machine_shape": "NvidiaTeslaT4", "dataset_sources": ["me/best-weights"], "competition_sources": ["digits"],
    "kernel_sources": [], "model_sources": [],
}


class World:
    """A kernel on a pretended Kaggle."""

    def __init__(self, tmp_path: Path, *texts: str) -> None:
        self.versions = [(text, save_request(METADATA, text)) for text in texts]
        self.replies: list[Any] = []  # what the next pushes meet: "after", "before", an error, or fields of the answer
        self.client = FakeClient({"get_kernel": self.get, "save_kernel": self.save})
        self.request = save_request(METADATA, TEXT)
        self.journal = Journal(tmp_path)

    def get(self, _: dict[str, Any]) -> dict[str, Any] | CallError:
        if not self.versions:
            return http(403, "denied", "get_kernel")
        text, request = self.versions[-1]
        metadata = {**{key: request.get(key) for key in ("isPrivate", "enableInternet", "datasetDataSources",
                                                         "competitionDataSources")},
                    "currentVersionNumber": len(self.versions)}
        return {"metadata": metadata, "blob": {"source": text}}

    def save(self, request: dict[str, Any]) -> dict[str, Any] | CallError:
        reply = self.replies.pop(0) if self.replies else {}
        if isinstance(reply, CallError):
            return reply
        if reply != "before":
            self.versions.append((str(request["text"]), request))
        if reply in ("after", "before"):
            return lost()
        return {"ref": "/code/me/best-kernel", "versionNumber": len(self.versions), **reply}

    def push(self) -> int:
        return push_kernel(Kernel(self.client, self.request, self.client.said.append), self.journal, "best")


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_a_first_push_and_a_second_that_writes_nothing(world: World) -> None:
    assert world.push() == 1
    written = world.journal.path.read_bytes()
    assert json.loads(written)["push"]["state"] == "verified"
    assert world.push() == 1
    assert world.client.count("save_kernel") == 1 and world.journal.path.read_bytes() == written


@pytest.mark.parametrize("replies", [["after"], ["before"], ["before", "before"], [http(500)], [http(429)],
                                     ["before", http(500), "after"]])
def test_whatever_fails_on_the_way_there_is_one_version(world: World, replies: list[Any]) -> None:
    world.replies = replies
    assert world.push() == 1 and len(world.versions) == 1


@pytest.mark.parametrize("arrived", [False, True])
def test_a_deploy_that_was_killed_at_the_push_looks_first(world: World, arrived: bool) -> None:
    world.journal.note(push=PushEntry(request=request_hash(world.request), state="intent", before=0))
    if arrived:
        world.save(world.request)
    assert world.push() == 1 and len(world.versions) == 1


def test_a_lost_journal_finds_its_kernel_again(world: World) -> None:
    world.save(world.request)
    assert world.push() == 1 and world.client.count("save_kernel") == 0


def test_another_request_is_another_version(world: World) -> None:
    world.push()
    world.request = save_request({**METADATA, "machine_shape": "NvidiaL4"}, TEXT)
    assert world.push() == 2 and world.push() == 2 and len(world.versions) == 2


@pytest.mark.parametrize(
    ("reply", "code", "message"),
    [
        (http(400, "The kernel source must be less than 1 megabytes"), Exit.REFUSED, "less than 1 megabytes"),
        (http(401), Exit.CREDENTIALS, "does not take your credentials"),
        (http(403, "denied"), Exit.REFUSED, "denied"),
        (http(409, "title exists"), Exit.SLUG_TAKEN, "title exists.*rename the ensemble"),
        (http(413), Exit.REFUSED, "413"),
        ({"error": "Maximum batch GPU session count of 2 reached."}, Exit.QUOTA, "session count"),
        ({"error": "something else"}, Exit.REFUSED, "something else"),
        ({"ref": "me/best-kernel-2"}, Exit.OTHER_REF, "saved the kernel as me/best-kernel-2, not as me/best-kernel"),
        ({"invalidDatasetSources": ["me/best-weights"]}, Exit.SOURCES_DROPPED, "without me/best-weights"),
        ({"invalidModelSources": ["a/b/c/d/1"]}, Exit.SOURCES_DROPPED, "without a/b/c/d/1"),
    ],
)
def test_what_kaggle_says_is_read(world: World, reply: Any, code: Exit, message: str) -> None:
    world.replies = [reply]
    with pytest.raises(DeployError, match=message) as failure:
        world.push()
    assert failure.value.exit_code == code


def test_a_push_without_its_sources_is_done_again(world: World) -> None:
    world.replies = [{"invalidCompetitionSources": ["digits"]}]
    with pytest.raises(DeployError):
        world.push()
    assert world.push() == 2  # the user has joined the competition


@pytest.mark.parametrize(("text", "message"), [("print('mine')\n", "something that foldpack did not pack"),
                                               (TEXT.replace("best,", "other,"), "the ensemble 'other'")])
def test_a_kernel_that_is_not_ours_is_left_alone(tmp_path: Path, text: str, message: str) -> None:
    world = World(tmp_path, text)
    with pytest.raises(DeployError, match=message) as failure:
        world.push()
    assert failure.value.exit_code == Exit.SLUG_TAKEN and world.client.count("save_kernel") == 0


def test_a_push_by_somebody_else_at_the_same_time(world: World) -> None:
    world.journal.note(push=PushEntry(request=request_hash(world.request), state="intent", before=0))
    world.versions = [(TEXT + "# other\n", world.request)]
    with pytest.raises(DeployError, match="somebody else pushed") as failure:
        world.push()
    assert failure.value.exit_code == Exit.UNCLEAR


@pytest.mark.parametrize(("field", "value", "message"), [("isPrivate", False, "it is public, and its keys with it"),
                                                         ("enableInternet", True, "its internet is on"),
                                                         ("datasetDataSources", [], "me/best-weights is not attached")])
def test_what_kaggle_holds_is_compared(world: World, field: str, value: Any, message: str) -> None:
    held = world.get
    world.client.world["get_kernel"] = lambda request: (
        {**held(request), "metadata": {**held(request)["metadata"], field: value}} if world.versions else held(request))
    with pytest.raises(DeployError, match=message) as failure:
        world.push()
    assert failure.value.exit_code == Exit.UNCLEAR
    assert json.loads(world.journal.path.read_bytes())["push"]["state"] == "pushed"


def test_the_shown_request_has_all_but_the_text(world: World) -> None:
    shown = json.loads(shown_request(world.request))
    assert shown == {key: value for key, value in world.request.items() if key != "text"}
    assert shown["isPrivate"] is True and shown["enableInternet"] is False and "kernel'" not in shown_request(shown)


def test_a_notebook_is_sent_with_one_text_a_cell() -> None:
    notebook = json.dumps({"cells": [{"cell_type": "code", "source": ["a\n", "b"]}], "nbformat": 4})
    request = save_request({**METADATA, "kernel_type": "notebook"}, notebook)
    assert json.loads(request["text"])["cells"][0]["source"] == "a\nb" and request["kernelType"] == "notebook"
    assert same_text(request["text"], notebook) and not same_text(request["text"], notebook.replace("b", "c"))


def test_texts_are_the_same_but_for_line_ends() -> None:
    assert same_text("a\nb\n", "a\r\nb") and not same_text("a\nb", "a\nc")


@pytest.mark.parametrize(("ref", "short"), [("/code/Me/Best", "me/best"), ("me/best", "me/best"), ("", ""),
                                            ("https://www.kaggle.com/code/me/best", "me/best")])
def test_references_in_all_their_spellings(ref: str, short: str) -> None:
    assert short_ref(ref) == short
