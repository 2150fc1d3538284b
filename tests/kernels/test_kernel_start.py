"""The packed kernel's first second: what stands when its libraries are slow, broken, or never get imported.

Stubs stand in for the libraries: one that fails at once, and one whose import says that it began and never ends.
"""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small_house import House

from foldpack.engine.runlog import LOG_NAME
from foldpack.settings.ensemble import EnsembleSpec
from foldpack.settings.stages import LabelsDecision
from packer.rehearse.process import lay_out_inputs

FAILS = 'raise {kind}("libnothing.so.12: cannot open shared object file")\n'
HANGS = 'import os, time\nopen(os.environ["BEGUN"], "w").close()\ntime.sleep(600)\n'
RERUN = {"KAGGLE_IS_COMPETITION_RERUN": "1"}
NASTY = b'\xef\xbb\xbfUsage,label,id\r\n"Public, so",0,"a ""b"""\r\n\r\n,NA,\xc3\xa9\r\nx,0,"a ""b"""\r\nz,0\r\n'


@dataclass
class Start:
    """A packed kernel, its inputs, and a library of which the import is ours to decide."""

    house: House
    root: Path
    inputs: Path

    @property
    def output(self) -> Path:
        return self.root / "output"

    @property
    def submission(self) -> Path:
        return self.output / "submission.csv"

    @property
    def sample(self) -> Path:
        return self.inputs / "competitions" / "foldpack-digits" / "sample_submission.csv"

    def launch(self, stub: str, *arguments: str, variables: dict[str, str] | None = None) -> subprocess.Popen[str]:
        """Start the script; stub: the text of every library that it imports first."""
        stubs = self.root / "stubs"
        stubs.mkdir(exist_ok=True)
        for name in ("numpy", "pandas", "timm", "torch", "cryptography", "PIL", "pydantic"):
            (stubs / f"{name}.py").write_text(stub)
        given = arguments or ("--input", str(self.inputs), "--output", str(self.output))
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(stubs), "BEGUN": str(self.root / "begun")}
        return subprocess.Popen([sys.executable, str(self.house.build.script), *given], stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True, cwd=self.root, env=environment | (variables or {}))

    def run(self, stub: str, *arguments: str, variables: dict[str, str] | None = None) -> tuple[int, str, str]:
        """Exit code, what was printed, and what stood on stderr."""
        process = self.launch(stub, *arguments, variables=variables)
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err

    def end_at_import(self, number: int, variables: dict[str, str] | None = None) -> tuple[int, str]:
        """Send a signal once the first library's import has begun. Exit code, and what was printed."""
        begun = self.root / "begun"
        begun.unlink(missing_ok=True)
        process = self.launch(HANGS, variables=variables)
        until = time.monotonic() + 60
        while not begun.exists() and process.poll() is None and time.monotonic() < until:
            time.sleep(0.01)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
        assert "Traceback" not in err
        return process.returncode, out

    def prior_text(self) -> bytes:
        """What pandas would write: the sample with the likeliest class in every row."""
        spec = self.house.build.spec
        likeliest = spec.last.outputs.names[int(np.argmax(np.asarray(spec.last.outputs.prior, dtype=np.float32)))]
        data = io.BytesIO(self.sample.read_bytes())
        table = pd.read_csv(data, dtype=str, keep_default_na=False, index_col=False)
        return table.assign(label=likeliest).to_csv(index=False, lineterminator="\n").encode()

    def events(self) -> list[dict]:
        return [json.loads(line) for line in (self.output / LOG_NAME).read_text().splitlines()]


@pytest.fixture
def start(house: House, tmp_path: Path) -> Start:
    inputs = lay_out_inputs(tmp_path, (house.spec.slug, house.data), {house.build.dataset: house.build.weights})
    return Start(house, tmp_path, inputs)


def test_help_and_wrong_arguments_import_nothing(start: Start) -> None:
    code, out, err = start.run(FAILS.format(kind="ImportError"), "--help")
    assert (code, err) == (0, "") and "small: predict the test set and write submission.csv" in out
    for arguments, told in ((("--imput", "a"), "unrecognized arguments: --imput a"),
                            (("--hours", "nan"), "argument --hours: 'nan'; allowed: a number of hours above 0"),
                            (("--workers", "-1"), "argument --workers: '-1'; allowed: a whole number, 0 or more")):
        code, out, err = start.run(FAILS.format(kind="ImportError"), *arguments)
        assert code == 2 and told in err and "libnothing" not in err and "Traceback" not in err


@pytest.mark.parametrize("sample", [None, NASTY])
def test_killed_while_libraries_are_imported_the_prior_stands(start: Start, sample: bytes | None) -> None:
    if sample is not None:
        start.sample.unlink()
        start.sample.write_bytes(sample)
    code, out = start.end_at_import(signal.SIGKILL)
    assert code == -signal.SIGKILL
    assert start.submission.read_bytes() == start.prior_text()
    count = 72 if sample is None else 4
    assert f"{start.submission}: {count} rows, the training prior stands; now the libraries are imported" in out


@pytest.mark.parametrize(("number", "expected"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_ended_while_libraries_are_imported(start: Start, number: int, expected: int) -> None:
    """In the rerun only a code of 0 saves the submission."""
    for variables, code in (({}, expected), (RERUN, 0)):
        (start.output / LOG_NAME).unlink(missing_ok=True)
        got, out = start.end_at_import(number, variables)
        assert got == code and f"terminated by signal {int(number)}" in out
        assert start.submission.read_bytes() == start.prior_text()
        verdict, end = start.events()
        assert verdict["event"] == ("failed" if code else "the submission stands") and verdict["exit_code"] == code
        assert (end["event"], end["rows"], end["submission"]) == ("end", 72, "the training prior")


@pytest.mark.parametrize("kind", ["ImportError", "OSError", "RuntimeError"])
def test_a_library_that_cannot_be_imported_is_told_and_the_prior_stands(start: Start, kind: str) -> None:
    for variables, expected in (({}, 1), (RERUN, 0)):
        code, out, err = start.run(FAILS.format(kind=kind), variables=variables)
        assert code == expected and f"{kind}: libnothing.so.12: cannot open shared object file" in err
        assert start.submission.read_bytes() == start.prior_text()
        assert ("the submission stands" in out) == (expected == 0)
        assert f"reason {kind} while the libraries were imported, exit_code {expected}" in out


def test_without_the_competition_the_error_does_not_wait_for_libraries(start: Start) -> None:
    start.sample.unlink()
    code, out, err = start.run(FAILS.format(kind="ImportError"))
    assert (code, err) == (2, "")
    assert out == (f"error: no sample_submission.csv with columns id, label below {start.inputs}; attach the "
                   "competition 'foldpack-digits' to the kernel\n")
    assert not start.output.exists()


@pytest.mark.parametrize(("content", "told"), [(b"id,target\na,0\n", " has: id, target"),
                                               (b"id,label\n\xe9,0\n\xff\xff", " cannot be read as CSV")])
def test_a_sample_submission_that_does_not_fit_is_named(start: Start, content: bytes, told: str) -> None:
    start.sample.unlink()
    start.sample.write_bytes(content)
    code, out, err = start.run(FAILS.format(kind="ImportError"))
    assert (code, err) == (2, "")
    assert out == (f"error: no sample_submission.csv with columns id, label below {start.inputs}; "
                   f"{start.sample}{told}; attach the competition 'foldpack-digits' to the kernel\n")


def test_on_kaggle_arguments_are_ignored(start: Start) -> None:
    folders = {"FOLDPACK_REHEARSAL_INPUT": str(start.inputs), "FOLDPACK_REHEARSAL_OUTPUT": str(start.output)}
    code, _, err = start.run(FAILS.format(kind="ImportError"), "-f", "connection.json", "--input", "/nowhere",
                             variables={"KAGGLE_KERNEL_RUN_TYPE": "Batch", **folders})
    assert code == 1 and "libnothing" in err and start.submission.read_bytes() == start.prior_text()


def relabelled(start: Start) -> str:
    table = pd.read_csv(start.sample, dtype=str).assign(label=[str(k % 10) for k in range(72)])
    return table.to_csv(index=False, lineterminator="\n")


@pytest.mark.parametrize(
    ("change", "units", "kept"),
    [
        (lambda text: text, True, True),
        (lambda text: text, False, False),  # nothing was finished: it may be anybody's
        (lambda text: text.replace("\n", "x,0\n", 2), True, False),  # other ids
        (lambda text: text.replace("label", "target"), True, False),
        (lambda text: text[: len(text) // 2], True, False),
    ],
)
def test_a_restart_keeps_a_better_submission(start: Start, change: Callable[[str], str], units: bool,
                                             kept: bool) -> None:
    left = change(relabelled(start)).encode()
    start.output.mkdir()
    start.submission.write_bytes(left)
    (start.output / ".submission.csv.1.tmp").write_text("half")
    if units:
        (start.output / ".foldpack" / "units" / "classify" / "a.rows").mkdir(parents=True)
    code, out = start.end_at_import(signal.SIGTERM)
    assert code == 143
    assert start.submission.read_bytes() == (left if kept else start.prior_text())
    assert ("kept as a process before this one left it" in out) == kept
    assert not list(start.output.glob(".submission*"))
    assert start.events()[-1]["submission"] == ("what was finished" if kept else "the training prior")


def test_the_first_part_takes_the_specs_own_defaults() -> None:
    """It reads plain data, where a value that was left out has no default."""
    fields, labels = EnsembleSpec.model_fields, LabelsDecision.model_fields
    assert (labels["min_labels"].default, labels["max_labels"].default) == (1, None)
    assert (fields["budget"].default.hours, fields["budget"].default.on_error) == (9.0, "auto")
