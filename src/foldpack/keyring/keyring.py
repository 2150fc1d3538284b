"""The keyring: one data key a sealed file, wrapped under a master key, in one file that only its owner may read.

The master key lies in the same file, either as it is (mode 0600 is then the only protection) or wrapped under a
passphrase by scrypt. Changing the master rewraps the data keys and leaves every sealed file as it is. docs/keys.md.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from foldpack.errors import FoldpackError
from foldpack.files import write_atomic
from foldpack.sealed.disk import create_private_file, sweep_sealed_leftovers
from foldpack.sealed.format import DataKey, key_id_of

KEYRING_FORMAT = "foldpack keyring"
KEYRING_VERSION = 1
SCRYPT_LOG2_N = 17  # 128 MiB, about half a second
SCRYPT_LOG2_N_LIMIT = 20  # 1 GiB; a keyring file that asks for more is refused, lest it freeze the machine
SCRYPT_R = 8
SCRYPT_P = 1


class KeyringError(FoldpackError):
    """The base of everything that can go wrong with a keyring."""


class KeyNotFoundError(KeyringError):
    """The keyring has no key for this file."""


class KeyConflictError(KeyringError):
    """The keyring has another key for this file already."""


class KeyringPermissionError(KeyringError):
    """Others may read the keyring."""


class KeyringUnreadableError(KeyringError):
    """The keyring cannot be read or written."""


class KeyringDamagedError(KeyringError):
    """The file is not a keyring, or was changed by something else than foldpack."""


class KeyringVersionError(KeyringError):
    """The keyring was written by a newer foldpack."""


class KeyringCostError(KeyringError):
    """The keyring asks for more scrypt work than we are willing to do."""


class KeyringLockedError(KeyringError):
    """The keyring is under a passphrase and none was given."""


class WrongPassphraseError(KeyringError):
    """The passphrase does not open the keyring."""


@dataclass(frozen=True)
class KeyEntry:
    """What the keyring tells about a data key without showing it."""

    file_id: str  # hex, 32 digits
    key_id: str  # hex, 16 digits
    label: str  # the role that the file was sealed for
    header_sha256: str  # pins the version of the sealed file; empty when it was not recorded


def default_keyring_path() -> Path:
    """`$XDG_CONFIG_HOME/foldpack/keyring`, by default under `~/.config`."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "foldpack" / "keyring"


class Keyring:
    """Data keys by file id. Get one from `Keyring.load`, or from `Keyring.editing` to change it."""

    def __init__(self, path: Path) -> None:
        """An empty keyring with a fresh master key, not yet written."""
        self.path = path
        self._master = DataKey(secrets.token_bytes(32))
        self._passphrase_key: DataKey | None = None  # what wraps the master key, when it is under a passphrase
        self._scrypt: dict[str, Any] = {}  # cost and salt that gave it
        self._entries: dict[str, tuple[KeyEntry, DataKey]] = {}

    @classmethod
    def load(cls, path: Path | None = None, ask_passphrase: Callable[[], str] | None = None) -> Keyring:
        """Read the keyring at `path`; an empty one when there is no such file.

        `ask_passphrase` is called only when the keyring is under one. Raises KeyringError.
        """
        ring = cls(path or default_keyring_path())
        content = _read_keyring(ring.path)
        if content is None:
            return ring
        try:
            ring._unlock(content["master"], ask_passphrase)
            for file_id, item in content["keys"].items():
                entry = KeyEntry(file_id, item["key_id"], item["label"], item["header_sha256"])
                ring._entries[file_id] = entry, _unwrap(ring._master, item, _entry_context(entry))
        except (KeyError, TypeError, ValueError, AttributeError, InvalidTag):
            raise KeyringDamagedError(
                f"{ring.path}: damaged keyring; restore it from a backup, or remove it and seal the weights again"
            ) from None
        return ring

    @classmethod
    @contextmanager
    def editing(cls, path: Path | None = None, ask_passphrase: Callable[[], str] | None = None) -> Iterator[Keyring]:
        """Load, let the block change, save: under a lock, so that two commands at once lose no key."""
        place = path or default_keyring_path()
        with _keyring_lock(place):
            ring = cls.load(place, ask_passphrase)
            yield ring
            ring.save()

    def save(self) -> None:
        """Write atomically, mode 0600. Every key is wrapped anew."""
        if self._passphrase_key is None:
            master: dict[str, Any] = {"protection": "none", "key": bytes(self._master).hex()}
        else:
            wrapped = _wrap(self._passphrase_key, self._master, b"foldpack keyring v1 master")
            master = {"protection": "scrypt", **self._scrypt, **wrapped}
        keys = {}
        for file_id, (entry, key) in sorted(self._entries.items()):
            shown = {name: value for name, value in asdict(entry).items() if name != "file_id"}
            keys[file_id] = {**shown, **_wrap(self._master, key, _entry_context(entry))}
        content = {"format": KEYRING_FORMAT, "version": KEYRING_VERSION, "master": master, "keys": keys}
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            sweep_sealed_leftovers(self.path)
            write_atomic(self.path, json.dumps(content, indent=1) + "\n", 0o600)
        except OSError as failure:
            raise KeyringUnreadableError(
                f"{self.path}: cannot write the keyring ({failure.strerror}); check the folder, or give --keyring"
            ) from None

    def entries(self) -> list[KeyEntry]:
        """All entries by label, then file id."""
        return sorted((entry for entry, _ in self._entries.values()), key=lambda entry: (entry.label, entry.file_id))

    def entry(self, file_id: str) -> KeyEntry:
        """What is known of one file. Raises KeyNotFoundError."""
        return self._found(file_id)[0]

    def data_key(self, file_id: str) -> DataKey:
        """The key of one file. Raises KeyNotFoundError."""
        return self._found(file_id)[1]

    def add(self, file_id: str, key: bytes, label: str, header_sha256: str = "") -> None:
        """Store the key of a file. Storing the same key twice updates label and hash; another key is refused."""
        if file_id in self._entries and self._entries[file_id][1] != key:
            raise KeyConflictError(
                f"{self.path}: has another key for file {file_id} ({self.entry(file_id).label}) already; "
                "keys are never overwritten, so seal the file under a new id"
            )
        self._entries[file_id] = KeyEntry(file_id, key_id_of(key), label, header_sha256), DataKey(key)

    def merge(self, other: Keyring) -> int:
        """Take over all keys of another keyring -> how many were new."""
        before = len(self._entries)
        for entry, key in other._entries.values():
            self.add(entry.file_id, key, entry.label, entry.header_sha256)
        return len(self._entries) - before

    def subset(self, path: Path, file_ids: Iterable[str]) -> Keyring:
        """A new keyring at `path`, under a master of its own, with these keys only. Not yet written."""
        ring = Keyring(path)
        for file_id in file_ids:
            entry, key = self._found(file_id)
            ring.add(file_id, key, entry.label, entry.header_sha256)
        return ring

    def rotate_master(self) -> None:
        """Replace the master key: the old one no longer opens this keyring. Sealed files stay as they are."""
        self._master = DataKey(secrets.token_bytes(32))

    def set_passphrase(self, passphrase: str | None, log2_n: int = SCRYPT_LOG2_N) -> None:
        """Put the master key under a passphrase, or with None under the file mode alone. The master is replaced too."""
        self.rotate_master()
        self._passphrase_key, self._scrypt = None, {}
        if passphrase is not None:
            self._scrypt = {"log2_n": log2_n, "r": SCRYPT_R, "p": SCRYPT_P, "salt": secrets.token_bytes(16).hex()}
            self._passphrase_key = _scrypt_key(passphrase, self._scrypt)

    @property
    def protected(self) -> bool:
        """Whether a passphrase is needed to open this keyring."""
        return self._passphrase_key is not None

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        return f"<Keyring {self.path}: {len(self)} keys>"

    def _found(self, file_id: str) -> tuple[KeyEntry, DataKey]:
        if file_id not in self._entries:
            raise KeyNotFoundError(
                f"{self.path}: no key for file {file_id} among {len(self)}; import the keyring that sealed it with "
                "`foldpack keys import`, or give --keyring"
            )
        return self._entries[file_id]

    def _unlock(self, master: dict[str, Any], ask_passphrase: Callable[[], str] | None) -> None:
        """Get the master key out of its record."""
        if master["protection"] == "none":
            self._master = DataKey(bytes.fromhex(master["key"]))
            return
        cost = (master["log2_n"], master["r"], master["p"])
        if not 1 <= cost[0] <= SCRYPT_LOG2_N_LIMIT or cost[1:] != (SCRYPT_R, SCRYPT_P):
            raise KeyringCostError(
                f"{self.path}: asks for scrypt cost (log2 N, r, p) = {cost}, allowed are N up to "
                f"2^{SCRYPT_LOG2_N_LIMIT} with r = {SCRYPT_R}, p = {SCRYPT_P}; restore the keyring from a backup"
            )
        if ask_passphrase is None:
            raise KeyringLockedError(f"{self.path}: the keyring is under a passphrase; give --passphrase-file")
        self._scrypt = {name: master[name] for name in ("log2_n", "r", "p", "salt")}
        self._passphrase_key = _scrypt_key(ask_passphrase(), self._scrypt)
        try:
            self._master = _unwrap(self._passphrase_key, master, b"foldpack keyring v1 master")
        except InvalidTag:
            raise WrongPassphraseError(f"{self.path}: the passphrase does not open this keyring; try again") from None


def _read_keyring(path: Path) -> dict[str, Any] | None:
    """The JSON content of a keyring file that only its owner may read; None when there is no such file."""
    try:
        with open(path, encoding="utf-8") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if mode & 0o077:
                raise KeyringPermissionError(
                    f"{path}: others may read the keyring (mode {mode:04o}); run `chmod 600 {path}`"
                )
            content = json.load(file)
    except FileNotFoundError:
        return None
    except OSError as failure:
        raise KeyringUnreadableError(
            f"{path}: cannot read the keyring ({failure.strerror}); check its path and owner"
        ) from None
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict) or content.get("format") != KEYRING_FORMAT:
        raise KeyringDamagedError(f"{path}: not a foldpack keyring; restore it from a backup, or give --keyring")
    if content.get("version") != KEYRING_VERSION:
        raise KeyringVersionError(
            f"{path}: keyring version {str(content.get('version'))[:10]}, this foldpack reads {KEYRING_VERSION}; "
            "upgrade foldpack"
        )
    return content


@contextmanager
def _keyring_lock(path: Path) -> Iterator[None]:
    """Keep other processes from changing the keyring meanwhile. Waits for them."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = create_private_file(path.with_name(path.name + ".lock"))
    except OSError as failure:
        raise KeyringUnreadableError(
            f"{path}: cannot lock the keyring ({failure.strerror}); check the folder, or give --keyring"
        ) from None
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _entry_context(entry: KeyEntry) -> bytes:
    """Binds a wrapped key to everything that its entry says."""
    return b"foldpack keyring v1 entry\0" + json.dumps(asdict(entry), sort_keys=True).encode()


def _wrap(wrapping_key: bytes, key: bytes, context: bytes) -> dict[str, str]:
    """AES-256-GCM under a fresh random nonce -> its JSON fields."""
    nonce = secrets.token_bytes(12)
    return {"nonce": nonce.hex(), "wrapped": AESGCM(bytes(wrapping_key)).encrypt(nonce, bytes(key), context).hex()}


def _unwrap(wrapping_key: bytes, record: dict[str, Any], context: bytes) -> DataKey:
    """The inverse. Raises InvalidTag."""
    nonce, wrapped = bytes.fromhex(record["nonce"]), bytes.fromhex(record["wrapped"])
    return DataKey(AESGCM(bytes(wrapping_key)).decrypt(nonce, wrapped, context))


def _scrypt_key(passphrase: str, cost: dict[str, Any]) -> DataKey:
    """Passphrase -> wrapping key."""
    scrypt = Scrypt(salt=bytes.fromhex(cost["salt"]), length=32, n=1 << cost["log2_n"], r=cost["r"], p=cost["p"])
    return DataKey(scrypt.derive(passphrase.encode("utf-8")))
