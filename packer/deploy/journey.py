"""The whole way of a deploy: preflight, build, rehearsal, datasets, push, session, output, submission, score.

Every step asks the journal and Kaggle what is done already, so that the same command goes on where it stopped.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from rich.table import Table

from foldpack.competitions.adapters import find_adapter
from foldpack.keyring.keyring import Keyring
from foldpack.settings.ensemble import EnsembleSpec, ScoreSpec, read_spec
from packer.build.kernel_folder import DEFAULT_ACCELERATOR, NO_OWNER, Build, Target, build_kernel
from packer.build.stage import SealedStore, empty_folder
from packer.deploy.history import add_score
from packer.deploy.hours import predict_hours
from packer.deploy.preflight import Finding, Wanted, after_build, before_build, check_test_images, stop_on_errors
from packer.deploy.wish import Wish
from packer.image.image import kaggle_image
from packer.image.image_env import image_python
from packer.kaggle.client import Answer, KaggleClient
from packer.kaggle.credentials import find_credentials
from packer.kaggle.datasets import Dataset, ensure_dataset
from packer.kaggle.exits import DeployError, Exit
from packer.kaggle.journal import Journal, SessionEntry, only_one
from packer.kaggle.pace import Pace
from packer.kaggle.push import Kernel, build_request, push_kernel, shown_request
from packer.kaggle.quota import quota_warning
from packer.kaggle.session import Version, check_output, fetch_output, judge_session, run_hours, wait_session
from packer.kaggle.submit import Submitter, submit_version
from packer.kaggle.upload import Uploads
from packer.rehearse.process import RehearsalError
from packer.rehearse.verdict import rehearse_build

Say = Callable[[str], None]


def require_near_runs(spec: EnsembleSpec, runs: Path, near: Path) -> None:
    """Raises DeployError where runs are looked for in one folder and lie in another. near: where a recipe puts them,
    seen from its ensemble."""
    first = spec.members[0].run
    if not (runs / first).is_dir() and (near / first).is_dir():
        raise DeployError(f"{runs}: run '{first}' is not there, but in {near}; give --runs {near}", Exit.RUNS)


class Journey:
    """One deploy. source: the folder that holds `foldpack`; say: a line for the user; show: a table."""

    def __init__(self, wish: Wish, source: Path, say: Say, show: Callable[[Table], None],
                 passphrase: Callable[[], str]) -> None:
        wish = replace(wish, dry_run=wish.dry_run or wish.build_only)
        self.wish, self.source, self.say, self.show, self.passphrase = wish, source, say, show, passphrase
        self.spec: EnsembleSpec = read_spec(wish.ensemble)
        self.pace = Pace(wish.poll)
        self.target = Target(wish.accelerator or DEFAULT_ACCELERATOR, wish.notebook)
        self.python = image_python() if wish.image else None  # of the image's environment, to rehearse with

    def run(self) -> None:
        """Go the whole way, or as far as was asked for. Raises FoldpackError; DeployError carries the exit code."""
        with space_error(), ExitStack() as held:
            build, request, lock = self.make(held)
            journal = Journal(build.folder)
            if self.wish.dry_run:
                if self.wish.rehearse is not None or self.python is not None:
                    self.rehearse(build, journal)
                if not self.wish.build_only:
                    self.say("request:\n" + shown_request(request))
                return
            self.rehearse(build, journal)
            with KaggleClient(self.wish.timeout, self.pace, lock, self.say) as client:
                self.send(client, build, request, journal)

    def owner(self) -> str:
        """Whose kernel it will be. A token's owner is known to Kaggle only."""
        credentials = find_credentials()
        known = self.wish.owner or (credentials.username if credentials is not None else None)
        if known is not None:
            return known
        if self.wish.dry_run or credentials is None or credentials.readable_by_others:
            return NO_OWNER
        with KaggleClient(self.wish.timeout, self.pace) as client:
            return client.username()

    def make(self, held: ExitStack) -> tuple[Build, Answer, int]:
        """Preflight, build, and preflight of what was built.

        Returns the build, the request that would be sent, and the lock that `held` holds: nothing is written before
        the first preflight has passed.
        """
        wish = self.wish
        require_near_runs(self.spec, wish.runs, wish.ensemble.parent.parent / "runs")
        wanted = Wanted(wish.owner, self.target.accelerator, self.images(), wish.device_factor, not wish.dry_run)
        with Keyring.editing(wish.keyring, self.passphrase) as ring:
            store = SealedStore(wish.build / "sealed", ring)
            findings = before_build(self.spec, wish.runs, wish.ensemble.with_suffix(""), store, wanted,
                                    find_credentials())
            self.tell([*findings, *check_test_images(self.spec, wish.rehearse)])
            lock = held.enter_context(only_one(wish.build, self.spec.name))
            build = build_kernel(wish.ensemble, self.source, wish.runs, wish.build, self.owner(), ring,
                                 self.target)
        self.describe(build)
        request = build_request(build.folder)
        self.tell(after_build(build, request, kaggle_image()))
        return build, request, lock

    def images(self) -> int | None:
        """How many images the hours are predicted for."""
        if self.wish.images is not None or self.wish.rehearse is None:
            return self.wish.images
        return len(find_adapter(self.spec.competition).test(self.wish.rehearse))

    def tell(self, findings: list[Finding]) -> None:
        """Say notes and warnings; stop at errors."""
        for finding in findings:
            if finding.level != "error":
                self.say(str(finding))
        stop_on_errors(findings)

    def describe(self, build: Build) -> None:
        """What was built."""
        self.say(f"pack {build.pack_id[:12]}: {build.script} ({build.script.stat().st_size:,} bytes, with its keys, "
                 f"keep it private) and {build.keyless.name} (without)")
        for staged in build.staged:
            files = f"keys {staged.folder}" if staged.secret else \
                f"weights {staged.folder}: {len(list(staged.folder.glob('*.sealed')))} sealed files"
            self.say(f"{files} for dataset {staged.slug}" + (", which must stay private" if staged.secret else ""))
        if build.dataset.startswith(f"{NO_OWNER}/"):
            self.say(f"no Kaggle user is known: '{NO_OWNER}' stands for your user name; give --owner NAME")

    def rehearse(self, build: Build, journal: Journal) -> None:
        """Run the kernel here as Kaggle would, unless this pack has passed. Raises DeployError."""
        asked = (f" on {self.wish.rehearse}" if self.wish.rehearse else "") + (
            f" with {self.python}" if self.python else "")
        how, passed = build.pack_id + asked, journal.data.rehearsed
        if self.wish.no_rehearse or passed == how or (not asked and passed.startswith(build.pack_id)):
            return
        images = f"of images from {self.wish.rehearse}" if self.wish.rehearse else "of made-up images"
        self.say(f"rehearsing: the kernel runs here, without network, on two test sets {images}")
        try:
            report = rehearse_build(build, self.wish.rehearse, build.folder / "rehearsal", python=self.python,
                                    images=self.images(), factor=self.wish.device_factor)
        except RehearsalError as failure:
            raise DeployError(f"the rehearsal could not begin: {failure}", Exit.REHEARSAL) from None
        self.show(report.table())
        if not report.ok:
            failed = "; ".join(f"{check.name}: {check.detail}" for check in report.checks if not check.ok)
            raise DeployError(f"the rehearsal failed, so the kernel would fail on Kaggle: {failed}", Exit.REHEARSAL)
        journal.note(rehearsed=how)

    def send(self, client: KaggleClient, build: Build, request: Answer, journal: Journal) -> None:
        """Datasets, push, and what was asked for after it."""
        ref = str(request["slug"])
        user = client.username()
        if user.lower() != ref.partition("/")[0].lower():
            raise DeployError(f"the kernel would be {ref}, but your credentials are those of {user}; leave --owner "
                              "out, or use the right credentials", Exit.OWNER)
        journal.note(kernel=ref, pack_id=build.pack_id)
        self.warn_of_quota(client, build, journal)
        self.require_wheels(client, build)
        for staged in build.staged:
            dataset = Dataset(client, staged, self.wish.public_weights, self.say)
            ensure_dataset(dataset, journal, Uploads(build.folder))
        number = push_kernel(Kernel(client, request, self.say), journal, build.spec.name)
        self.say(f"https://www.kaggle.com/code/{ref}")
        if self.wish.wait or self.wish.submit:
            self.follow(client, build, Version(ref, number), journal)

    def require_wheels(self, client: KaggleClient, build: Build) -> None:
        """The wheels' dataset is the user's own affair, but it has to be there. Raises DeployError."""
        if build.spec.wheels is None:
            return
        owner, _, name = build.spec.wheels.dataset.partition("/")
        if client.ask_if_there("get_dataset", {"ownerSlug": owner, "datasetSlug": name}) is None:
            raise DeployError(f"dataset {build.spec.wheels.dataset}, `wheels` in the ensemble, is not on Kaggle or not "
                              "yours to see; upload it", Exit.DATASET)

    def warn_of_quota(self, client: KaggleClient, build: Build, journal: Journal) -> None:
        """Before a push that would take more GPU hours than are left."""
        if journal.data.push is not None and journal.data.push.state == "verified":
            return
        images, wish = self.images(), self.wish
        hours = build.spec.budget.hours
        if images is not None:
            hours = min(hours, predict_hours(build.spec, images, self.target.accelerator, wish.device_factor))
        if warning := quota_warning(client, hours):
            self.say(warning)

    def follow(self, client: KaggleClient, build: Build, version: Version, journal: Journal) -> None:
        """Wait, fetch, check, and submit where that was asked for."""
        status, failure = wait_session(client, version, self.wish.wait_hours, self.say)
        output = build.folder / "output"
        empty_folder(output)  # nothing of another version may be taken for this one's
        log = fetch_output(client, version, output, status == "COMPLETE")
        hours = run_hours(output)
        journal.note(session=SessionEntry(version=version.number, status=status, hours=hours))
        judge_session(version, status, failure, log)
        rows = check_output(output, build.spec, self.wish.rehearse)
        self.say(f"submission {output / 'submission.csv'}: {rows} rows")
        if self.wish.submit:
            self.submit(client, build, version, journal, hours)

    def submit(self, client: KaggleClient, build: Build, version: Version, journal: Journal,
               hours: float | None) -> None:
        """Submit the version, wait for its score and write it into the ensemble's YAML."""
        submitter = Submitter(client, version, build.spec.slug, build.pack_id, self.say)
        entry = submit_version(submitter, journal, self.wish.message)
        shown = "none shown" if entry.public_score is None else f"{entry.public_score:g}"
        self.say(f"public score {shown}")
        when = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        add_score(self.wish.ensemble, ScoreSpec(
            pack=build.pack_id, kernel=version.ref, version=version.number, public_score=entry.public_score,
            private_score=entry.private_score, hours=hours, when=when, message=entry.message))


@contextmanager
def space_error() -> Iterator[None]:
    """A full disk is one clear line."""
    try:
        yield
    except OSError as failure:
        if failure.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise DeployError(f"{failure.filename or 'the disk'}: no space left; make room, then run the same command "
                          "again", Exit.NO_SPACE) from None
