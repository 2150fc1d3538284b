"""The keyring: keys come back, nobody else reads them, and every bad file has its own error."""

from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from foldpack.keyring.keyring import (
    KeyConflictError,
    KeyEntry,
    KeyNotFoundError,
    Keyring,
    KeyringCostError,
    KeyringDamagedError,
    KeyringLockedError,
    KeyringPermissionError,
    KeyringUnreadableError,
    KeyringVersionError,
    WrongPassphraseError,
    default_keyring_path,
)
from foldpack.sealed.container import new_data_key
from foldpack.sealed.errors import SealedKeyFormatError, UnreadableSealedError
from foldpack.sealed.format import key_id_of
from foldpack.sealed.keys import keys_from_text, keys_to_text, read_keys_file, write_keys_file

FILE_IDS = [f"{number:032x}" for number in range(5)]
KEYS = {file_id: new_data_key() for file_id in FILE_IDS}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A keyring of five keys without a passphrase."""
    place = tmp_path / "config" / "keyring"
    with Keyring.editing(place) as ring:
        for number, (file_id, key) in enumerate(KEYS.items()):
            ring.add(file_id, key, f"run/fold{number}", f"{number:064x}")
    return place


def protect(path: Path, passphrase: str) -> None:
    with Keyring.editing(path) as ring:
        ring.set_passphrase(passphrase, log2_n=4)


def all_keys(ring: Keyring) -> dict[str, bytes]:
    return {entry.file_id: ring.data_key(entry.file_id) for entry in ring.entries()}


def never() -> str:
    raise AssertionError("asked for a passphrase that is not needed")


def test_keys_come_back(path: Path) -> None:
    ring = Keyring.load(path, never)
    assert all_keys(ring) == KEYS
    assert ring.entry(FILE_IDS[2]) == KeyEntry(FILE_IDS[2], key_id_of(KEYS[FILE_IDS[2]]), "run/fold2", f"{2:064x}")
    assert [entry.label for entry in ring.entries()] == [f"run/fold{number}" for number in range(5)]
    assert not ring.protected and len(ring) == 5


def test_only_the_owner_may_read_it(path: Path) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    for mode in (0o644, 0o640, 0o604, 0o620):
        path.chmod(mode)
        with pytest.raises(KeyringPermissionError, match=rf"keyring: others may read .*\(mode {mode:04o}\); run `ch"):
            Keyring.load(path)


def test_no_data_key_is_in_clear(path: Path) -> None:
    text = path.read_text()
    assert not any(bytes(key).hex() in text for key in KEYS.values())


def test_a_missing_keyring_is_empty(tmp_path: Path) -> None:
    ring = Keyring.load(tmp_path / "none")
    assert len(ring) == 0 and not (tmp_path / "none").exists()
    with pytest.raises(KeyNotFoundError, match=r"none: no key for file 00.* among 0; import .*foldpack keys import"):
        ring.data_key(FILE_IDS[0])
    with pytest.raises(KeyNotFoundError):
        ring.entry(FILE_IDS[0])


def test_the_default_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert default_keyring_path() == tmp_path / "foldpack" / "keyring"
    assert Keyring.load().path == default_keyring_path()
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_keyring_path() == tmp_path / ".config" / "foldpack" / "keyring"


def test_a_key_is_never_overwritten(path: Path) -> None:
    with Keyring.editing(path) as ring:
        ring.add(FILE_IDS[0], KEYS[FILE_IDS[0]], "renamed")
    assert Keyring.load(path).entry(FILE_IDS[0]).label == "renamed"
    with pytest.raises(KeyConflictError, match="has another key for file 00.* already; keys are never overwritten"):
        with Keyring.editing(path) as ring:
            ring.add(FILE_IDS[0], new_data_key(), "other")
    assert all_keys(Keyring.load(path)) == KEYS


def test_a_failing_edit_changes_nothing(path: Path) -> None:
    before = path.read_bytes()
    with pytest.raises(RuntimeError):
        with Keyring.editing(path) as ring:
            ring.rotate_master()
            raise RuntimeError
    assert path.read_bytes() == before


def test_a_keyring_does_not_show_its_keys(path: Path) -> None:
    shown = f"{Keyring.load(path)!r} {Keyring.load(path).entries()}"
    assert repr(Keyring.load(path)) == f"<Keyring {path}: 5 keys>"
    assert not any(bytes(key).hex() in shown or repr(bytes(key)) in shown for key in KEYS.values())


# ---- master key and passphrase ----


def test_rotation_keeps_the_keys_and_shuts_out_the_old_master(path: Path) -> None:
    before = json.loads(path.read_text())
    with Keyring.editing(path) as ring:
        ring.rotate_master()
    after = json.loads(path.read_text())
    assert all_keys(Keyring.load(path)) == KEYS
    assert before["master"]["key"] != after["master"]["key"]
    wrapped = [{item["wrapped"] for item in content["keys"].values()} for content in (before, after)]
    assert not wrapped[0] & wrapped[1]
    path.write_text(json.dumps({**after, "master": before["master"]}))
    with pytest.raises(KeyringDamagedError, match="keyring: damaged keyring; restore it from a backup"):
        Keyring.load(path)


def test_passphrase(path: Path) -> None:
    before = json.loads(path.read_text())
    protect(path, "correct horse")
    assert before["master"]["key"] not in path.read_text()
    ring = Keyring.load(path, lambda: "correct horse")
    assert ring.protected and all_keys(ring) == KEYS
    with pytest.raises(WrongPassphraseError, match="keyring: the passphrase does not open this keyring; try again"):
        Keyring.load(path, lambda: "correct hors")
    with pytest.raises(KeyringLockedError, match="keyring: the keyring is under a passphrase; give --passphrase-file"):
        Keyring.load(path)


def test_an_edit_keeps_the_passphrase_and_rotation_too(path: Path) -> None:
    protect(path, "one")
    with Keyring.editing(path, lambda: "one") as ring:
        ring.rotate_master()
        ring.add("f" * 32, KEYS[FILE_IDS[0]], "new")
    assert len(Keyring.load(path, lambda: "one")) == 6
    with pytest.raises(KeyringLockedError):
        Keyring.load(path)


def test_a_changed_passphrase_shuts_out_the_old_one(path: Path) -> None:
    protect(path, "old")
    old_master = json.loads(path.read_text())["master"]
    with Keyring.editing(path, lambda: "old") as ring:
        ring.set_passphrase("new", log2_n=4)
    with pytest.raises(WrongPassphraseError):
        Keyring.load(path, lambda: "old")
    assert all_keys(Keyring.load(path, lambda: "new")) == KEYS
    path.write_text(json.dumps({**json.loads(path.read_text()), "master": old_master}))
    with pytest.raises(KeyringDamagedError):
        Keyring.load(path, lambda: "old")


def test_a_passphrase_can_be_taken_away(path: Path) -> None:
    protect(path, "one")
    with Keyring.editing(path, lambda: "one") as ring:
        ring.set_passphrase(None)
    assert all_keys(Keyring.load(path, never)) == KEYS


def test_the_default_cost_is_what_the_document_says(path: Path) -> None:
    with Keyring.editing(path) as ring:
        ring.set_passphrase("x")
    master = json.loads(path.read_text())["master"]
    assert (master["log2_n"], master["r"], master["p"]) == (17, 8, 1)
    assert Keyring.load(path, lambda: "x").protected


@pytest.mark.parametrize("changes", [{"log2_n": 21}, {"log2_n": 63}, {"log2_n": 0}, {"r": 9}, {"p": 2}, {"log2_n": -1}])
def test_a_cost_that_would_freeze_the_machine_is_refused_before_asking(path: Path, changes: dict[str, int]) -> None:
    protect(path, "x")
    content = json.loads(path.read_text())
    content["master"].update(changes)
    path.write_text(json.dumps(content))
    with pytest.raises(KeyringCostError, match=r"keyring: asks for scrypt cost .* allowed are N up to 2\^20"):
        Keyring.load(path, never)


# ---- bad files ----


def change(content: dict[str, Any], steps: list[str], value: Any) -> None:
    for step in steps[:-1]:
        content = content[step]
    content[steps[-1]] = value


DAMAGES: dict[str, Callable[[dict[str, Any]], None]] = {
    "label": lambda content: change(content, ["keys", FILE_IDS[0], "label"], "run/fold1"),
    "key id": lambda content: change(content, ["keys", FILE_IDS[0], "key_id"], "0" * 16),
    "header": lambda content: change(content, ["keys", FILE_IDS[0], "header_sha256"], "f" * 64),
    "wrapped": lambda content: change(content, ["keys", FILE_IDS[0], "wrapped"], "00" * 48),
    "nonce": lambda content: change(content, ["keys", FILE_IDS[0], "nonce"], "00" * 12),
    "nonce empty": lambda content: change(content, ["keys", FILE_IDS[0], "nonce"], ""),
    "not hex": lambda content: change(content, ["keys", FILE_IDS[0], "wrapped"], "zz"),
    "a number": lambda content: change(content, ["keys", FILE_IDS[0], "wrapped"], 5),
    "swapped": lambda content: change(content, ["keys", FILE_IDS[0]], content["keys"][FILE_IDS[1]]),
    "moved": lambda content: change(content, ["keys", "f" * 32], content["keys"][FILE_IDS[1]]),
    "entry a list": lambda content: change(content, ["keys", FILE_IDS[0]], []),
    "keys a list": lambda content: change(content, ["keys"], []),
    "no keys": lambda content: content.pop("keys"),
    "no master": lambda content: content.pop("master"),
    "master a text": lambda content: change(content, ["master"], "x"),
    "master short": lambda content: change(content, ["master", "key"], "00"),
    "master other": lambda content: change(content, ["master", "key"], "00" * 32),
    "protection": lambda content: change(content, ["master", "protection"], "rot13"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damage(path: Path, name: str) -> None:
    content = json.loads(path.read_text())
    DAMAGES[name](content)
    path.write_text(json.dumps(content))
    with pytest.raises(KeyringDamagedError, match="keyring: damaged keyring; restore it from a backup, or remove it"):
        Keyring.load(path)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '"x"', '{"format": "other"}', "[" * 100_000, "\xff"])
def test_not_a_keyring(path: Path, text: str) -> None:
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(KeyringDamagedError, match="keyring: not a foldpack keyring; restore it from a backup, or give"):
        Keyring.load(path)


def test_a_newer_keyring(path: Path) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), "version": 2}))
    with pytest.raises(KeyringVersionError, match="keyring: keyring version 2, this foldpack reads 1; upgrade"):
        Keyring.load(path)


def test_unreadable_and_unwritable(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(KeyringUnreadableError, match=r"config: cannot read the keyring \(Is a directory\); check"):
        Keyring.load(path.parent)
    with pytest.raises(KeyringUnreadableError, match=r"cannot lock the keyring .*check the folder, or give --keyring"):
        with Keyring.editing(path / "below" / "a"):
            raise AssertionError("the lock was given")

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    ring, before = Keyring.load(path), path.read_bytes()
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(KeyringUnreadableError, match=r"keyring: cannot write the keyring \(No space left on device\)"):
        ring.save()
    assert path.read_bytes() == before
    assert sorted(os.listdir(path.parent)) == ["keyring", "keyring.lock"]


ADD = """
import sys
from pathlib import Path
from foldpack.keyring.keyring import Keyring
for number in range(10):
    with Keyring.editing(Path(sys.argv[1])) as ring:
        ring.add(f"{sys.argv[2]}{number:031x}", bytes([number]) * 32, "added")
"""


def test_two_commands_at_once_lose_no_key(path: Path) -> None:
    workers = [subprocess.Popen([sys.executable, "-c", ADD, str(path), name]) for name in "abc"]
    assert [worker.wait(60) for worker in workers] == [0, 0, 0]
    assert len(Keyring.load(path)) == 5 + 30


# ---- export and import ----


def test_a_subset_goes_to_another_keyring_and_comes_back(path: Path, tmp_path: Path) -> None:
    copy = Keyring.load(path).subset(tmp_path / "export", FILE_IDS[1:3])
    copy.set_passphrase("trip", log2_n=4)
    copy.save()
    exported = Keyring.load(tmp_path / "export", lambda: "trip")
    assert all_keys(exported) == {file_id: KEYS[file_id] for file_id in FILE_IDS[1:3]}
    with Keyring.editing(tmp_path / "other") as other:
        assert (other.merge(exported), other.merge(exported)) == (2, 0)
    assert all_keys(Keyring.load(tmp_path / "other")) == all_keys(exported)
    with pytest.raises(KeyNotFoundError):
        Keyring.load(path).subset(tmp_path / "no", ["f" * 32])


def test_a_conflicting_import_changes_nothing(path: Path, tmp_path: Path) -> None:
    with Keyring.editing(tmp_path / "other") as other:
        other.add("e" * 32, new_data_key(), "fine")
        other.add(FILE_IDS[0], new_data_key(), "conflict")
    with pytest.raises(KeyConflictError):
        with Keyring.editing(path) as ring:
            ring.merge(Keyring.load(tmp_path / "other"))
    assert all_keys(Keyring.load(path)) == KEYS


# ---- keys for the kernel ----


def test_keys_file_for_the_private_dataset(tmp_path: Path) -> None:
    write_keys_file(tmp_path / "keys.json", KEYS)
    assert read_keys_file(tmp_path / "keys.json") == KEYS
    assert stat.S_IMODE((tmp_path / "keys.json").stat().st_mode) == 0o600
    assert keys_to_text(KEYS) == keys_to_text(dict(reversed(list(KEYS.items()))))
    assert all(repr(key) == "<DataKey>" for key in read_keys_file(tmp_path / "keys.json").values())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "here: not a keys file; write it again with `foldpack keys export --kernel`"),
        ("[]", "here: not a keys file"),
        ('{"format": "foldpack keys", "version": 1}', "here: not a keys file"),
        ('{"format": "foldpack keys", "version": 2, "keys": {}}', "here: keys of version 2, this foldpack reads 1"),
        ('{"format": "foldpack keys", "version": 1, "keys": {"a": "c0ffee"}}', "here: a data key is 64 hexadecimal"),
        ('{"format": "foldpack keys", "version": 1, "keys": {"a": 5}}', "here: a data key is 64 hexadecimal"),
    ],
)
def test_a_bad_keys_file(text: str, message: str) -> None:
    with pytest.raises(SealedKeyFormatError, match=message) as refusal:
        keys_from_text(text, "here")
    assert "c0ffee" not in str(refusal.value)


def test_an_unreadable_keys_file(tmp_path: Path) -> None:
    with pytest.raises(UnreadableSealedError, match=r"keys\.json: cannot read the keys \(No such file.*attach the"):
        read_keys_file(tmp_path / "keys.json")
    (tmp_path / "keys.json").write_bytes(b"\xff\xfe")
    with pytest.raises(SealedKeyFormatError, match=r"keys\.json: not a keys file"):
        read_keys_file(tmp_path / "keys.json")
