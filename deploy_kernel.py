#!/usr/bin/env python3
"""Pack an ensemble into one kernel script with sealed weights: ./deploy_kernel.py ensembles/NAME.yml --dry-run"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from foldpack.cli_errors import run_app
from foldpack.keyring import Keyring
from packer.deploy import NO_OWNER, build_kernel, default_owner

app = typer.Typer(add_completion=False, help=__doc__)


@app.command()
def deploy(
    ensemble: Annotated[Path, typer.Argument(help="ensembles/NAME.yml")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="build everything, push nothing")] = False,
    runs: Annotated[Path, typer.Option(help="folder that holds the runs")] = Path("runs"),
    build: Annotated[Path, typer.Option(help="folder for NAME/ and sealed/")] = Path("build"),
    owner: Annotated[str | None, typer.Option(help="Kaggle user; default: that of your credentials")] = None,
    keyring: Annotated[Path | None, typer.Option(help="default: ~/.config/foldpack/keyring")] = None,
) -> None:
    """Write build/NAME/: the kernel, its metadata and the weights dataset."""
    project = Path(__file__).resolve().parent
    with Keyring.editing(keyring, lambda: typer.prompt("Passphrase of the keyring", hide_input=True)) as ring:
        made = build_kernel(ensemble, project, runs, build, owner or default_owner() or NO_OWNER, ring)
    print(f"pack {made.pack_id[:12]}: {made.script} ({made.script.stat().st_size:,} bytes, with its keys, keep it "
          f"private) and {made.keyless.name} (without)")
    count = len(list(made.weights.glob("*.sealed")))
    print(f"weights {made.weights}: {count} sealed files for dataset {made.dataset}")
    if made.spec.keys == "dataset":
        print(f"keys {made.folder / 'keys'}: for dataset {made.datasets[1]}, which must stay private")
    for warning in made.warnings:
        print(f"warning: {warning}")
    if made.dataset.startswith(f"{NO_OWNER}/"):
        print(f"no Kaggle credentials found: '{NO_OWNER}' stands for your user name; give --owner NAME before you push")
    if not dry_run:
        print("this version builds but does not push; upload by hand, the weights first:\n"
              f"  kaggle datasets create -p {made.weights}     (next time: kaggle datasets version -m MESSAGE -p ...)\n"
              f"  kaggle kernels push -p {made.folder}")
        raise typer.Exit(2)


if __name__ == "__main__":
    raise SystemExit(run_app(app))
