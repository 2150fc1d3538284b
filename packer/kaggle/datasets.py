"""Bring a staged dataset to Kaggle exactly once, and wait until kernels get this very version."""

from __future__ import annotations

from collections.abc import Callable

from packer.build.manifest import Staged
from packer.kaggle.client import Answer, CallError, KaggleClient
from packer.kaggle.exits import DeployError, Exit
from packer.kaggle.journal import DatasetEntry, Journal
from packer.kaggle.upload import Uploads, progress_bars, upload_file

READY_LOOKS = 60  # until a new version is current: about an hour at the default pace
LICENSE = "other"
SETTLED = ("READY", "FAILED", "DELETED", "")  # "": there is no such dataset
Say = Callable[[str], None]


class Dataset:
    """One staged dataset and what Kaggle says of it. public: whether a new dataset may be seen by everybody."""

    def __init__(self, client: KaggleClient, staged: Staged, public: bool, say: Say) -> None:
        self.client, self.staged, self.say = client, staged, say
        self.public = public and not staged.secret
        owner, _, name = staged.slug.partition("/")
        self.place: Answer = {"ownerSlug": owner, "datasetSlug": name}

    def info(self) -> Answer | None:
        """Kaggle's description, None when there is no such dataset (or it is another user's)."""
        return self.client.ask_if_there("get_dataset", self.place)

    def status(self) -> str:
        """Kaggle's word for how far the newest version is processed, "" when there is none."""
        return str((self.client.ask_if_there("get_dataset_status", self.place) or {}).get("status", ""))

    def listing(self, version: int) -> dict[str, int]:
        """Name -> bytes of a version's files."""
        request = {**self.place, "datasetVersionNumber": version, "pageSize": 200}
        pages = self.client.pages("list_dataset_files", request)
        return {str(file["name"]): int(file["totalBytes"]) for page in pages for file in page["datasetFiles"] or []}

    def current(self) -> int | None:
        """The number of the current version if it holds the staged files, else None."""
        info = self.info()
        version = int((info or {}).get("currentVersionNumber") or 0)
        return version if version and not self.differences(version) else None

    def differences(self, version: int) -> list[str]:
        """What a version's listing has other than the staged files."""
        there, wanted = self.listing(version), self.staged.files
        return [f"{name} is listed with {there[name]:,} bytes, not {wanted[name]:,}" if name in there and name in wanted
                else f"{name} is {'not ours' if name in there else 'not listed'}"
                for name in sorted(there.keys() | wanted.keys()) if there.get(name) != wanted.get(name)]

    def begun(self) -> int | None:
        """The number of a version that holds the staged files or will when it is processed, else None."""
        info = self.info() or {}
        now = int(info.get("currentVersionNumber") or 0)
        for version in info.get("versions") or []:
            if version.get("versionNotes") == self.staged.notes and int(version.get("versionNumber") or 0) > now:
                return int(version["versionNumber"])
        return self.current()

    def outcome(self) -> int | None:
        """What became of a version that Kaggle did not answer for: like `begun`, but waits while one is processed.

        None was being processed when it was sent, so it is ours. Raises DeployError.
        """
        if self.status() not in SETTLED:
            wait_processed(self)
        return self.begun()


def ensure_dataset(dataset: Dataset, journal: Journal, uploads: Uploads) -> int:
    """Upload a staged dataset unless its content is there; wait until it is current -> its version number.

    Raises DeployError.
    """
    staged, info = dataset.staged, dataset.info()
    check_visibility(dataset, info)
    known = journal.data.datasets.get(staged.slug)
    known = known if known is not None and known.content == staged.content else None
    there = None if info is None else dataset.begun()
    if there is None and known is not None and known.state == "intent":
        there = dataset.client.settled(dataset.outcome)  # a deploy that was killed may have got this far
    if there is not None and known is None:
        dataset.say(f"dataset {staged.slug}: these files are there already, version {there}")
    before = int((info or {}).get("currentVersionNumber") or 0) if known is None else known.before
    if there is None and (known is None or known.state != "created"):
        before, there = create(dataset, journal, uploads)
    if known is None or known.state != "ready":
        journal.note_dataset(staged.slug, DatasetEntry(content=staged.content, state="created", before=before,
                                                       version=there or 0))
    version = wait_current(dataset)
    journal.note_dataset(staged.slug, DatasetEntry(content=staged.content, state="ready", before=before,
                                                   version=version))
    uploads.forget(list(staged.files))
    return version


def check_visibility(dataset: Dataset, info: Answer | None) -> None:
    """Keys must be private. Raises DeployError when Kaggle shows them to everybody."""
    if info is None or info.get("isPrivate") is None:
        return
    private, slug = bool(info["isPrivate"]), dataset.staged.slug
    if not private and dataset.staged.secret:
        raise DeployError(f"dataset {slug} is public and would show your keys to everybody; make it private on its "
                          "page, seal the weights again and deploy again", Exit.DATASET)
    if private == dataset.public:
        dataset.say(f"note: dataset {slug} is {'private' if private else 'public'} and stays so; change it on its page")


def wait_processed(dataset: Dataset) -> None:
    """Wait for an earlier version to be processed: Kaggle refuses a second one meanwhile. Raises DeployError."""
    for _ in dataset.client.pace.looks(READY_LOOKS):
        if dataset.status() in SETTLED:
            return
    raise DeployError(f"dataset {dataset.staged.slug}: an earlier version is still being processed; run the same "
                      "command again later", Exit.DATASET)


def create(dataset: Dataset, journal: Journal, uploads: Uploads) -> tuple[int, int | None]:
    """Upload the files and make a dataset or a new version of it, once.

    Returns the version before and, where Kaggle shows it already, the new one. Raises DeployError.
    """
    wait_processed(dataset)
    before = int((dataset.info() or {}).get("currentVersionNumber") or 0)
    staged = dataset.staged
    dataset.say(f"dataset {staged.slug}: uploading {len(staged.files)} files, {staged.size / 1e6:,.1f} MB")
    tokens = []
    with progress_bars(staged.size, staged.slug) as report:
        for name in staged.files:
            def advance(count: int, name: str = name) -> None:
                report(name, count)
            tokens.append({"token": upload_file(dataset.client, uploads, staged.folder / name, advance)})
    journal.note_dataset(staged.slug, DatasetEntry(content=staged.content, state="intent", before=before))
    method = "create_dataset_version" if before else "create_dataset"
    try:
        written = dataset.client.change(method, create_request(dataset, tokens, before), dataset.outcome)
    except CallError as error:
        journal.forget_dataset(staged.slug)  # refused: nothing was made
        if error.code in (400, 404):
            uploads.forget(list(staged.files))  # perhaps they were uploaded too long ago
        raise error.deploy_error() from None
    answer = written.answer or {}
    if problem := answer.get("error") or (answer.get("status") == "error" and "it did not say why"):
        if (found := dataset.client.settled(dataset.outcome)) is not None:
            return before, found
        journal.forget_dataset(staged.slug)
        uploads.forget(list(staged.files))
        raise DeployError(f"dataset {staged.slug}: Kaggle refused the files: {problem}", Exit.DATASET)
    return before, written.found


def create_request(dataset: Dataset, tokens: list[dict[str, str]], before: int) -> Answer:
    """The body of CreateDatasetVersion, or of CreateDataset when there is none before."""
    if before:
        return {**dataset.place, "body": {"versionNotes": dataset.staged.notes, "files": tokens}}
    owner, _, name = dataset.staged.slug.partition("/")
    return {"ownerSlug": owner, "slug": name, "title": name, "licenseName": LICENSE,
            "isPrivate": not dataset.public, "files": tokens, "description": dataset.staged.notes}


def wait_current(dataset: Dataset) -> int:
    """Wait until the staged files are listed, READY and current: a kernel pushed sooner would get the old version."""
    slug = dataset.staged.slug
    status = ""
    for number in dataset.client.pace.looks(READY_LOOKS):
        status = dataset.status()
        if status in ("FAILED", "DELETED"):
            raise DeployError(f"dataset {slug}: Kaggle could not process it ({status}); look at its page", Exit.DATASET)
        if status == "READY" and (version := dataset.current()) is not None:
            return version
        if number == 0:
            dataset.say(f"dataset {slug}: waiting until it is current")
    version = int((dataset.info() or {}).get("currentVersionNumber") or 0)
    found = dataset.differences(version)[:3] if version else ["there is none"]
    raise DeployError(f"dataset {slug}: the new version did not become current (status {status or 'unknown'}; version "
                      f"{version}: {'; '.join(found)}); run the same command again later", Exit.DATASET)
