"""`python -m packer.image.image_env`: an environment with the versions of the Kaggle image, made once and cached.

It lies in $XDG_CACHE_HOME/foldpack/image-<hash> (default ~/.cache), where the hash is that of the list of the image's
packages. About 8 GB: torch comes with its CUDA libraries, as on Kaggle.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from foldpack.errors import FoldpackError
from packer.image.image import Image, kaggle_image

IMAGE_PYTHON = (3, 12)
# What kernels may import; a test sees to it that those of the project need nothing else. All else comes with these.
KERNEL_PACKAGES = (
    "cryptography", "lightgbm", "numpy", "opencv-python-headless", "pandas", "pillow", "pydantic", "pydicom",
    "pymongo", "pyyaml", "safetensors", "scikit-learn", "scipy", "tifffile", "timm", "torch", "torchvision", "xgboost",
)
MARK = "foldpack-image"  # a file in a finished environment


class ImageEnvError(FoldpackError):
    """The environment is not there, or could not be made."""


def image_folder(image: Image | None = None) -> Path:
    """Where the environment of this list of packages belongs, made or not."""
    chosen = image or kaggle_image()
    text = "\n".join([*constraint_lines(chosen), *KERNEL_PACKAGES])
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "foldpack" / f"image-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def image_python(folder: Path | None = None) -> Path:
    """The interpreter of the finished environment. Raises ImageEnvError when it has not been made."""
    chosen = folder or image_folder()
    python = chosen / "bin" / "python"
    if not (chosen / MARK).is_file() or not python.is_file():
        raise ImageEnvError(f"{chosen}: the Kaggle image's environment is not there; make it with `make image-venv` "
                            "(about 8 GB, some minutes)")
    return python


def constraint_lines(image: Image) -> list[str]:
    """`name==version` of every pinned package, less the local part (`+cu128`) that package indexes do not have."""
    return [f"{name}=={version.partition('+')[0]}" for name, version in sorted(image.versions.items()) if version]


def find_interpreter() -> tuple[str, str]:
    """The image's Python where this machine has it, else this one: (command, what to say about it)."""
    name = "python" + ".".join(map(str, IMAGE_PYTHON))
    candidates = [shutil.which(name) or "", *map(str, sorted(Path.home().glob(f".pyenv/versions/3.12.*/bin/{name}")))]
    for candidate in candidates:
        if candidate and subprocess.run([candidate, "-c", "import venv"], capture_output=True).returncode == 0:
            return candidate, f"{name}, as on Kaggle"
    here = ".".join(map(str, sys.version_info[:3]))
    return sys.executable, f"Python {here}, since {name} is not on this machine; Kaggle has {name}"


def make_image_env(folder: Path, image: Image) -> Path:
    """Make the environment and remove those of older lists. Returns its interpreter. Raises ImageEnvError."""
    if folder.exists():
        shutil.rmtree(folder)
    interpreter, said = find_interpreter()
    say(f"making {folder} with {said}: {len(KERNEL_PACKAGES)} packages of the image of {image.date} and what they need")
    folder.parent.mkdir(parents=True, exist_ok=True)
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    try:
        subprocess.run([interpreter, "-m", "venv", str(folder)], check=True)
        constraints = folder / "constraints.txt"
        constraints.write_text("\n".join(constraint_lines(image)) + "\n", encoding="utf-8")
        subprocess.run([*pip, "--constraint", str(constraints), *KERNEL_PACKAGES], check=True, stdout=sys.stderr)
    except (OSError, subprocess.CalledProcessError) as failure:
        raise ImageEnvError(f"{folder}: the environment could not be made ({failure}); see above what "
                            "pip says") from None
    (folder / MARK).write_text(said + "\n", encoding="utf-8")
    for older in folder.parent.glob("image-*"):
        if older != folder and (older / MARK).is_file():
            say(f"removing {older}, of an older list")
            shutil.rmtree(older)
    return image_python(folder)


def say(text: str) -> None:
    """To the terminal, not into what is read by a script."""
    print(text, file=sys.stderr, flush=True)


def main(argv: list[str] | None = None) -> int:
    """Make the environment if it is not there; the last line of stdout is its interpreter."""
    parser = argparse.ArgumentParser(prog="python -m packer.image.image_env", description=__doc__)
    parser.add_argument("--no-make", action="store_true", help="only say where it is; exit code 2 when it is not there")
    options = parser.parse_args(argv)
    folder = image_folder()
    try:
        try:
            python = image_python(folder)
        except ImageEnvError:
            if options.no_make:
                raise
            python = make_image_env(folder, kaggle_image())
    except ImageEnvError as failure:
        say(str(failure))
        return 2
    print(python)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
