"""A whole build rehearsed: what is looked at, and what each kind of failure says."""

from __future__ import annotations

import dataclasses
import io
import sys
from pathlib import Path

import numpy as np
import pytest
from made_competition import competition_of
from made_stages import stage_of
from one_decoded import decode_image
from PIL import Image
from rich.console import Console

from foldpack.competitions.adapters import find_adapter
from foldpack.data.geometry import CanvasKind
from foldpack.errors import DataError
from foldpack.settings.ensemble import BudgetSpec, EnsembleSpec, MetricSpec
from foldpack.settings.outputs import Classes, ScoreBlend
from foldpack.settings.stages import ClassDecision, FoldSpec, MemberSpec, StageSpec
from packer.build.kernel_folder import Build, with_fallback
from packer.rehearse.images import images_of, noise_images, write_competition
from packer.rehearse.process import RehearsalError
from packer.rehearse.sandbox import INPUT_VARIABLE, OUTPUT_VARIABLE
from packer.rehearse.verdict import Check, RehearsalReport, rehearse_build

DIGITS = find_adapter("digits")
KEY = "0123456789abcdef" * 4
# A kernel of the digits kind that answers with the first pixel; what it does wrong is in WRONG.
KERNEL = f'''
import csv, os, pathlib, sys
KEYS: dict[str, str] = {{"one.sealed": "{KEY}"}}
inputs = pathlib.Path(os.environ.get("{INPUT_VARIABLE}", "/kaggle/input"))
output = pathlib.Path(os.environ.get("{OUTPUT_VARIABLE}", "/kaggle/working"))
sample = next(inputs.rglob("sample_submission.csv"))
ids = [row["id"] for row in csv.DictReader(sample.open())]
rerun = os.environ.get("KAGGLE_IS_COMPETITION_RERUN") == "1"
assert os.environ["KAGGLE_KERNEL_RUN_TYPE"] == "Batch" and sys.argv[1:] == []
print("at", sample.relative_to(inputs), "weights", next(inputs.rglob("one.sealed")).relative_to(inputs))
answers = ["3" if (sample.parent / "test" / (item + ".png")).stat().st_size % 2 else "4" for item in ids]
# WRONG
with (output / "submission.csv").open("w") as file:
    csv.writer(file).writerows([["id", "label"], *zip(ids, answers)])
'''


def make_spec(**changes: object) -> EnsembleSpec:
    member = MemberSpec(run="a", weight=1.0, views=["identity"], size=32, seconds_per_image=0.1,
                        folds=[FoldSpec(fold=0, sha256="0" * 64)])
    outputs = Classes(link="softmax", names=[str(digit) for digit in range(10)], prior=[0.1] * 10)
    stage = StageSpec(name="main", task="classify", outputs=outputs, members=[member],
                      fuse=ScoreBlend(), decision=ClassDecision())
    fields: dict[str, object] = {
        "name": "best", "competition": "digits", "slug": "the-slug",
        "metric": MetricSpec(name="accuracy", oof=0.9), "budget": BudgetSpec(hours=2.0),
        "stages": [stage]}
    return EnsembleSpec(**(fields | changes))


def make_build(folder: Path, wrong: str = "", **changes: object) -> Build:
    """A build whose kernel is a few lines. wrong: a line put in before the submission is written."""
    (folder / "weights").mkdir(parents=True)
    (folder / "weights" / "one.sealed").write_bytes(b"sealed")
    script = folder / "best.py"
    script.write_text(KERNEL.replace("# WRONG", wrong))
    spec = with_fallback(make_spec(**changes), DIGITS)
    return Build(folder, script, script, folder / "weights", ["me/best-weights"], "0" * 64, spec, [])


def check_of(report: RehearsalReport, name: str) -> Check:
    return next(check for check in report.checks if check.name == name)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> tuple[RehearsalReport, Path]:
    root = tmp_path_factory.mktemp("rehearsal")
    return rehearse_build(make_build(root / "build"), None, root / "out"), root / "out"


def test_a_good_kernel_passes_every_check(report: tuple[RehearsalReport, Path]) -> None:
    done, _ = report
    assert done.ok and [check.name for check in done.checks] == [
        "public run", "scoring run", "no error hidden", "corrupt image", "same answers", "no key shown",
        "left in /kaggle/working", "memory", "predicted time"]
    assert done.rows == 40 and done.images == 10_000 and done.seconds > 0 and done.peak > 2**20
    assert check_of(done, "public run").detail.startswith("3 rows in ")
    assert check_of(done, "same answers").detail == "3 of 3 images are answered alike in both runs"


def test_it_runs_in_both_layouts_with_a_shuffled_larger_set(report: tuple[RehearsalReport, Path]) -> None:
    _, out = report
    assert (out / "public/log.txt").read_text() == (
        "at the-slug/sample_submission.csv weights best-weights/one.sealed\n")
    assert (out / "scoring/log.txt").read_text() == (
        "at competitions/the-slug/sample_submission.csv weights datasets/me/best-weights/one.sealed\n")
    ids = [line.split(",")[0] for line in (out / "scoring/output/submission.csv").read_text().splitlines()[1:]]
    assert ids != sorted(ids) and len(ids) == 40 and ids[0] != "rehearsal_00000"


def test_the_table_shows_every_check(report: tuple[RehearsalReport, Path]) -> None:
    stream = io.StringIO()
    Console(file=stream, width=200).print(report[0].table())
    for check in report[0].checks:
        assert check.name in stream.getvalue()
    assert "Kaggle has 31.4" in stream.getvalue() and "times 1; the budget is 2 h" in stream.getvalue()


@pytest.mark.parametrize(("wrong", "name", "said"), [
    ("sys.exit(3)", "public run", "exit code 3"),
    ("raise OSError('[red]gone[/]')", "scoring run", "OSError: [red]gone[/]"),
    ("sys.exit(0)", "public run", "it wrote no submission.csv"),
    ("print('error: no weights'); answers = ['0'] * len(ids)", "no error hidden", "says 'error: no weights'"),
    ("import traceback; len(ids) > 5 and traceback.print_stack()\nif rerun: print('Traceback (most')",
     "no error hidden", "the scoring run ended well, but "),
    ("ids = ids[1:]", "scoring run", "1 of 40 ids are missing, such as 'rehearsal_"),
    ("answers[0] = '11'", "public run", "label is '11', which is no class; did you mean '1'?"),
    ("ids = ids[:20] + ids[21:]", "corrupt image", "is not answered"),
    ("answers = ['5' if rerun else '6'] * len(ids)", "same answers", "0 of 3 images"),
    ("print('using', KEYS)", "no key shown", "a key stands in "),
    ("(output / 'k.bin').write_bytes(bytes.fromhex(KEYS['one.sealed']))", "no key shown", "k.bin"),
    ("(output / 'net.safetensors').write_text('')", "left in /kaggle/working", "net.safetensors looks like weights"),
])
def test_what_is_wrong_is_said(wrong: str, name: str, said: str, tmp_path: Path) -> None:
    done = rehearse_build(make_build(tmp_path / "build", wrong), None, tmp_path / "out")
    assert not done.ok and not check_of(done, name).ok
    assert said in check_of(done, name).detail
    Console(file=io.StringIO()).print(done.table())  # what a log says is no markup


def test_a_kernel_that_hangs_is_ended_with_its_workers(tmp_path: Path) -> None:
    wrong = "import subprocess, time; subprocess.Popen(['sleep', '60']); print('slow', flush=True); time.sleep(60)"
    done = rehearse_build(make_build(tmp_path / "build", wrong), None, tmp_path / "out", limit=1.0)
    check = check_of(done, "public run")
    assert not check.ok and "did not end within" in check.detail and "slow" in check.detail and done.seconds < 20


def test_peak_memory_counts_the_workers(tmp_path: Path) -> None:
    grow = ("import multiprocessing, time\n"
            "def hold():\n    block = bytearray(b'x') * (80 << 20); time.sleep(2.0)\n"
            "fork = multiprocessing.get_context('fork')\n"
            "both = [fork.Process(target=hold) for _ in range(2)]\n"
            "[one.start() for one in both]; [one.join() for one in both]")
    done = rehearse_build(make_build(tmp_path / "build", grow), None, tmp_path / "out")
    assert done.ok and 160 << 20 < done.peak < 600 << 20


def test_the_users_own_images_are_taken(tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "test").mkdir(parents=True)
    for row in range(5):
        Image.fromarray(np.full((8, 8), row, dtype=np.uint8)).save(data / "test" / f"i{row}.png")
    (data / "sample_submission.csv").write_text("id,label\n" + "".join(f"i{row},7\n" for row in range(9)))
    done = rehearse_build(make_build(tmp_path / "build"), data, tmp_path / "out", images=123, factor=2.0)
    assert done.ok and done.rows == 5 and done.images == 123
    assert "for 123 images at this machine's pace times 2" in check_of(done, "predicted time").detail
    assert images_of(DIGITS, data)[1] == 9
    for path in (data / "test").iterdir():
        path.unlink()
    with pytest.raises(RehearsalError, match="test: none of the 9 images that sample_submission.csv asks for is there"):
        rehearse_build(make_build(tmp_path / "other"), data, tmp_path / "out")
    with pytest.raises(DataError, match="sample_submission.csv: cannot read the table"):
        rehearse_build(make_build(tmp_path / "third"), tmp_path, tmp_path / "out")


def test_datasets_of_keys_and_wheels_are_attached(tmp_path: Path) -> None:
    wheels = {"dataset": "me/wheels", "packages": ["thing"]}
    build = make_build(tmp_path / "build", wheels=wheels)
    build = dataclasses.replace(build, datasets=["me/best-weights", "me/wheels"])
    with pytest.raises(RehearsalError, match="installs wheels of me/wheels; put them into .*wheels to rehearse it"):
        rehearse_build(build, None, tmp_path / "out")
    (build.folder / "wheels").mkdir()
    (build.folder / "wheels" / "thing.whl").touch()
    done = rehearse_build(build, None, tmp_path / "out")
    assert done.ok and (tmp_path / "out/scoring/input/datasets/me/wheels/thing.whl").exists()


def test_predicted_hours_grow_with_the_images_and_the_factor(tmp_path: Path) -> None:
    wrong = ("import time\nwith (output / 'submission.csv').open('w') as file:\n    file.write('id,label\\n')\n"
             "time.sleep(0.3 + 0.02 * len(ids))")
    build = make_build(tmp_path / "build", wrong, budget=BudgetSpec(hours=0.01))
    one = rehearse_build(build, None, tmp_path / "out", images=36_000)
    said = check_of(one, "predicted time").detail
    assert one.ok and float(said.removeprefix("about ").split(" h ")[0]) == pytest.approx(0.2, rel=0.6)
    assert "at this pace the kernel would leave units out" in said


def test_noise_images_open_and_the_broken_one_does_not(tmp_path: Path) -> None:
    layout = competition_of(test__image="images/test/{id}")
    stage = stage_of(["0", "1"])
    made = noise_images(layout, stage, 32, tmp_path / "a", 5)
    assert made.ids[0] == "rehearsal_00000.png" and made == noise_images(layout, stage, 32, tmp_path / "a", 5)
    (tmp_path / "a" / "more.csv").write_text("an adapter may read it")
    tests = made.shuffled(5).with_broken(made.ids[:2])
    assert tests.broken in made.ids[2:] and tests.with_broken(made.ids).broken == tests.broken
    folder = write_competition(layout, tests, tmp_path / "competition")
    listed, count = images_of(layout, folder)
    assert count == 5 and listed.ids == tests.ids and (folder / "more.csv").is_file()
    for item, [path] in listed.images.items():
        if item == tests.broken:
            with pytest.raises(OSError), Image.open(path) as image:
                image.load()
        else:
            assert 24 <= min(Image.open(path).size) and max(Image.open(path).size) < 48
    assert all(Image.open(path).load() for [path] in made.images.values())  # of the originals none is broken


def test_with_one_image_none_is_broken(tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "test").mkdir(parents=True)
    Image.new("L", (8, 8)).save(data / "test" / "x.png")
    (data / "sample_submission.csv").write_text("id,label\nx,7\nx,7\n")
    done = rehearse_build(make_build(tmp_path / "build"), data, tmp_path / "out")
    assert done.ok and check_of(done, "corrupt image").detail == \
        "not tried: no image of the 1 can be broken and leave the others whole"


def test_noise_has_the_channels_that_the_networks_ask_for(tmp_path: Path) -> None:
    """Whatever the files are called: what only a TIFF of so many pages can be is one."""
    made = noise_images(DIGITS, stage_of(["0", "1"]), 24, tmp_path / "a", 2, 5)
    for [path] in made.images.values():
        assert decode_image(path, CanvasKind((16, 24), channels=5)).shape == (16, 24, 5)


PYTHON_WITHOUT_NAMESPACES = f"""#!{sys.executable}
import ctypes, runpy, sys

def refuse(*arguments, **options):
    raise OSError("no such thing on this system")

ctypes.CDLL = refuse
assert sys.argv[1] == "-I"
sys.argv = sys.argv[2:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_another_interpreter_and_a_system_without_namespaces(tmp_path: Path) -> None:
    """Where /kaggle cannot be laid out, two variables say where the folders are, and the report says so."""
    python = tmp_path / "python"
    python.write_text(PYTHON_WITHOUT_NAMESPACES)
    python.chmod(0o755)
    done = rehearse_build(make_build(tmp_path / "build"), None, tmp_path / "out", python=python)
    assert done.ok
    for name in ("public run", "scoring run"):
        assert "the folders were given by variables" in check_of(done, name).detail
    assert not (tmp_path / "out/public/output/root").exists()
