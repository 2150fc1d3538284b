"""When a submission stands, and what the exit code says."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from foldpack.data.items import whole_images
from foldpack.kernel.policy import errors_stand, exit_code, is_rerun, items_digest, script_digest


@pytest.mark.parametrize(("on_error", "rerun", "stands"), [
    ("auto", False, False), ("auto", True, True), ("fail", False, False), ("fail", True, False),
    ("stand", False, True), ("stand", True, True)])
def test_the_policy(on_error: str, rerun: bool, stands: bool) -> None:
    assert errors_stand(on_error, rerun) is stands


@pytest.mark.parametrize("code", [0, 1, 2, 3, 143])
def test_the_exit_code_is_0_after_an_error_only_with_a_valid_submission_that_may_stand(code: int) -> None:
    assert exit_code(code, True, True) == 0
    assert exit_code(code, False, True) == exit_code(code, True, False) == exit_code(code, False, False) == code


@pytest.mark.parametrize(("value", "rerun"), [("1", True), ("True", True), ("", False), ("0", False), ("false", False),
                                              ("False", False), (None, False)])
def test_the_rerun_is_known_by_its_variable(monkeypatch: pytest.MonkeyPatch, value: str | None, rerun: bool) -> None:
    monkeypatch.delenv("KAGGLE_IS_COMPETITION_RERUN", raising=False)
    if value is not None:
        monkeypatch.setenv("KAGGLE_IS_COMPETITION_RERUN", value)
    assert is_rerun() is rerun


def test_predictions_are_known_by_the_script_that_made_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "kernel.py"
    script.write_text("print()\n")
    monkeypatch.setattr("sys.argv", [str(script)])
    assert script_digest() == hashlib.sha256(b"print()\n").hexdigest()
    script.write_text("print(1)\n")
    assert script_digest() == hashlib.sha256(b"print(1)\n").hexdigest()
    for other in (tmp_path / "gone.py", tmp_path / "pytest", tmp_path):
        monkeypatch.setattr("sys.argv", [str(other)])
        assert script_digest() == ""


def test_images_are_known_by_id_order_size_and_time(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a", "b", "gone")]
    paths[0].write_bytes(b"1")
    paths[1].write_bytes(b"2")
    items = whole_images(["a", "b", "c"], paths)
    seen = {items_digest(items)}
    assert items_digest(items) in seen
    seen.add(items_digest(whole_images(["b", "a", "c"], paths)))
    seen.add(items_digest(whole_images(["a", "b", "c"], [paths[1], paths[0], paths[2]])))
    os.utime(paths[0], ns=(1, 1))
    seen.add(items_digest(items))
    paths[1].write_bytes(b"23")
    seen.add(items_digest(items))
    paths[2].write_bytes(b"")
    seen.add(items_digest(items))
    assert len(seen) == 6 or len(seen) == 5  # two files written in the same nanosecond are told apart by their ids
