"""A packed script as a notebook: a heading and a cell per module, which together write it, and a cell that runs it."""

from __future__ import annotations

import json

from packer.errors import PackError
from packer.flatten.script_keys import SIZE_LIMIT
from packer.flatten.header import read_contents

FOLDER = "/tmp/packed_kernel"  # not the working folder, which Kaggle keeps as public output


def render_notebook(script: str, name: str) -> str:
    """The `.ipynb` text that writes `script` byte for byte and runs it; the last cell carries its exit code.

    name: of the script's file, without folder or suffix. Inject keys into the script first. Raises PackError when the
    text is no packed script or the notebook is too large for Kaggle.
    """
    path = f"{FOLDER}/{name}.py"
    cells = [heading(f"# {name}", "The cells below write one script; the last cell runs it."), code(setup_source(path))]
    for title, text in script_parts(script):
        cells += [heading(f"## {title}"), code(f"%%writefile -a {path}\n{text}")]
    cells += [heading("## Run"), code(run_source(path))]
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"
    notebook = {
        "cells": [dict(sorted(cell.items())) for cell in cells],
        "metadata": {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    text = json.dumps(notebook, indent=1) + "\n"
    if len(text) > SIZE_LIMIT:
        raise PackError(f"the notebook has {len(text)} bytes; Kaggle takes {SIZE_LIMIT}. Send the script instead")
    return text


def script_parts(script: str) -> list[tuple[str, str]]:
    """The script cut above the parts of its table of contents: (title, text). The texts, each followed by a line end,
    are the script. Raises PackError for a text that is no packed script.

    Blank lines go to the part below them: what ends a cell is not safe from being trimmed.
    """
    lines = script.removesuffix("\n").split("\n")
    contents = read_contents(script)
    if not contents:
        raise PackError("not a packed script: it has no table of contents; give the .py file that the packer wrote")
    cuts = [0]
    for line, _ in contents:
        cut = line - 1
        while not lines[cut - 1]:
            cut -= 1
        cuts.append(cut)
    titles = ["About this script", *(title for _, title in contents)]
    parts = ["\n".join(lines[here:there]) for here, there in zip(cuts, [*cuts[1:], len(lines)], strict=True)]
    return list(zip(titles, parts, strict=True))


def setup_source(path: str) -> str:
    """The first code cell: an empty place for the script."""
    return (
        "import pathlib\n\n"
        f'script = pathlib.Path("{path}")\n'
        "script.parent.mkdir(mode=0o700, exist_ok=True)\n"
        "script.unlink(missing_ok=True)"
    )


def run_source(path: str) -> str:
    """The last cell: run the script and carry its exit code."""
    return (
        "import pathlib\nimport subprocess\nimport sys\n\n"
        f'script = pathlib.Path("{path}")\n'
        'process = subprocess.Popen([sys.executable, "-u", str(script)], stdout=subprocess.PIPE, '
        "stderr=subprocess.STDOUT, text=True)\n"
        "for line in process.stdout:\n"
        '    print(line, end="", flush=True)\n'
        "code = process.wait()\n"
        "script.unlink(missing_ok=True)\n"
        "if code:\n"
        "    raise SystemExit(code)"
    )


def heading(*lines: str) -> dict[str, object]:
    """A text cell."""
    return {"cell_type": "markdown", "metadata": {}, "source": split_source("\n\n".join(lines))}


def code(text: str) -> dict[str, object]:
    """A code cell."""
    return {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": [], "source": split_source(text)}


def split_source(text: str) -> list[str]:
    """Lines with their ends, as notebooks store them."""
    lines = text.split("\n")
    return [line + "\n" for line in lines[:-1]] + ([lines[-1]] if lines[-1] else [])
