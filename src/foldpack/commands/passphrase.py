"""Where a passphrase comes from: a private file, or the terminal. Never an argument, never the environment."""

from __future__ import annotations

import resource
import stat
import sys
from collections.abc import Callable
from functools import cache
from getpass import getpass
from pathlib import Path
from typing import Annotated

import typer

from foldpack.keyring.keyring import KeyringError, KeyringLockedError

KeyringOption = Annotated[Path | None, typer.Option("--keyring", help="by default ~/.config/foldpack/keyring")]
PassphraseOption = Annotated[
    Path | None, typer.Option("--passphrase-file", help="file with the keyring's passphrase, mode 0600; else asked for")
]
NewPassphraseOption = Annotated[
    Path | None, typer.Option("--new-passphrase-file", help="file with the new passphrase, mode 0600; else asked for")
]
NoPassphraseOption = Annotated[bool, typer.Option("--no-passphrase", help="the file mode 0600 is the only protection")]


def passphrase_asker(path: Path | None, prompt: str = "Passphrase of the keyring: ") -> Callable[[], str]:
    """What reads the passphrase when it is needed, once: from a file, or from the terminal."""
    # A core dump would hold keys.
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))

    @cache
    def ask() -> str:
        if path is not None:
            return read_passphrase(path)
        if not sys.stdin.isatty():
            raise KeyringLockedError("a passphrase is needed, and there is no terminal to ask; give --passphrase-file")
        return getpass(prompt)

    return ask


def new_passphrase(path: Path | None) -> str:
    """A passphrase to set: from a file, or typed twice. Raises KeyringError when empty or typed differently."""
    if path is not None:
        return read_passphrase(path)
    if not sys.stdin.isatty():
        raise KeyringLockedError("a new passphrase is needed and there is no terminal; give --new-passphrase-file")
    first = getpass("New passphrase: ")
    if not first or getpass("Again: ") != first:
        raise KeyringError("the passphrase is empty, or was typed differently the second time; try again")
    return first


def read_passphrase(path: Path) -> str:
    """The first line of a file that only its owner may read. Raises KeyringError."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as failure:
        raise KeyringError(f"{path}: cannot read the passphrase ({type(failure).__name__}); check the file") from None
    if mode & 0o077:
        raise KeyringError(f"{path}: others may read the passphrase (mode {mode:04o}); run `chmod 600 {path}`")
    if not lines or not lines[0]:
        raise KeyringError(f"{path}: the first line is empty; write the passphrase there")
    return lines[0]
