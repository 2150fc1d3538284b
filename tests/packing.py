"""Helpers of the packer's tests: write a small project, pack its entry, run script and package, compare."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from packer.build.pack import PackResult, pack_entry


@dataclass(frozen=True)
class Ran:
    """What a run of a script or package did."""

    code: int
    out: str
    err: str


def write_project(root: Path, files: dict[str, str]) -> Path:
    """Write files (path -> text) below `root`; every package folder under src gets an empty `__init__.py`."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode("utf-8"))
    for folder in sorted({path.parent for path in (root / "src").rglob("*.py")}):
        while folder != root / "src":
            (folder / "__init__.py").touch()
            folder = folder.parent
    return root


def pack_project(root: Path, spec: dict[str, object] | None = None, entry: str = "kernels/go.py") -> PackResult:
    """Pack the project's entry; its package is called toy."""
    return pack_entry(root / entry, root / "src", "toy", spec=spec, command="make toy")


def run_script(script: Path, folder: Path, *arguments: str, python: str = sys.executable) -> Ran:
    """Run a script as `python -I` in an (empty) folder, with a fixed hash seed."""
    folder.mkdir(parents=True, exist_ok=True)
    return run_command([python, "-I", str(script), *arguments], folder)


def run_command(command: list[str], folder: Path) -> Ran:
    """Run in a session of its own, so that workers end with it when it takes more than a minute."""
    process = subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=clean_environment(),
        start_new_session=True,
    )
    try:
        out, err = process.communicate(timeout=60)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    return Ran(process.returncode, out, err)


def run_package(root: Path, entry: str = "kernels/go.py", call: str = "main()") -> Ran:
    """Run the entry's main from the package itself, without packing."""
    code = f"import sys; sys.path[:0] = [{str(root / 'src')!r}, {str((root / entry).parent)!r}]\n"
    code += f"from {Path(entry).stem} import main\nraise SystemExit({call})"
    return run_command([sys.executable, "-I", "-c", code], root)


def clean_environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR") if name in os.environ}
    return {**kept, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONWARNINGS": "ignore"}
