"""Rehearse a whole build: the packed kernel on two made-up test sets, in Kaggle's places, and what was seen of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from rich.markup import escape
from rich.table import Table

from foldpack.competitions.adapters import find_adapter
from foldpack.competitions.answer_table import read_answer_table
from foldpack.competitions.protocol import Competition
from foldpack.errors import DataError
from foldpack.sealed.keys import read_keys_file
from foldpack.settings.ensemble import KEYS_FILE, EnsembleSpec
from foldpack.settings.network import height_width
from packer.build.kernel_folder import Build
from packer.flatten.script_keys import keys_in_script
from packer.rehearse.images import SampleImages, images_of, noise_images, write_competition
from packer.rehearse.process import Ran, RehearsalError, lay_out_inputs, run_on_kaggle
from packer.rehearse.sandbox import REFUSED

STUB_ROWS = 3  # what a code competition shows before scoring
RERUN_ROWS = 40  # the larger set, when nothing else is asked
IMAGES = 10_000  # to predict the hours for, when no data say how many
LIMIT = 3600.0  # seconds of one run
KAGGLE_MEMORY = 31.4 * 2**30  # bytes
PUBLIC = {"KAGGLE_KERNEL_RUN_TYPE": "Batch"}
RERUN = {"KAGGLE_KERNEL_RUN_TYPE": "Batch", "KAGGLE_IS_COMPETITION_RERUN": "1"}
NUMBER_TOLERANCE = 1e-4  # that two answers of one image may differ by, where they are numbers
WEIGHT_SUFFIXES = (".safetensors", ".sealed", ".pt", ".pth", ".ckpt", ".bin", ".onnx")


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    name: str
    ok: bool
    detail: str


@dataclass(frozen=True)
class RehearsalReport:
    """What the rehearsal showed."""

    checks: list[Check]
    seconds: float  # of both runs
    peak: int  # bytes of memory, all processes of the larger run
    rows: int  # of the larger run's submission
    images: int  # that the hours are predicted for

    @property
    def ok(self) -> bool:
        """Whether every check passed."""
        return all(check.ok for check in self.checks)

    def table(self) -> Table:
        """The checks, for a terminal."""
        table = Table(title="rehearsal")
        for name in ("check", "", "what was seen"):
            table.add_column(name, overflow="fold")
        for check in self.checks:
            table.add_row(check.name, "[green]ok[/]" if check.ok else "[red]failed[/]", escape(check.detail))
        return table


@dataclass
class Scene:
    """One run of the kernel: its competition's folder and what became of it."""

    name: str
    folder: Path
    competition: Path
    ran: Ran
    images: SampleImages  # that it was asked for
    answers: dict[str, list[str]] = field(default_factory=dict)  # id -> its cells; none of an invalid submission
    problem: str = ""

    @property
    def refused(self) -> bool:
        """Whether the system let us not lay out /kaggle."""
        return (self.folder / "root" / REFUSED).exists()


def rehearse_build(build: Build, data: Path | None, folder: Path, *, python: Path | None = None,
                   rows: int = RERUN_ROWS, images: int | None = None, factor: float = 1.0,
                   limit: float = LIMIT) -> RehearsalReport:
    """Run the build's kernel twice as Kaggle would: a stub with the old mounts, then a larger set as in scoring.

    data: the competition's folder whose test images are taken; None: images of noise where its adapter looks. folder:
    for the inputs, outputs and logs. python: the interpreter, default this one. rows: of the larger set, at most.
    images: to predict the hours for (default: the rows of the sample submission of `data`, else 10,000); factor: how
    many times slower Kaggle's machine is than this one; limit: seconds of one run.
    Raises RehearsalError or DataError when there is nothing to rehearse with; what the kernel does is in the report.
    """
    competition, spec = find_adapter(build.spec.competition), build.spec
    assert spec.table is not None  # a build has it
    if data is None:
        members = [member for stage in spec.stages for member in stage.members]
        side = max(max(height_width(member.size)) for member in members)
        channels = next((member.channels for member in members if member.channels not in (1, 3, 4)), 3)
        tests, count = noise_images(competition, spec.last, side, folder / "images", rows, channels), images or IMAGES
    else:
        tests, listed = images_of(competition, data)
        count = images or listed
    stub = tests.take(list(range(min(STUB_ROWS, len(tests.ids)))))
    larger = tests.shuffled(rows).with_broken(stub.ids)
    scenes = []
    for name, test, environment, old in (("public", stub, PUBLIC, True), ("scoring", larger, RERUN, False)):
        place = folder / name
        shown = write_competition(competition, test, place / "competition")
        inputs = lay_out_inputs(place, (spec.slug, shown), dataset_folders(build), old)
        ran = run_on_kaggle(build.script, place, inputs, environment, python, limit)
        scenes.append(judge_scene(Scene(name, place, shown, ran, test), competition, spec))
    return make_report(scenes, build, count, factor)


def make_report(scenes: list[Scene], build: Build, images: int, factor: float) -> RehearsalReport:
    """All checks of the two runs."""
    public, scoring = scenes
    hours = extrapolated_hours(public, scoring, images, factor)
    checks = [run_check(scene) for scene in scenes]
    checks += [hidden_check(scenes), corrupt_check(scoring), order_check(public, scoring)]
    checks += [key_check(scenes, build), left_check(scoring), memory_check(scoring)]
    checks.append(time_check(hours, images, factor, build.spec))
    seconds = sum(scene.ran.seconds for scene in scenes)
    return RehearsalReport(checks, seconds, scoring.ran.peak, len(scoring.answers), images)


def dataset_folders(build: Build) -> dict[str, Path]:
    """Where each dataset of the build lies here. Raises RehearsalError for wheels that are not here."""
    parts = [staged.folder for staged in build.staged if not staged.secret][1:]  # of weights too large for one
    folders = [build.weights, *parts, *([build.folder / "keys"] if build.spec.keys == "dataset" else [])]
    if build.spec.wheels is not None:
        folders.append(build.folder / "wheels")
        if not folders[-1].is_dir():
            raise RehearsalError(f"the kernel installs wheels of {build.spec.wheels.dataset}; put them into "
                                 f"{folders[-1]} to rehearse it")
    return dict(zip(build.datasets, folders, strict=True))


def judge_scene(scene: Scene, competition: Competition, spec: EnsembleSpec) -> Scene:
    """Fill in the answers, or what is wrong with them."""
    submission = scene.ran.submission
    if scene.ran.late:
        scene.problem = f"it did not end within {scene.ran.seconds:.0f} s and was killed"
    elif scene.ran.code != 0:
        scene.problem = f"exit code {scene.ran.code}"
    elif not submission.is_file():
        scene.problem = "it wrote no submission.csv"
    else:
        try:
            competition.check(submission, spec.last, scene.competition)
            assert spec.table is not None  # a build has it
            table = read_answer_table(submission, spec.table.id_column, spec.table.columns)
            for item, *answer in zip(table.ids, *table.cells().values(), strict=True):
                scene.answers.setdefault(item, []).extend(answer)  # several where an id is answered in several rows
        except DataError as failure:
            scene.problem = str(failure)
    return scene


def run_check(scene: Scene) -> Check:
    """Whether the run ended well, with every row answered in the sample's order."""
    places = {"public": "old mounts /kaggle/input/<slug>", "scoring": "new mounts /kaggle/input/competitions/<slug>, "
              "/kaggle/input/datasets/<owner>/<slug>; rerun environment, shuffled rows"}[scene.name]
    if scene.refused:
        places += "; the folders were given by variables, this system does not let us lay out /kaggle"
    if scene.problem:
        return Check(f"{scene.name} run", False, f"{scene.problem} ({places}); {scene.folder / 'log.txt'} ends:\n"
                                                 f"{scene.ran.tail()}")
    detail = f"{len(scene.answers)} rows in {scene.ran.seconds:.1f} s; {places}"
    return Check(f"{scene.name} run", True, detail)


def hidden_check(scenes: list[Scene]) -> Check:
    """Whether a log tells of an error although the run ended well: in scoring a kernel hands in what it has."""
    for scene in scenes:
        lines = [line for line in scene.ran.log.splitlines() if line.startswith(("Traceback (", "error: "))]
        if lines and not scene.problem:
            return Check("no error hidden", False, f"the {scene.name} run ended well, but {scene.folder / 'log.txt'} "
                                                   f"says '{lines[0]}' and ends:\n{scene.ran.tail()}")
    return Check("no error hidden", True, "the logs tell of no error")


def corrupt_check(scoring: Scene) -> Check:
    """Whether the broken image has its row."""
    item = scoring.images.broken
    answer = scoring.answers.get(item)
    detail = "the row of an image that is cut in half is not answered" if answer is None else \
        f"an image that is cut in half is answered with '{' '.join(answer)}'"
    if not item:
        detail = f"not tried: no image of the {len(scoring.images.ids)} can be broken and leave the others whole"
    return Check("corrupt image", not item or answer is not None, detail)


def order_check(public: Scene, scoring: Scene) -> Check:
    """Whether an image gets the same answer alone and in the shuffled larger set.

    A threshold may fall between two roundings, so with twenty images or more one in twenty may differ.
    """
    both = [item for item in public.images.ids if item in public.answers and item in scoring.answers]
    alike = sum(same_answer(public.answers[item], scoring.answers[item]) for item in both)
    ok = bool(both) and len(both) - alike <= len(both) // 20
    return Check("same answers", ok, f"{alike} of {len(both)} images are answered alike in both runs")


def same_answer(first: list[str], second: list[str]) -> bool:
    """Whether two answers say the same; numbers may differ in what other images of a batch do to the last digits."""
    try:
        return bool(np.allclose(np.array(first, float), np.array(second, float), rtol=0, atol=NUMBER_TOLERANCE))
    except ValueError:
        return first == second


def key_check(scenes: list[Scene], build: Build) -> Check:
    """Whether a key stands in a log or in a file that the kernel left."""
    keys = build_keys(build)
    forms = {form for key in keys.values() for form in (key, key.hex().encode(), key.hex().upper().encode())}
    places = []
    for scene in scenes:
        files = [scene.folder / "log.txt", *files_below(scene.folder / "output")]
        places += [str(path) for path in files if any(form in path.read_bytes() for form in forms)]
    detail = f"a key stands in {', '.join(places)}" if places else f"none of {len(keys)} keys in the logs and outputs"
    return Check("no key shown", not places, detail)


def build_keys(build: Build) -> dict[str, bytes]:
    """The keys that the kernel gets, from its script or from the keys dataset, by the names of sealed files."""
    if build.spec.keys == "dataset":
        return {name: bytes(key) for name, key in read_keys_file(build.folder / "keys" / KEYS_FILE).items()}
    found = keys_in_script(build.script.read_text(encoding="utf-8"))
    return {Path(name).stem: bytes.fromhex(key) for name, key in found.items()}


def left_check(scoring: Scene) -> Check:
    """Whether the output, which may become public, holds weights."""
    output = scoring.folder / "output"
    left = [path.relative_to(output).as_posix() for path in files_below(output)]
    weights = [name for name in left if name.lower().endswith(WEIGHT_SUFFIXES)]
    size = sum(path.stat().st_size for path in files_below(output))
    detail = f"{len(left)} files of {size:,} bytes: {', '.join(left[:8])}" if left else "nothing"
    if weights:
        detail += f"; {weights[0]} looks like weights"
    return Check("left in /kaggle/working", not weights, detail)


def files_below(folder: Path) -> list[Path]:
    """All files, sorted."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def memory_check(scoring: Scene) -> Check:
    """Whether the larger run would fit into Kaggle's memory."""
    peak = scoring.ran.peak
    return Check("memory", peak < KAGGLE_MEMORY * 0.9,
                 f"at most {peak / 2**30:.2f} GiB at once in all its processes; Kaggle has {KAGGLE_MEMORY / 2**30:.1f}")


def extrapolated_hours(public: Scene, scoring: Scene, images: int, factor: float) -> float:
    """Hours of the whole kernel on Kaggle: its start, and so many images at the pace of the larger run."""
    work = [scene.ran.seconds - scene.ran.begun for scene in (public, scoring)]
    few, many = (scene.images.count(scene.answers) for scene in (public, scoring))
    pace = max(0.0, work[1] - work[0]) / (many - few) if many > few else 0.0
    start = max(0.0, public.ran.seconds - pace * few)
    return (start + pace * images) * factor / 3600


def time_check(hours: float, images: int, factor: float, spec: EnsembleSpec) -> Check:
    """What the pace here would mean there. It fails nothing: the kernel leaves out units rather than be late."""
    detail = (f"about {hours:.2f} h for {images:,} images at this machine's pace times {factor:g}; "
              f"the budget is {spec.budget.hours:g} h")
    if hours > spec.budget.hours * (1 - spec.budget.margin):
        detail += ": at this pace the kernel would leave units out"
    return Check("predicted time", True, detail)
