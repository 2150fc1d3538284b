"""Runs the tests of sealed weights and keyrings under the oldest and the newest `cryptography` that we support.

    python tests/run_matrix.py [VERSION ...]      # by default 43.0.3, 46.0.3 and the newest

Kaggle's image had 43 in spring 2026 and 50 in autumn. Each version is installed by pip into a folder of its own below
$FOLDPACK_MATRIX or ~/.cache/foldpack/matrix, and put before everything else on the path; all other packages are those
of the Python that runs this script.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

VERSIONS = ("43.0.3", "46.0.3", "newest")  # the oldest, the last without decrypt_into, the newest
TESTS = ("test_sealed*.py", "test_keyring.py")
HERE = Path(__file__).parent


def install(version: str, folder: Path) -> None:
    """`cryptography` of this version into `folder`, unless it is there. The newest is looked up each time."""
    if version != "newest" and (folder / "cryptography").is_dir():
        return
    wanted = "cryptography" if version == "newest" else f"cryptography=={version}"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--upgrade"]
    subprocess.run([*pip, "--target", str(folder), wanted], check=True)


def run(version: str, cache: Path) -> tuple[str, int]:
    """Install and test one version -> what was tested, exit code of pytest."""
    folder = cache / f"cryptography-{version}"
    install(version, folder)
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    show = "import cryptography as c; print(c.__version__, c.__file__)"
    shown = subprocess.check_output([sys.executable, "-c", show], env=environment, text=True).split()
    if not shown[1].startswith(str(folder)) or (version != "newest" and shown[0] != version):
        raise SystemExit(f"wanted cryptography {version} in {folder}, got {' '.join(shown)}")
    print(f"== cryptography {shown[0]}", flush=True)
    tests = sorted(str(path) for pattern in TESTS for path in HERE.glob(pattern))
    command = [sys.executable, "-m", "pytest", "-q", "-m", "not slow", "-p", "no:cacheprovider", *tests]
    return shown[0], subprocess.run(command, env=environment, cwd=HERE.parent).returncode


def main(versions: list[str]) -> int:
    cache = Path(os.environ.get("FOLDPACK_MATRIX") or Path.home() / ".cache" / "foldpack" / "matrix")
    results = [run(version, cache.absolute()) for version in versions or VERSIONS]
    for version, code in results:
        print(f"cryptography {version}: {'ok' if code == 0 else 'FAILED'}")
    return max(code for _, code in results)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
