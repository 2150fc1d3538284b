"""Credentials and data keys with a canary in them: in no output, journal, build file, request or process list."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from project import Prepared, Site, make_site, slow_but
from standin.client import Forker
from standin.faults import STATUS_FAULTS
from standin.server import Fault

KEY = "c4a4a4ca0f1d5eed" * 2
TOKEN = "KGAT_" + "ca4a4ycafe0f1d5eed"[:16] * 2
CANARIES = [one.encode() for one in (KEY, TOKEN, base64.b64encode(f"someone:{KEY}".encode()).decode())]


class CommandLines:
    """All command lines of this machine, looked at again and again while the block runs."""

    def __enter__(self) -> CommandLines:
        self.seen: set[bytes] = set()
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.look, daemon=True)
        self.thread.start()
        return self

    def look(self) -> None:
        """Until the block is over, 50 times a second."""
        while not self.over.wait(0.02):
            for entry in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    self.seen.add(entry.read_bytes())
                except OSError:
                    continue

    def __exit__(self, *reason: object) -> None:
        self.over.set()
        self.thread.join()


@pytest.fixture(params=slow_but(["token"], ["key", "token", "variables", "verbose"]))
def canary_site(request: pytest.FixtureRequest, prepared: Prepared, forker: Forker, tmp_path: Path) -> Iterator[Site]:
    """A site whose credentials are canaries, kept in each of the places that the client knows."""
    site = make_site(tmp_path, prepared, forker, key=KEY, token=TOKEN)
    with site.standin:
        site.credentials = {"token": "token", "variables": "none"}.get(request.param, "key")
        site.changes = {"variables": {"KAGGLE_USERNAME": "someone", "KAGGLE_KEY": KEY},
                        "verbose": {"VERBOSE": "true"}}.get(request.param, {})
        yield site


def leaks(site: Site, *texts: str) -> list[str]:
    """Where a canary is, outside the credentials' own file."""
    found = [f"said: {text[:200]}" for text in texts if any(canary in text.encode() for canary in CANARIES)]
    for path in site.folder.rglob("*"):
        if path.is_file() and path.parent.name != ".kaggle" and any(one in path.read_bytes() for one in CANARIES):
            found.append(str(path.relative_to(site.folder)))
    bodies = [json.dumps(one.body) + one.path for one in site.standin.requests if one.route != "IntrospectToken"]
    return found + [body[:200] for body in bodies if any(canary in body.encode() for canary in CANARIES)]


def test_no_canary_anywhere(canary_site: Site) -> None:
    site = canary_site
    with CommandLines() as lines:
        done = site.deploy("--wait", "--submit", "-m", "canary")
    assert done.returncode == 0, done.stdout + done.stderr
    assert leaks(site, done.stdout, done.stderr) == []
    assert any(b"kaggle/worker.py" in line for line in lines.seen)
    assert not [line for line in lines.seen if any(canary in line for canary in CANARIES)]


@pytest.mark.parametrize("kind", slow_but([], ["http-401", "http-400", "http-500", "timeout-before"]))
def test_no_canary_in_a_failure(prepared: Prepared, forker: Forker, tmp_path: Path, kind: str,
                                monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even when the server says the credentials back in its message."""
    if kind in STATUS_FAULTS:
        monkeypatch.setitem(STATUS_FAULTS, kind, (STATUS_FAULTS[kind][0], f"no: someone {KEY} {TOKEN}"))
    site = make_site(tmp_path, prepared, forker, key=KEY)
    with site.standin:
        site.standin.faults.append(Fault(kind, route="SaveKernel", times=1000))
        done = site.deploy()
        assert done.returncode > 1, done.stdout + done.stderr
        texts = [text.replace(TOKEN, "") for text in (done.stdout, done.stderr)]  # it was never ours
        assert leaks(site, *texts) == []


def test_no_data_key_is_said(site: Site) -> None:
    """The keys that open the weights are in the private script and in the keyring, nowhere else."""
    done = site.deploy()
    assert done.returncode == 0
    keys = list(prepared_keys(site))
    assert keys
    for path in site.build.rglob("*"):
        if path.is_file() and path.name != "tiny.py":
            assert not [key for key in keys if key.encode() in path.read_bytes()], path
    assert not [key for key in keys if key in done.stdout + done.stderr]
    others = [json.dumps(one.body) for one in site.standin.requests if one.route != "SaveKernel"]
    assert not [key for key in keys if any(key in body for body in others)]


def prepared_keys(site: Site) -> Iterator[str]:
    """Data keys of the sealed files, in hex."""
    from foldpack.keyring.keyring import Keyring

    ring = Keyring.load(site.folder / "keys" / "keyring")
    index = json.loads((site.folder / "build" / "sealed" / "index.json").read_text())["files"].values()
    for entry in index:
        yield bytes(ring.data_key(entry["file_id"])).hex()
