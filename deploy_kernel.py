#!/usr/bin/env python3
"""From an ensemble to a scored submission, exactly once: ./deploy_kernel.py ensembles/NAME.yml --wait"""

from __future__ import annotations

from pathlib import Path

from packer.environment import enter_environment

if __name__ == "__main__":
    enter_environment(__file__)

import typer  # noqa: E402

from foldpack.commands.kaggle import deploy  # noqa: E402
from foldpack.commands.run_app import run_app  # noqa: E402

# What is packed is the source of the checkout that this script lies in.
app = typer.Typer(add_completion=False, help=__doc__, context_settings={"obj": Path(__file__).resolve().parent / "src"})
app.command()(deploy)

if __name__ == "__main__":
    raise SystemExit(run_app(app))
