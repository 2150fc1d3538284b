"""The environment with the Kaggle image's versions: where it lies, how it is made, what is said without it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from packer.build.pack import pack_entry
from packer.image import image_env
from packer.image.image import Image, kaggle_image
from packer.image.image_env import (
    KERNEL_PACKAGES,
    MARK,
    ImageEnvError,
    constraint_lines,
    image_folder,
    image_python,
    main,
    make_image_env,
)

PROJECT = Path(__file__).parents[3]
IMAGE = Image("2026-05-14", {"torch": "2.10.0+cu128", "numpy": "2.0.2", "free": ""}, {})


def test_every_kernel_needs_only_what_is_in_it() -> None:
    for kernel in (PROJECT / "kernels").glob("*.py"):
        report = pack_entry(kernel, PROJECT / "src", "foldpack", spec={"name": "best"}).report
        assert set(report.packages) <= set(KERNEL_PACKAGES)
    assert set(KERNEL_PACKAGES) <= set(kaggle_image().versions)


def test_versions_are_pinned_without_their_local_part() -> None:
    assert constraint_lines(IMAGE) == ["numpy==2.0.2", "torch==2.10.0"]
    pinned = constraint_lines(kaggle_image())
    assert {"torch==2.10.0", "torchvision==0.25.0", "timm==1.0.26", "cryptography==43.0.3"} <= set(pinned)


def test_the_folder_goes_with_the_list(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    other = Image(IMAGE.date, {**IMAGE.versions, "numpy": "2.0.3"}, {})
    assert image_folder(IMAGE).parent == tmp_path / "foldpack"
    assert image_folder(IMAGE) == image_folder(IMAGE) != image_folder(other)


def test_a_missing_or_unfinished_environment_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str],
                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (image_folder() / "bin").mkdir(parents=True)
    (image_folder() / "bin" / "python").touch()
    with pytest.raises(ImageEnvError, match="is not there; make it with `make image-venv`"):
        image_python()
    assert main(["--no-make"]) == 2
    assert "make image-venv" in capsys.readouterr().err


def test_it_is_made_once_and_older_ones_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                           capsys: pytest.CaptureFixture[str]) -> None:
    commands: list[list[str]] = []

    def run(command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        if command[1:3] == ["-m", "venv"]:
            python = Path(command[3]) / "bin" / "python"
            python.parent.mkdir(parents=True)
            python.touch()
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(image_env.subprocess, "run", run)
    monkeypatch.setattr(image_env, "find_interpreter", lambda: (sys.executable, "this one"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for name, mark in (("image-old", True), ("image-mine", False)):
        (tmp_path / "foldpack" / name).mkdir(parents=True)
        if mark:
            (tmp_path / "foldpack" / name / MARK).touch()
    assert main([]) == 0 and main([]) == 0
    assert capsys.readouterr().out.split() == [str(image_folder() / "bin" / "python")] * 2
    assert len(commands) == 2 and commands[1][-len(KERNEL_PACKAGES):] == list(KERNEL_PACKAGES)
    assert "torch==2.10.0" in (image_folder() / "constraints.txt").read_text()
    left = sorted(path.name for path in (tmp_path / "foldpack").iterdir())
    assert left == sorted(["image-mine", image_folder().name])


def test_a_failed_install_leaves_no_finished_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(command: list[str], **options: object) -> None:
        if command[1:3] == ["-m", "venv"]:
            Path(command[3]).mkdir(parents=True)
        else:
            raise subprocess.CalledProcessError(1, command)

    monkeypatch.setattr(image_env, "find_interpreter", lambda: (sys.executable, "this one"))
    monkeypatch.setattr(image_env.subprocess, "run", run)
    with pytest.raises(ImageEnvError, match="could not be made .*see above what pip says"):
        make_image_env(tmp_path / "image", IMAGE)
    assert not (tmp_path / "image" / MARK).exists()
