"""The commands `foldpack keys ...`: which keys there are, and how to move or renew them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from foldpack.commands.passphrase import (
    KeyringOption,
    NewPassphraseOption,
    NoPassphraseOption,
    PassphraseOption,
    new_passphrase,
    passphrase_asker,
)
from foldpack.keyring.keyring import Keyring, KeyringError
from foldpack.sealed.keys import write_keys_file

keys_app = typer.Typer(no_args_is_help=True, help="The keyring: which keys there are, and how to move or renew them.")


@keys_app.command("list")
def list_keys(keyring: KeyringOption = None, passphrase_file: PassphraseOption = None) -> None:
    """List the keys by role: ids only, never the keys."""
    ring = Keyring.load(keyring, passphrase_asker(passphrase_file))
    guard = "passphrase" if ring.protected else "file mode only"
    typer.echo(f"{ring.path}: {len(ring)} keys, protected by {guard}")
    for entry in ring.entries():
        header = entry.header_sha256[:16] or "-"
        typer.echo(f"file {entry.file_id}  key {entry.key_id}  header {header:16}  {entry.label}")


@keys_app.command("rotate")
def rotate_keys(keyring: KeyringOption = None, passphrase_file: PassphraseOption = None) -> None:
    """Renew the master key of the keyring. Sealed files and datasets stay as they are: nothing is uploaded."""
    with Keyring.editing(keyring, passphrase_asker(passphrase_file)) as ring:
        ring.rotate_master()
    typer.echo(f"{ring.path}: new master key, {len(ring)} data keys wrapped anew, 0 bytes to upload")


@keys_app.command("passphrase")
def change_passphrase(
    keyring: KeyringOption = None,
    passphrase_file: PassphraseOption = None,
    new_passphrase_file: NewPassphraseOption = None,
    no_passphrase: NoPassphraseOption = False,
) -> None:
    """Put the keyring under a passphrase, change it, or take it away. The master key is renewed too."""
    with Keyring.editing(keyring, passphrase_asker(passphrase_file)) as ring:
        ring.set_passphrase(None if no_passphrase else new_passphrase(new_passphrase_file))
    typer.echo(f"{ring.path}: protected by {'passphrase' if ring.protected else 'file mode only'}, {len(ring)} keys")


@keys_app.command("export")
def export_keys(
    out: Annotated[Path, typer.Option(help="the file to write, mode 0600")],
    labels: Annotated[list[str] | None, typer.Argument(help="roles to export; by default all")] = None,
    kernel: Annotated[bool, typer.Option("--kernel", help="as keys.json for a private dataset, in clear")] = False,
    keyring: KeyringOption = None,
    passphrase_file: PassphraseOption = None,
    new_passphrase_file: NewPassphraseOption = None,
    no_passphrase: NoPassphraseOption = False,
) -> None:
    """Write some keys to another keyring file, under a passphrase of its own, for another machine or as a backup."""
    ring = Keyring.load(keyring, passphrase_asker(passphrase_file))
    if out.exists():
        raise KeyringError(f"{out}: exists already, and may hold the only copy of some key; choose another name")
    chosen = [entry.file_id for entry in ring.entries() if not labels or entry.label in labels]
    missing = sorted(set(labels or []) - {entry.label for entry in ring.entries()})
    if missing or not chosen:
        raise KeyringError(f"{ring.path}: no key for {', '.join(missing) or 'anything'}; see `foldpack keys list`")
    if kernel:
        write_keys_file(out, {file_id: ring.data_key(file_id) for file_id in chosen})
        typer.echo(f"{out}: {len(chosen)} keys in clear; upload it to a PRIVATE dataset only, then delete it here")
        return
    copy = ring.subset(out, chosen)
    if not no_passphrase:
        copy.set_passphrase(new_passphrase(new_passphrase_file))
    copy.save()
    typer.echo(f"{out}: {len(chosen)} keys, protected by {'passphrase' if copy.protected else 'file mode only'}")


@keys_app.command("import")
def import_keys(
    source: Annotated[Path, typer.Argument(help="a file made by `foldpack keys export`")],
    source_passphrase_file: Annotated[Path | None, typer.Option(help="file with its passphrase, mode 0600")] = None,
    keyring: KeyringOption = None,
    passphrase_file: PassphraseOption = None,
) -> None:
    """Take over the keys of another keyring. Keys that are here already stay; a conflict changes nothing."""
    if not source.exists():
        raise KeyringError(f"{source}: no such file; make one with `foldpack keys export`")
    other = Keyring.load(source, passphrase_asker(source_passphrase_file, f"Passphrase of {source}: "))
    with Keyring.editing(keyring, passphrase_asker(passphrase_file)) as ring:
        new = ring.merge(other)
    typer.echo(f"{ring.path}: {new} new keys, {len(ring)} in all")
