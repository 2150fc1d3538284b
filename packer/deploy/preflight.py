"""What can be known to go wrong without asking Kaggle: every finding at once, each with its mend."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from foldpack.competitions.adapters import answer_form, find_adapter
from foldpack.data.decode import PILLOW
from foldpack.data.readers.protocol import reader_record
from foldpack.data.runs import read_meta
from foldpack.errors import FoldpackError
from foldpack.files import sha256_file
from foldpack.metrics.answers import answer_of, answer_problem
from foldpack.predict.views import require_views
from foldpack.sealed.container import SealedError, read_sealed_header
from foldpack.settings.ensemble import EnsembleSpec, fold_role, sealed_parts
from foldpack.settings.project_code import is_project_code
from packer.build.kernel_folder import Build, kaggle_slug, shares_slug
from packer.build.stage import SealedStore, require_checkpoint
from packer.deploy.hours import ACCELERATORS, RETIRED, predict_hours
from packer.deploy.image_packages import missing_codecs
from packer.deploy.image_room import room_on_kaggle
from packer.flatten.script_keys import SIZE_LIMIT
from packer.image.image import Image, kaggle_image
from packer.kaggle.credentials import MAKE_TOKEN, NO_CREDENTIALS, Credentials
from packer.kaggle.exits import DeployError, Exit
from packer.rehearse.verdict import build_keys

SESSION_HOURS = 12.0  # Kaggle ends every session then
SPARE_BYTES = 200 * 10**6  # beside the sealed weights: scripts, logs, output
DATASET_SOURCE = r"[A-Za-z0-9][\w-]*/[a-z0-9][a-z0-9-]{4,48}[a-z0-9](/\d+)?"
COMPETITION_SOURCE = r"[a-z0-9]+(-[a-z0-9]+)*"


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or worth knowing. code: the exit code when it is the only kind of error."""

    level: Literal["error", "warning", "note"]
    what: str
    mend: str
    code: Exit = Exit.MENDABLE

    @property
    def text(self) -> str:
        """What is wrong and what to do, on one line."""
        return f"{self.what}; {self.mend}" if self.mend else self.what

    def __str__(self) -> str:
        return f"{self.level}: {self.text}"


@dataclass(frozen=True)
class Wanted:
    """What the user asked for, as far as it can be checked here."""

    owner: str | None
    accelerator: str
    images: int | None
    factor: float
    sending: bool  # False for a dry run: then missing credentials are no error


def stop_on_errors(findings: list[Finding]) -> None:
    """Raise DeployError for all errors together; its exit code is that of their kind, if they are of one."""
    errors = [each for each in findings if each.level == "error"]
    if not errors:
        return
    codes = {each.code for each in errors}
    lines = [each.text for each in errors]
    head = [] if len(lines) == 1 else [f"{len(lines)} things stand in the way; nothing was sent:"]
    raise DeployError("\n".join([*head, *(f"  {line}" if head else line for line in lines)]),
                      codes.pop() if len(codes) == 1 else Exit.SEVERAL)


def before_build(spec: EnsembleSpec, runs: Path, boosters: Path, store: SealedStore, wanted: Wanted,
                 credentials: Credentials | None) -> list[Finding]:
    """What can be seen before anything is sealed. boosters: the folder of level 2's texts."""
    findings = [*check_credentials(credentials, wanted), *check_accelerator(wanted.accelerator), *check_words(spec)]
    findings += check_answer(spec)
    findings += check_slugs(spec, store.folder.parent)
    findings += [*check_hours(spec, wanted), *check_images(spec, wanted)]
    findings += [*check_runs(spec, runs), *check_readers(spec, runs), *check_boosters(spec, boosters)]
    if not any(each.code == Exit.RUNS for each in findings):
        findings += check_space(spec, runs, store)
    return findings


def check_credentials(credentials: Credentials | None, wanted: Wanted) -> Iterator[Finding]:
    """Credentials are there, for us only, and those of the owner."""
    if credentials is None:
        yield Finding("error" if wanted.sending else "note", NO_CREDENTIALS, MAKE_TOKEN,
                      Exit.CREDENTIALS)
        return
    if credentials.readable_by_others:
        yield Finding("error" if wanted.sending else "warning", f"{credentials.path}: others can read your credentials",
                      f"chmod 600 {credentials.path}", Exit.CREDENTIALS)
    user = credentials.username
    if user is not None and wanted.owner is not None and user.lower() != wanted.owner.lower():
        yield Finding("error" if wanted.sending else "warning",
                      f"--owner {wanted.owner}, but the credentials are those of {user}",
                      "give the right --owner, or leave it out", Exit.OWNER)


def check_accelerator(name: str) -> Iterator[Finding]:
    """Known and not retired."""
    if name in RETIRED:
        yield Finding("error", f"--accelerator {name}: {RETIRED[name]}", "take NvidiaTeslaT4")
    elif name not in ACCELERATORS:
        yield Finding("warning", f"--accelerator {name} is not one that we know",
                      f"known: {', '.join(ACCELERATORS)}")


def check_words(spec: EnsembleSpec) -> Iterator[Finding]:
    """The competition and the views are those that kernels know, and what is decided is what it asks for."""
    try:
        form, kind = answer_form(find_adapter(spec.competition)), spec.last.decision.kind
        if form is not None and kind not in form.decisions:
            yield Finding("error", f"stage '{spec.last.name}' decides '{kind}', but competition '{spec.competition}' "
                          f"asks for an answer of kind '{form.answer.kind}'; allowed decisions: "
                          f"{', '.join(form.decisions)}", "search again")
        elif form is not None:
            form.check_names(spec.last.outputs.names)
        for member in spec.members:
            require_views(member.views)
    except FoldpackError as failure:
        yield Finding("error", str(failure), "")


def check_answer(spec: EnsembleSpec) -> Iterator[Finding]:
    """The promised score is that of what the kernel hands in."""
    name = spec.metric.name
    answer = answer_of(name, spec.metric.answer)
    if answer is None:
        yield Finding("error", f"metric '{name}' of the ensemble is not built in, and nothing says what it scores",
                      "search again with --metric FILE.py, or write `answer: class` below `metric` if it scores one "
                      "class an item")
    elif (kind := spec.last.decision.kind) != "hand_on" and (problem := answer_problem(name, answer, [kind])):
        yield Finding("error", f"the ensemble promises a score that its submission cannot have: {problem}",
                      "search again and name one of them with --metric")


def check_slugs(spec: EnsembleSpec, build: Path) -> Iterator[Finding]:
    """No other ensemble that was built here has the same names on Kaggle. build: the folder of all builds."""
    for metadata in sorted(build.glob("*/kernel-metadata.json")):
        other = metadata.parent.name
        if other != spec.name and shares_slug(spec.name, other):
            yield Finding("error", f"ensemble '{spec.name}' would have the kernel and the datasets of '{other}', built "
                          f"in {metadata.parent}: Kaggle makes '{kaggle_slug(spec.name, 41)}' of both names",
                          f"rename one, or remove {metadata.parent} if '{other}' was never deployed")


def check_test_images(spec: EnsembleSpec, data: Path | None) -> Iterator[Finding]:
    """What is odd about the test images of the competition's folder, such as more of them than the sample asks for, and
    what cannot be decoded on Kaggle. Raises DataError where a package is missing here that their reader needs."""
    if data is None:
        return
    items = find_adapter(spec.competition).test(data)
    for note in items.notes:
        yield Finding("warning", note, "")
    items.reader.prepare([])
    for most, what, mend in missing_codecs(items, brought_packages(spec), kaggle_image()):
        yield Finding("error" if most else "warning", what, mend)


def check_hours(spec: EnsembleSpec, wanted: Wanted) -> Iterator[Finding]:
    """The budget against the predicted hours and Kaggle's own limit."""
    budget = spec.budget.hours
    if budget > SESSION_HOURS:
        yield Finding("warning", f"budget.hours is {budget:g}, but Kaggle ends a session after {SESSION_HOURS:g} h",
                      "lower it to the competition's limit")
    if wanted.images is None:
        yield Finding("note", "how long the kernel will run is not known without the number of test images",
                      "give --images N or --rehearse DIR")
        return
    hours = predict_hours(spec, wanted.images, wanted.accelerator, wanted.factor)
    devices = ACCELERATORS.get(wanted.accelerator, 1)
    said = (f"about {hours:.2f} h for {wanted.images:,} images on {devices} GPU{'s' * (devices > 1)}, each "
            f"{wanted.factor:g} times as slow as the device of the training, of a budget of {budget:g} h")
    if any(stage.items != "test" for stage in spec.stages):
        said += ", if an image has one box"
    if hours > budget * (1 - spec.budget.margin):
        yield Finding("warning", said, "the kernel will leave units out; search again with --images, --hours and "
                      "--devices, or with fewer views or a smaller network where even the cheapest members need more")
    else:
        yield Finding("note", said, "")


def check_images(spec: EnsembleSpec, wanted: Wanted) -> Iterator[Finding]:
    """Where the decoded images go, and what it costs that some find no room."""
    if wanted.images is None:
        return
    try:
        room = room_on_kaggle(spec, wanted.images, ACCELERATORS.get(wanted.accelerator, 1))
    except FoldpackError as failure:
        yield Finding("error", str(failure), "")
        return
    said = f"decoded images take {room.needed / 1e9:.1f} GB: {'; '.join(room.kept)}"
    if room.again:
        said += (f". That is {room.again:,} decodes more, about {room.hours:.1f} h if an image costs as much as a JPEG "
                 "of 2048 x 1366 pixels")
    if room.short:
        yield Finding("warning", said,
                      "let runs share one side with `net.canvas`, or leave out the members of one side")
    else:
        yield Finding("note", said, "")


def check_runs(spec: EnsembleSpec, runs: Path) -> Iterator[Finding]:
    """Every checkpoint is there and is the one that the ensemble was fitted on."""
    said = set()
    for stage in spec.stages:
        for member, fold in [(each, fold) for each in stage.members for fold in each.folds]:
            try:
                require_checkpoint(runs, stage, member, fold)
            except FoldpackError as failure:
                if str(failure) not in said:
                    yield Finding("error", str(failure), "", Exit.RUNS)
                said.add(str(failure))


def check_readers(spec: EnsembleSpec, runs: Path) -> Iterator[Finding]:
    """The kernel will read images as the runs of the first stage have read theirs, as far as the adapter can say it."""
    try:
        reader = getattr(find_adapter(spec.competition), "training_reader", None)
    except FoldpackError:  # told by `check_words`
        return
    if reader is None:
        return
    now = reader_record(reader, PILLOW)
    for member in spec.stages[0].members:
        if not (runs / member.run / "meta.json").is_file() or is_project_code(spec.stages[0].task):
            continue  # told by `check_runs`, or not made by our training
        then = read_meta(runs / member.run).reader
        if then != now:
            yield Finding("error", f"run '{member.run}' was trained on images read by {then or 'Pillow'}, and "
                          f"{spec.competition} says {now or 'Pillow'}",
                          "train the run again and search again, or put `images` back as it was", Exit.RUNS)


def check_boosters(spec: EnsembleSpec, folder: Path) -> Iterator[Finding]:
    """The texts of level 2 are there and unchanged."""
    for one in spec.boosters:
        path = folder / one.file
        if not path.is_file() or sha256_file(path) != one.sha256:
            yield Finding("error", f"{path}: missing, or changed since the search", "run `foldpack search` again",
                          Exit.RUNS)


def check_space(spec: EnsembleSpec, runs: Path, store: SealedStore) -> Iterator[Finding]:
    """Room for the sealed files that are still to be made."""
    needed = SPARE_BYTES
    for member in spec.members:
        for fold in member.folds:
            if f"{fold_role(member.run, fold.fold)}:{fold.sha256}" not in store.index:
                needed += (runs / member.run / f"fold{fold.fold}.safetensors").stat().st_size
    here = store.folder
    while not here.exists():
        here = here.parent
    free = shutil.disk_usage(here).free
    if free < needed:
        yield Finding("error", f"{here}: {free / 1e9:.1f} GB are free, {needed / 1e9:.1f} GB are needed",
                      "make room, or give another --build", Exit.NO_SPACE)


def after_build(build: Build, request: dict[str, Any], image: Image) -> list[Finding]:
    """What the finished build shows. request: the body that would be sent."""
    metadata = json.loads((build.folder / "kernel-metadata.json").read_text(encoding="utf-8"))
    findings = [*check_names(metadata), *check_sources(metadata), *check_size(request), *check_sealed(build)]
    findings += [*check_keys(build), *check_packages(build, image)]
    return findings + [Finding("warning", warning, "") for warning in build.warnings]


def check_names(metadata: dict[str, Any]) -> Iterator[Finding]:
    """Title and slug agree and fit; private, and without internet."""
    slug, title = str(metadata["id"]).partition("/")[2], str(metadata["title"])
    if kaggle_slug(title, 100) != slug:
        yield Finding("error", f"the title '{title}' leads to the slug '{kaggle_slug(title, 100)}', not to '{slug}'",
                      "rename the ensemble")
    for name, text in (("slug", slug), ("title", title)):
        if not 5 <= len(text) <= 50:
            yield Finding("error", f"the kernel's {name} '{text}' has {len(text)} characters; allowed: 5 to 50",
                          "rename the ensemble")
    for name, wanted in (("is_private", True), ("enable_internet", False)):
        if metadata.get(name) is not wanted:
            yield Finding("error", f"kernel-metadata.json says {name}: {metadata.get(name)}", f"it must say {wanted}")


def check_sources(metadata: dict[str, Any]) -> Iterator[Finding]:
    """Sources are written as Kaggle wants them; it drops others without a word."""
    for source in metadata["dataset_sources"]:
        if not re.fullmatch(DATASET_SOURCE, source):
            yield Finding("error", f"dataset '{source}' is not written as owner/name of 6 to 50 characters",
                          "correct the owner, the ensemble's name or its `wheels.dataset`")
    for source in metadata["competition_sources"]:
        if not re.fullmatch(COMPETITION_SOURCE, source):
            yield Finding("error", f"competition '{source}' is not a name as in kaggle.com/competitions/NAME",
                          "correct `slug` in the ensemble")


def check_size(request: dict[str, Any]) -> Iterator[Finding]:
    """Kaggle takes sources below 1 MB, without making a version of larger ones."""
    size = len(str(request["text"]).encode("utf-8"))
    if size >= SIZE_LIMIT:
        yield Finding("error", f"the kernel's source has {size:,} bytes; Kaggle takes fewer than {SIZE_LIMIT:,}",
                      "carry fewer packages, or push the script instead of the notebook")


def check_sealed(build: Build) -> Iterator[Finding]:
    """The staged files are those that the spec pins."""
    folders = [staged.folder for staged in build.staged]
    for part in sealed_parts(build.spec):
        path = next((folder / part.file for folder in folders if (folder / part.file).is_file()), None)
        try:
            fits = path is not None and read_sealed_header(path).header_sha256 == part.header
        except SealedError:
            fits = False
        if not fits:
            yield Finding("error", f"the sealed weights of {part.role} ({part.file}) are missing or not those of the "
                                   "spec", "remove build/sealed/ and build again")


def check_keys(build: Build) -> Iterator[Finding]:
    """The kernel will have a key for each sealed file."""
    have = build_keys(build)
    missing = [part.role for part in sealed_parts(build.spec) if Path(part.file).stem not in have]
    if missing:
        yield Finding("error", f"no key for the weights of {', '.join(missing)}", "build again")


def check_packages(build: Build, image: Image) -> Iterator[Finding]:
    """All that the script imports is on the image or comes with it."""
    brought = brought_packages(build.spec)
    for name in build.packages:
        if name not in image.versions and name not in brought:
            yield Finding("warning", f"package '{name}' is not on the Kaggle image of {image.date}",
                          "carry it with `vendor:` or `wheels:`")


def brought_packages(spec: EnsembleSpec) -> set[str]:
    """Distributions that a kernel carries or installs."""
    return {*(spec.vendor or []), *(spec.wheels.packages if spec.wheels else [])}
