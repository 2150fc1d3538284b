"""The kernel where something gives way: no room for its images, or an error that nobody foresaw, wherever it comes."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
from small_house import House, load_entry

from foldpack.data.decode import Decoded, black_canvas
from foldpack.data.geometry import CanvasKind
from foldpack.data.readers.protocol import Reader
from foldpack.engine.runlog import LOG_NAME
from foldpack.ensemble import score_fuser
from foldpack.kernel import session as kernel_session
from foldpack.kernel import stage as kernel_stage
from foldpack.predict import canvas_file, page_stream
from foldpack.predict.room import Place

LONG = "20"  # hours; the process is that of all tests, and its age counts


@dataclass
class Kernel:
    """Runs the kernel in this process."""

    entry: ModuleType
    root: Path
    spec: dict
    keys: dict[str, str]
    log: Callable[[], str]

    def run(self, output: str = "output") -> int:
        return self.entry.main(self.spec, self.keys, [
            "--input", str(self.root / "input"), "--output", str(self.root / output), "--hours", LONG,
            "--probs", str(self.root / f"{output}.npy")])

    def answer(self, output: str = "output") -> tuple[bytes, bytes]:
        """The submission and the probabilities, to the last bit."""
        return (self.root / output / "submission.csv").read_bytes(), (self.root / f"{output}.npy").read_bytes()


@pytest.fixture
def kernel(house: House, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Kernel:
    shutil.copytree(house.data, tmp_path / "input" / "competitions" / "foldpack-digits")
    shutil.copytree(house.build.weights, tmp_path / "input" / "datasets" / "someone" / "small-weights")
    return Kernel(load_entry(), tmp_path, house.kernel_spec(), house.keys(), lambda: capsys.readouterr().out)


def break_two_images(kernel: Kernel) -> None:
    folder = kernel.root / "input" / "competitions" / "foldpack-digits"
    ids = pd.read_csv(folder / "sample_submission.csv")["id"].tolist()
    (folder / "test" / f"{ids[3]}.png").write_bytes(b"broken")
    (folder / "test" / f"{ids[70]}.png").unlink()


# ---- no room


def test_without_any_room_the_images_are_decoded_again_and_the_answer_has_the_same_bits(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_two_images(kernel)
    assert kernel.run("whole") == 0
    assert "decoded images: kept ['32 px: 0.0 GB in memory']" in kernel.log()
    monkeypatch.setattr(kernel_stage, "find_places", lambda *_: [])
    assert kernel.run("streamed") == 0
    assert kernel.answer("streamed") == kernel.answer("whole")
    log = kernel.log()
    assert "streamed ['32 px: 72 of 72 images are decoded again for each unit']" in log
    assert "images: decoded 70, repaired 0, prior 2" in log and "4 of 4 units" in log


def test_with_room_for_some_images_the_others_are_decoded_again(kernel: Kernel,
                                                                monkeypatch: pytest.MonkeyPatch) -> None:
    break_two_images(kernel)
    assert kernel.run("whole") == 0
    kernel.log()
    room = 72 * canvas_file.PLACE.itemsize + 30 * 3072
    monkeypatch.setattr(kernel_stage, "find_places", lambda *_: [Place(kernel.root / "tmp", room)])
    assert kernel.run("part") == 0
    assert kernel.answer("part") == kernel.answer("whole")
    log = kernel.log()
    assert "42 of 72 images are decoded again for each unit" in log and "decoded 70, repaired 0, prior 2" in log
    assert not (kernel.root / "tmp").exists()


def test_a_disk_that_fills_while_images_are_written_costs_nothing_but_time(kernel: Kernel,
                                                                           monkeypatch: pytest.MonkeyPatch) -> None:
    assert kernel.run("whole") == 0
    kernel.log()
    real, rows = canvas_file.CanvasFile.put, []

    def fill(self: canvas_file.CanvasFile, row: int, canvas: np.ndarray, *more: tuple) -> bool:
        rows.append(row)
        if len(rows) > 20:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(self, row, canvas, *more)

    monkeypatch.setattr(canvas_file.CanvasFile, "put", fill)
    monkeypatch.setattr(kernel_stage, "find_places", lambda *_: [Place(kernel.root / "tmp", 1 << 40)])
    assert kernel.run("full") == 0
    assert kernel.answer("full") == kernel.answer("whole")
    assert "32 px: no more decoded images can be kept ([Errno 28] No space left on device); the others" in kernel.log()


def test_an_image_that_fails_only_when_it_is_read_again_gets_the_prior(kernel: Kernel,
                                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that stumbles after the background pass: no network is asked about a black square."""
    folder = kernel.root / "input" / "competitions" / "foldpack-digits"
    lost = folder / "test" / f"{pd.read_csv(folder / 'sample_submission.csv')['id'][5]}.png"
    real = page_stream.decode_item

    def stumble(path: Path, kinds: list[CanvasKind], reader: Reader) -> Decoded:
        if path != lost:
            return real(path, kinds, reader)
        return Decoded({kind: black_canvas(kind) for kind in kinds}, "fallback", "no answer")

    monkeypatch.setattr(kernel_stage, "find_places", lambda *_: [])
    monkeypatch.setattr(page_stream, "decode_item", stumble)
    assert kernel.run() == 0
    probs = np.load(kernel.root / "output.npy")
    assert np.abs(probs[5] - np.asarray(kernel.spec["stages"][0]["outputs"]["prior"], np.float32)).max() <= 1e-6
    assert np.isfinite(probs).all() and np.abs(probs[6] - probs[5]).max() > 1e-3


def test_predictions_that_find_no_room_go_to_the_temporary_folder(kernel: Kernel,
                                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    assert kernel.run("whole") == 0
    kernel.log()
    (kernel.root / "temp").mkdir()
    monkeypatch.setattr(kernel_stage, "temp_parents", lambda: [kernel.root / "temp"])
    real = os.posix_fallocate

    def full(descriptor: int, start: int, size: int) -> None:
        if "spare" in os.readlink(f"/proc/self/fd/{descriptor}"):
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor, start, size)

    monkeypatch.setattr(os, "posix_fallocate", full)
    assert kernel.run("spare") == 0
    assert kernel.answer("spare") == kernel.answer("whole")
    log = kernel.log()
    assert log.count("where a restart does not look for them") == 4 and "tiny_resnet/fold0: no room for its" in log
    assert not list((kernel.root / "temp").iterdir()) and not (kernel.root / "spare" / ".foldpack").exists()


@pytest.mark.parametrize("kind", ["file", "in a file"])
def test_a_scratch_folder_that_cannot_be_made_is_no_error(kernel: Kernel, kind: str) -> None:
    assert kernel.run("whole") == 0
    (kernel.root / "taken").write_text("mine")
    scratch = kernel.root / "taken" / ("deep" if kind == "in a file" else "")
    kernel.log()
    assert kernel.entry.main(kernel.spec, kernel.keys, [
        "--input", str(kernel.root / "input"), "--output", str(kernel.root / "other"), "--hours", LONG,
        "--probs", str(kernel.root / "other.npy"), "--scratch", str(scratch)]) == 0
    assert kernel.answer("other") == kernel.answer("whole")
    assert kernel.log().count("where a restart does not look for them") == 4
    assert (kernel.root / "taken").read_text() == "mine"


@pytest.mark.parametrize("stands", [False, True])
@pytest.mark.parametrize("place", ["taken", "taken/deep", "folder"])
def test_a_submission_that_cannot_be_written_is_an_error_in_one_line(kernel: Kernel, place: str, stands: bool) -> None:
    kernel.spec["budget"] = {**kernel.spec.get("budget", {}), "on_error": "stand" if stands else "fail"}
    (kernel.root / "taken").write_text("mine")
    (kernel.root / "folder" / "submission.csv").mkdir(parents=True)
    assert kernel.run(place) == 2
    log = kernel.log()
    assert f"error: {kernel.root / place / 'submission.csv'}: cannot be written (" in log
    assert "give a folder that has room and may be written" in log and "end:" not in log
    assert not list((kernel.root / "folder").glob(".*"))


def test_probabilities_that_cannot_be_written_leave_the_submission(kernel: Kernel) -> None:
    (kernel.root / "output.npy").mkdir()
    assert kernel.run() == 2
    log = kernel.log()
    assert f"error: {kernel.root / 'output.npy'}: probabilities cannot be written (" in log
    assert "submission the blend of what is finished" in log


# ---- errors


def raising(real: Callable[..., Any], failure: BaseException, number: int) -> Callable[..., Any]:
    """A function that fails when it is called for the so-many-th time."""
    calls = [0]

    def call(*arguments: Any, **named: Any) -> Any:
        calls[0] += 1
        if calls[0] == number:
            raise failure
        return real(*arguments, **named)

    return call


MODULES = {"Submission": kernel_session, "MemberBlend": score_fuser}
PLACES = [  # what fails, and which call of it
    ("StagePredictor", "load", 2), ("StagePredictor", "build", 2), ("StagePredictor", "predict", 2),
    ("UnitStore", "begin", 2), ("UnitStore", "write", 2), ("UnitStore", "finish", 2), ("FinishedUnits", "add", 2),
    ("MemberBlend", "result", 2), ("Submission", "write", 3),  # the first is the prior
]
FAILURES = [RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"), MemoryError(), AssertionError("made up"),
            OSError(errno.EIO, "Input/output error"), KeyError("made up")]


@pytest.mark.parametrize(("owner", "name", "number"), PLACES)
def test_an_error_costs_one_unit_wherever_it_is_raised(kernel: Kernel, owner: str, name: str, number: int,
                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    kernel.spec["budget"] = {**kernel.spec.get("budget", {}), "on_error": "stand"}
    failure = FAILURES[PLACES.index((owner, name, number)) % len(FAILURES)]
    kind = getattr(MODULES.get(owner, kernel_stage), owner)
    with monkeypatch.context() as patch:
        patch.setattr(kind, name, raising(getattr(kind, name), failure, number))
        assert kernel.run() == 0
    log = kernel.log()
    assert log.count("unit failed: unit tiny_") == 1 and type(failure).__name__ in log
    assert "units 3 of 4" in log and "left_out ['tiny_" in log
    assert kernel.run("again") == 0
    assert kernel.answer("again") != kernel.answer()


@pytest.mark.parametrize(("owner", "name", "number"), PLACES)
def test_where_errors_must_be_seen_they_end_the_run(kernel: Kernel, owner: str, name: str, number: int,
                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    kind = getattr(MODULES.get(owner, kernel_stage), owner)
    monkeypatch.setattr(kind, name, raising(getattr(kind, name), ZeroDivisionError("made up"), number))
    with pytest.raises(ZeroDivisionError, match="made up"):
        kernel.run()
    assert len(pd.read_csv(kernel.root / "output" / "submission.csv")) == 72


@pytest.mark.parametrize(("owner", "name", "number"), PLACES)
def test_the_end_of_the_process_is_no_error_of_a_unit(kernel: Kernel, owner: str, name: str, number: int,
                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    class Ending(BaseException):
        """As Ctrl-C and SIGTERM are."""

    if name == "load":
        pytest.skip("it runs in a thread, which no signal reaches")
    kernel.spec["budget"] = {**kernel.spec.get("budget", {}), "on_error": "stand"}
    kind = getattr(MODULES.get(owner, kernel_stage), owner)
    monkeypatch.setattr(kind, name, raising(getattr(kind, name), Ending(), number))
    with pytest.raises(Ending):
        kernel.run()
    assert "unit failed" not in kernel.log()


def test_when_every_unit_fails_the_prior_stands_and_the_log_says_why(kernel: Kernel,
                                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("device-side assert")

    monkeypatch.setattr(kernel_stage.StagePredictor, "build", fail)
    with pytest.raises(RuntimeError, match="device-side assert"):
        kernel.run()
    kernel.log()
    kernel.spec["budget"] = {**kernel.spec.get("budget", {}), "on_error": "stand"}
    assert kernel.run() == 0
    log = kernel.log()
    assert log.count("unit failed: unit") == 4 and "units 0 of 4" in log and "the training prior" in log
    assert "no unit was finished in time (4 failed, see above)" in log


def test_what_cannot_be_written_was_not_handed_in(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel.spec["budget"] = {**kernel.spec.get("budget", {}), "on_error": "stand"}

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(kernel_session.Submission, "write", full)
    assert kernel.run() == 0
    log = kernel.log()
    assert "no unit was finished in time (4 failed, see above)" in log and "submission the training prior" in log


def test_after_an_error_no_half_of_a_unit_and_no_decoded_image_is_left(kernel: Kernel,
                                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_stage, "find_places", lambda *_: [Place(kernel.root / "tmp", 1 << 30)])
    for owner, name in (("StagePredictor", "predict"), ("StageRunner", "open_pool")):
        with monkeypatch.context() as patch:
            patch.setattr(getattr(kernel_stage, owner), name, raising(lambda *_: None, ZeroDivisionError("made up"), 1))
            with pytest.raises(ZeroDivisionError, match="made up"):
                kernel.run()
        assert sorted(path.name for path in (kernel.root / "output").iterdir()) == [LOG_NAME, "submission.csv"]
        assert not (kernel.root / "tmp").exists()


def test_after_an_error_the_rows_of_half_a_unit_are_taken_up(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_stage, "SHARD_BATCHES", 1)
    assert kernel.run("whole") == 0
    with monkeypatch.context() as patch:
        predictor = kernel_stage.StagePredictor
        patch.setattr(predictor, "predict", raising(predictor.predict, ZeroDivisionError("made up"), 6))
        with pytest.raises(ZeroDivisionError, match="made up"):
            kernel.run()
    kernel.log()
    assert kernel.run() == 0
    log = kernel.log()
    assert log.count("unit taken up: unit tiny_") == 1 and "rows 64" in log and "(1 finished before)" in log
    assert kernel.answer() == kernel.answer("whole")


def test_the_end_line_tells_of_what_an_earlier_process_finished(kernel: Kernel,
                                                                monkeypatch: pytest.MonkeyPatch) -> None:
    """Its submission was kept, and this process ends before it has blended anything."""
    with monkeypatch.context() as patch:
        patch.setattr(kernel_session.KernelSession, "tidy", lambda self: None)
        assert kernel.run() == 0
    answer = (kernel.root / "output" / "submission.csv").read_bytes()
    kernel.spec["budget"] = {**kernel.spec.get("budget", {}), "on_error": "stand"}
    kernel.log()
    monkeypatch.setattr(kernel_stage.StageRunner, "open_pool", raising(lambda *_: None, RuntimeError("no"), 1))
    assert kernel.run() == 0
    assert "units 0 of 4, submission what was finished" in kernel.log()
    assert (kernel.root / "output" / "submission.csv").read_bytes() == answer


def test_finished_units_that_cannot_be_read_again_are_computed_again(kernel: Kernel,
                                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    assert kernel.run("whole") == 0
    kernel.spec["budget"] = {**kernel.spec.get("budget", {}), "on_error": "stand"}
    with monkeypatch.context() as patch:
        patch.setattr(kernel_session.KernelSession, "tidy", lambda self: None)
        assert kernel.run() == 0
    with monkeypatch.context() as patch:
        blend = kernel_stage.FinishedUnits
        patch.setattr(blend, "add", raising(blend.add, OSError(errno.EIO, "Input/output error"), 1))
        assert kernel.run() == 0
    log = kernel.log()
    assert "(4 finished before)" in log and log.count("unit failed: unit") == 1 and "4 of 4 units" in log
    assert kernel.answer() == kernel.answer("whole")
