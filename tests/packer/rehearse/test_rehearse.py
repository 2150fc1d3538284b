"""Rehearsals: a process of its own that sees what a kernel on Kaggle sees, and nothing of this machine's project."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from packer.rehearse.process import RehearsalError, lay_out_inputs, rehearse

PROBE = '''
import json, os, sys, threading
seen = {"argv": sys.argv[1:], "environ": dict(os.environ), "cwd": os.getcwd(), "here": os.listdir("."),
        "name": __name__, "stdin": sys.stdin.read(), "path": sys.path, "isolated": sys.flags.isolated}

def attempt(name, act):
    try:
        act()
        seen[name] = "worked"
    except BaseException as failure:
        seen[name] = f"{type(failure).__name__}: {failure}"

def from_thread():
    thread = threading.Thread(target=lambda: attempt("thread", lambda: socket.create_connection(("127.0.0.1", 9))))
    thread.start()
    thread.join()

import socket, _socket, urllib.request
attempt("socket", lambda: socket.socket())
attempt("raw", lambda: _socket.socket())
attempt("pair", lambda: socket.socketpair())
attempt("resolve", lambda: socket.getaddrinfo("localhost", 80))
attempt("url", lambda: urllib.request.urlopen("http://127.0.0.1:9", timeout=2))
from_thread()
attempt("foldpack", lambda: __import__("foldpack.errors"))
attempt("packer", lambda: __import__("packer"))
attempt("numpy", lambda: __import__("numpy"))
output = os.environ.get("FOLDPACK_REHEARSAL_OUTPUT", "/kaggle/working")
inputs = os.environ.get("FOLDPACK_REHEARSAL_INPUT", "/kaggle/input")
seen["inputs"] = sorted(os.path.relpath(os.path.join(folder, name), inputs)
                        for folder, _, names in os.walk(inputs) for name in names)
seen["outputs"] = os.listdir(output)
open(os.path.join(output, "submission.csv"), "w").write("id,label\\n")
print(json.dumps(seen))
'''


def make_script(folder: Path, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "kernel.py"
    path.write_text(text)
    return path


def make_inputs(folder: Path) -> Path:
    for name in ("data/train.csv", "data/test/a.png", "weights/one.sealed"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return lay_out_inputs(folder / "rehearsal", ("the-slug", folder / "data"), {"me/best-weights": folder / "weights"})


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """What a script saw of the world in a rehearsal."""
    root = tmp_path_factory.mktemp("rehearse")
    inputs = make_inputs(root)
    (root / "rehearsal" / "output").mkdir()
    (root / "rehearsal" / "output" / "old.csv").touch()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KAGGLE_KEY", "secret")
        patch.setenv("PYTHONPATH", str(Path(__file__).parents[3]))
        patch.setenv("FOLDPACK_TOKEN", "secret")
        done = rehearse(make_script(root / "build", PROBE), root / "rehearsal", inputs)
    assert done.submission == root / "rehearsal/output/submission.csv" and done.seconds > 0
    assert (root / "rehearsal/log.txt").read_text() == done.log
    return {**json.loads(done.log), "root": root}


@pytest.mark.parametrize("way", ["socket", "raw", "resolve", "url", "thread"])
def test_there_is_no_network(seen: dict, way: str) -> None:
    assert "no network in the rehearsal" in seen[way]


def test_processes_of_one_machine_may_talk(seen: dict) -> None:
    assert seen["pair"] == "worked"  # worker processes hand over their results through such a pair


def test_the_project_cannot_be_imported_but_the_image_can(seen: dict) -> None:
    assert seen["foldpack"].startswith("ImportError: the packed script must not import 'foldpack'")
    assert seen["packer"].startswith("ImportError: the packed script must not import 'packer'")
    assert seen["numpy"] == "worked"


def test_nothing_of_this_shell_is_visible(seen: dict) -> None:
    root = seen["root"]
    assert not {"KAGGLE_KEY", "PYTHONPATH", "FOLDPACK_TOKEN", "XDG_CONFIG_HOME", "USER"} & set(seen["environ"])
    assert "secret" not in json.dumps(seen["environ"])
    assert seen["environ"]["HOME"] == str(root / "rehearsal" / "work")
    assert seen["argv"] == [] and seen["stdin"] == "" and seen["isolated"] == 1 and seen["name"] == "__main__"


def test_it_starts_in_an_empty_folder_with_an_empty_output(seen: dict) -> None:
    assert seen["here"] == [] and seen["outputs"] == []
    assert str(Path(__file__).parents[3]) not in seen["path"]


def test_inputs_lie_as_on_kaggle(seen: dict) -> None:
    assert seen["inputs"] == ["competitions/the-slug/test/a.png", "competitions/the-slug/train.csv",
                              "datasets/me/best-weights/one.sealed"]
    assert seen["cwd"] in ("/kaggle/working", str(seen["root"] / "rehearsal" / "output"))


def test_an_older_layout_is_replaced_and_survives_its_sources(tmp_path: Path) -> None:
    root = make_inputs(tmp_path)
    (root / "competitions" / "old").mkdir()
    root = make_inputs(tmp_path)
    assert [path.name for path in (root / "competitions").iterdir()] == ["the-slug"]
    (tmp_path / "data" / "train.csv").unlink()
    assert (root / "competitions/the-slug/train.csv").read_text() == "data/train.csv"


def test_copies_where_links_are_not_possible(tmp_path: Path, monkeypatch) -> None:
    def deny(*args: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr("os.link", deny)
    root = make_inputs(tmp_path)
    assert not os.path.samefile(root / "competitions/the-slug/train.csv", tmp_path / "data/train.csv")


def test_a_failure_shows_the_code_and_the_end_of_the_log(tmp_path: Path) -> None:
    text = "print('line 1')\nprint('the last words', flush=True)\nraise SystemExit(3)\n"
    script = make_script(tmp_path / "build", text)
    with pytest.raises(RehearsalError) as caught:
        rehearse(script, tmp_path / "rehearsal", make_inputs(tmp_path))
    assert "the kernel ended with exit code 3 after " in str(caught.value)
    assert str(tmp_path / "rehearsal/log.txt") in str(caught.value) and "the last words" in str(caught.value)
    assert "line 1" in (tmp_path / "rehearsal/log.txt").read_text()


def test_a_kernel_that_hands_nothing_in_is_a_failure(tmp_path: Path) -> None:
    with pytest.raises(RehearsalError, match="ended well but wrote no .*submission.csv; see .*log.txt"):
        rehearse(make_script(tmp_path / "build", "print(1)\n"), tmp_path / "rehearsal", make_inputs(tmp_path))


def test_a_missing_script_or_dataset_is_named(tmp_path: Path) -> None:
    with pytest.raises(RehearsalError, match="nothing.py: there is no such script; pack it with ./deploy_kernel.py"):
        rehearse(tmp_path / "nothing.py", tmp_path, tmp_path)
    with pytest.raises(RehearsalError, match="weights: there is no such folder to rehearse with"):
        (tmp_path / "data").mkdir()
        lay_out_inputs(tmp_path, ("slug", tmp_path / "data"), {"me/w": tmp_path / "weights"})
