"""The commands seal, open, inspect, verify and convert. No key is ever shown, or taken as an argument."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from foldpack.commands.keys import keys_app
from foldpack.commands.passphrase import KeyringOption, PassphraseOption, passphrase_asker
from foldpack.commands.project import DataOption, told_data
from foldpack.keyring.keyring import Keyring, KeyringError
from foldpack.keyring.store import (
    open_targets,
    open_with_keyring,
    role_of,
    seal_with_keyring,
    sealable_files,
    sealed_files,
    verify_with_keyring,
)
from foldpack.sealed.container import read_sealed_header
from foldpack.sealed.errors import SealedError

LISTED = 20  # entries of a checkpoint that are named, at most


def register(app: typer.Typer) -> None:
    """Add these commands to the `foldpack` application."""
    app.pretty_exceptions_enable = False  # its tracebacks can print local variables, and so keys
    app.command("seal")(seal)
    app.command("open")(open_)
    app.command("inspect")(inspect)
    app.command("convert")(convert)
    app.command("halve")(halve)
    app.add_typer(keys_app, name="keys")


def seal(
    source: Annotated[Path, typer.Argument(help="a .safetensors file or booster, or a folder of them")],
    out: Annotated[Path, typer.Option(help="FILE.sealed, or a folder, in which files get opaque names")],
    role: Annotated[str | None, typer.Option(help="what the file is for; by default its name")] = None,
    keyring: KeyringOption = None,
    passphrase_file: PassphraseOption = None,
) -> None:
    """Encrypt weights. Each file gets a key of its own, kept in the keyring."""
    ask = passphrase_asker(passphrase_file)
    folder = source if source.is_dir() else None
    if folder and role:
        raise SealedError(f"--role {role!r} names one file, but {source} is a folder; leave --role out")
    sources = sealable_files(source) if folder else [source]
    total = 2 * sum(path.stat().st_size for path in sources if path.is_file())
    with progress_bar("sealing", total) as advance:
        for path in sources:
            chosen = role or role_of(path, folder)
            place, info = seal_with_keyring(path, out, chosen, keyring=keyring, ask_passphrase=ask, progress=advance)
            typer.echo(f"{path} -> {place}  role {chosen}  header {info.header_sha256}")


def open_(
    source: Annotated[Path, typer.Argument(help="a .sealed file, or a folder of them")],
    out: Annotated[Path, typer.Option(help="the file to write, or for a folder the folder")],
    keyring: KeyringOption = None,
    passphrase_file: PassphraseOption = None,
) -> None:
    """Decrypt sealed files to disk, readable by you only. The kernel never does this."""
    ring = Keyring.load(keyring, passphrase_asker(passphrase_file))
    targets = list(open_targets(source, out, ring))
    with progress_bar("opening", sum(path.stat().st_size for path, _ in targets if path.is_file())) as advance:
        for path, target in targets:
            open_with_keyring(path, target, ring, progress=advance)
            typer.echo(f"{path} -> {target}")


def inspect(source: Annotated[Path, typer.Argument(help="a .sealed file, or a folder of them")]) -> None:
    """Show what the headers of sealed files say. Needs no key, and so verifies nothing but form and size."""
    for path in sealed_files(source):
        info = read_sealed_header(path)
        typer.echo(
            f"{path}\n  file id  {info.file_id}\n  key id   {info.key_id}\n  content  {info.plain_size:,} bytes\n"
            f"  sealed   {info.sealed_size:,} bytes in chunks of {info.chunk_size:,}\n  header   {info.header_sha256}"
        )


def verify(
    source: Annotated[Path, typer.Argument(help="a .sealed file, or a folder of them")],
    keyring: KeyringOption = None,
    passphrase_file: PassphraseOption = None,
) -> None:
    """Check every byte of sealed files against their keys, roles and pinned headers. Writes nothing."""
    ring = Keyring.load(keyring, passphrase_asker(passphrase_file))
    paths, refused = sealed_files(source), 0
    with progress_bar("verifying", sum(path.stat().st_size for path in paths if path.is_file())) as advance:
        for path in paths:
            try:
                info = verify_with_keyring(path, ring, progress=advance)
            except (SealedError, KeyringError) as failure:
                if len(paths) == 1:
                    raise
                refused += 1
                typer.echo(f"refused  {failure}")
            else:
                typer.echo(f"ok       {path}  role {ring.entry(info.file_id).label}")
    if refused:
        raise SealedError(f"{source}: {refused} of {len(paths)} sealed files were refused; see the lines above")


def convert(
    source: Annotated[Path, typer.Argument(help="a .pth file, or with --fp16 a .safetensors file")],
    out: Annotated[Path, typer.Option(help="the .safetensors file to write")],
    key: Annotated[str | None, typer.Option(help="the set of weights to take: its keys joined by dots")] = None,
    fp16: Annotated[bool, typer.Option("--fp16", help="round 32 and 64 bit floats to half precision")] = False,
) -> None:
    """Turn foreign weights into safetensors, with weights_only=True, and optionally halve them.

    A file with several sets of weights (a network and its average) wants --key; without it they are listed.
    """
    from foldpack.models.weight_files import convert_pth, halve_weights  # brings torch
    from foldpack.models.weight_sets import tensors_text

    if source.suffix == ".safetensors":
        if not fp16:
            raise SealedError(f"{source}: is safetensors already; give --fp16 to halve it, or seal it as it is")
        if key is not None:
            raise SealedError(f"--key {key} names a set of weights in a .pth file; {source} holds one, so leave it out")
        report = halve_weights(source, out)
        typer.echo(
            f"{source} -> {out}  {report.tensors} tensors rounded, largest error {report.max_abs_error:.3g} "
            f"({report.max_rel_error:.2e} of the tensor's largest value), {report.underflows} values became zero"
        )
        return
    taken = convert_pth(source, out, key=key, half=fp16)
    origin = "" if taken.title == "." else f" of {taken.title}"
    typer.echo(f"{source} -> {out}  {tensors_text(len(taken.tensors))}{origin}")
    if taken.stripped:
        typer.echo(f"taken off every name: {taken.stripped}")
    if taken.kept:
        typer.echo(taken.kept)
    if taken.left_out:
        more = f" and {len(taken.left_out) - LISTED} more" if len(taken.left_out) > LISTED else ""
        typer.echo(f"left out: {', '.join(taken.left_out[:LISTED])}{more}")


def halve(
    run: Annotated[Path, typer.Argument(help="a finished run, runs/RUN")],
    out: Annotated[Path, typer.Option(help="the run to write, such as runs/RUN_fp16")],
    data: DataOption = None,
    folds_csv: Annotated[Path, typer.Option("--folds", help="made by `foldpack folds`")] = Path("folds.csv"),
) -> None:
    """Make a run in half precision, predicted out of fold with its rounded weights, and tell what rounding cost."""
    from foldpack.train.halve import halve_run  # brings torch, which no other command here needs

    before, after = halve_run(run, out, told_data(data), folds_csv)
    change = f"{after - before:+.6f}"
    typer.echo(f"{run} -> {out}  oof {before:.6f} -> {after:.6f}, change {change}; see {out / 'halved.json'}")


@contextmanager
def progress_bar(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar on the terminal, nothing elsewhere -> the function to call with bytes done."""
    console = Console(stderr=True)
    columns = (TextColumn(what), BarColumn(), DownloadColumn(binary_units=True), TransferSpeedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(what, total=total)
        yield lambda count: progress.advance(task, count)
