"""`foldpack check, where, explain, image, verify`: what the packer knows, for users of this project."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from foldpack.commands.project import kernels_folder, tool_source
from foldpack.commands.seal import KeyringOption, PassphraseOption
from foldpack.commands.seal import verify as verify_sealed_files
from foldpack.errors import DataError
from foldpack.settings.ensemble import read_spec, spec_to_dict
from foldpack.settings.run import ConfigError, read_text
from packer.build.pack import pack_entry
from packer.build.pack_report import needs_lines, report_lines
from packer.flatten.rules import check_project
from packer.image.image import kaggle_image

PACKAGE = "foldpack"


def register(app: typer.Typer) -> None:
    """Add these commands to the `foldpack` application."""
    app.command("check")(check)
    app.command("where")(where_command)
    app.command("explain")(explain)
    app.command("image")(image)
    app.command("verify")(verify)


def check() -> None:
    """Hold all code that may be packed against the packing rules. Exit code 1 when one is broken."""
    entries = sorted(kernels_folder().glob("*.py"))
    violations = check_project(tool_source(), PACKAGE, entries)
    for violation in violations:
        typer.echo(str(violation))
    typer.echo(f"{', '.join(entry.stem for entry in entries)}: {len(violations)} violations of the packing rules")
    if violations:
        raise typer.Exit(1)


def where_command(place: Annotated[str, typer.Argument(help="SCRIPT:LINE, as a traceback shows it")]) -> None:
    """Say which source line a line of a packed script came from."""
    script, _, line = place.rpartition(":")
    if not script or not line.isdigit():
        raise ConfigError(f"'{place}': expected SCRIPT:LINE, for example build/digits/digits.py:1234")
    from packer.build.where import where

    typer.echo(where(read_text(Path(script)), int(line)))


def explain(
    name: Annotated[str, typer.Argument(help="a top-level name")],
    entry: Annotated[str, typer.Option(help="the entry in kernels/")] = "kernel",
) -> None:
    """Say which names keep NAME in the kernel, or that it is left out."""
    typer.echo(_pack(entry).report.explain(name))


def image(
    entry: Annotated[str, typer.Option(help="the entry in kernels/")] = "kernel",
    report: Annotated[bool, typer.Option("--report", help="also every module and what was left out of it")] = False,
) -> None:
    """Show what a kernel needs of the packages on the Kaggle image."""
    lines = report_lines if report else needs_lines
    typer.echo("\n".join(lines(_pack(entry).report, kaggle_image())))


def _pack(entry: str):
    path = kernels_folder() / f"{entry}.py"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in path.parent.glob("*.py")))
        raise ConfigError(f"{path}: there is no such entry; allowed: {known}")
    return pack_entry(path, tool_source(), PACKAGE, spec={})


def verify(
    source: Annotated[Path, typer.Argument(help="a packed script, a .sealed file, or a folder of them")],
    spec: Annotated[Path | None, typer.Option(help="a script: compare with this spec, not the embedded one")] = None,
    keyring: KeyringOption = None,
    passphrase_file: PassphraseOption = None,
) -> None:
    """Check an artefact: a packed script against its sources, sealed files against their keys and headers.

    Exit code 1 when a script differs from what its sources give; the differing part is shown.
    """
    if source.suffix != ".py":
        if spec is not None:
            raise DataError(f"--spec {spec}: only a packed script has a spec; leave it out for sealed files")
        verify_sealed_files(source, keyring, passphrase_file)
        return
    wanted = None if spec is None else spec_to_dict(read_spec(spec))
    from packer.build.where import verify_script

    verdict = verify_script(read_text(source), tool_source(), wanted)
    typer.echo("identical" if verdict.identical else verdict.difference)
    if not verdict.identical:
        raise typer.Exit(1)
