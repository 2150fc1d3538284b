"""kernels.KernelsApiService of the stand-in: save, read, status, output, quota."""

from __future__ import annotations

import json
import re
import threading
from pathlib import Path
from typing import Any
from urllib.parse import quote

from standin.errors import ApiError
from standin.faults import SIZE_MESSAGE, Fault
from standin.sessions import Competition, Job, Outcome, Runner
from standin.state import Kernel, KernelVersion, Session, Store

SOURCE_LIMIT = 1_000_000  # bytes
GPU_SESSIONS = 2  # at a time
BASE = "http://localhost"
NOT_FOUND = {403: "Permission 'kernels.get' was denied", 404: "Notebook not found"}
Body = dict[str, Any]


def slugify(title: str) -> str:
    """What Kaggle makes of a title."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


class Kernels:
    """The routes of kernels; each takes the user, the body and the fault that shall happen, and returns the answer."""

    def __init__(self, store: Store, competitions: dict[str, Competition], runner: Runner, missing: int,
                 gpu_hours: float) -> None:
        self.store = store
        self.competitions = competitions
        self.runner = runner
        self.missing = missing
        self.gpu_hours = gpu_hours
        self.threads: list[threading.Thread] = []

    def save_kernel(self, user: str, body: Body, fault: Fault | None) -> Body:
        """SaveKernel: a new version of a kernel, or a new kernel."""
        text = body.get("text", "")
        if len(text.encode("utf-8")) >= SOURCE_LIMIT:
            raise ApiError(400, SIZE_MESSAGE)
        if body.get("enableGpu") and self.active_sessions() >= GPU_SESSIONS:
            return {"error": f"Maximum batch GPU session count of {GPU_SESSIONS} reached."}
        kind = fault.kind if fault else ""
        kernel = self.kernel_to_save(user, body, changed=kind == "changed-slug")
        bound, invalid = self.bind(body, drop=kind == "dropped-sources")
        if kind == "dropped-models":
            invalid["invalidModelSources"] = body.get("modelDataSources") or ["someone/model/PyTorch/base/1"]
        number = len(kernel.versions) + 1
        version = KernelVersion(
            number=number, source=self.store.keep_source(text), datasets=bound,
            request={name: value for name, value in body.items() if name != "text"},
            competitions=[one for one in body.get("competitionDataSources", []) if one in self.competitions],
            session=Session(id=self.store.world.new_id()))
        kernel.versions.append(version)
        if body.get("kernelExecutionType") != "QUICK_SAVE":
            self.start(version, body.get("sessionTimeoutSeconds"))
        self.store.save()
        return {"ref": f"/code/{kernel.owner}/{kernel.slug}", "kernelId": kernel.id, "versionNumber": number,
                "url": f"https://www.kaggle.com/code/{kernel.owner}/{kernel.slug}", **invalid}

    def kernel_to_save(self, user: str, body: Body, changed: bool) -> Kernel:
        """The kernel that this push is for; made when it is not there. A new one is named by its title."""
        world = self.store.world
        owner, _, slug = body.get("slug", "").partition("/")
        if owner != user:
            raise ApiError(403, "Permission 'kernels.update' was denied")
        title = body.get("newTitle") or slug
        name = f"{owner}/{slug}"
        if name not in world.kernels or changed:
            wanted = slugify(title) + ("-2" if changed else "")
            name = f"{owner}/{wanted}"
            if name in world.kernels and not changed:
                raise ApiError(409, "A notebook with this title already exists. Please choose another title.")
            if name not in world.kernels:
                world.kernels[name] = Kernel(id=world.new_id(), owner=owner, slug=wanted, title=title)
        return world.kernels[name]

    def bind(self, body: Body, drop: bool) -> tuple[dict[str, int], Body]:
        """Bind each dataset's current version; what cannot be bound is reported and left out."""
        bound: dict[str, int] = {}
        invalid: Body = {}
        for slug in body.get("datasetDataSources", []):
            dataset = self.store.world.datasets.get(slug)
            if drop or dataset is None or dataset.current is None:
                invalid.setdefault("invalidDatasetSources", []).append(slug)
            else:
                bound[slug] = dataset.current.number
        unknown = [slug for slug in body.get("competitionDataSources", []) if slug not in self.competitions]
        if unknown:
            invalid["invalidCompetitionSources"] = unknown
        return bound, invalid

    def active_sessions(self) -> int:
        """How many sessions are queued or running."""
        versions = [one for kernel in self.store.world.kernels.values() for one in kernel.versions]
        return sum(one.session.status in ("QUEUED", "RUNNING") for one in versions)

    def start(self, version: KernelVersion, timeout: float | None) -> None:
        """Run the version: at once with an instant runner, else in a thread."""
        if self.runner.instant:
            self.run(version, timeout)
            return
        thread = threading.Thread(target=self.run, args=(version, timeout), daemon=True)
        self.threads.append(thread)
        thread.start()

    def job(self, version: KernelVersion, folder: Path, rerun: bool, timeout: float | None = None) -> Job:
        """What a run of this version sees."""
        datasets = {}
        for slug, number in version.datasets.items():
            found = self.store.world.datasets[slug].versions[number - 1]
            datasets[slug] = {name: self.store.blob_path(token) for name, token in found.blobs.items()}
        mounted = {slug: self.competitions[slug] for slug in version.competitions}
        data = {slug: (one.hidden or one.data) if rerun else one.data for slug, one in mounted.items()}
        return Job(self.store.folder / "sources" / version.source, folder, datasets, data, timeout, rerun)

    def run(self, version: KernelVersion, timeout: float | None) -> None:
        """One session from queued to its end."""
        session = version.session
        folder = self.store.session_folder(session)

        def say(stream: str, data: str) -> None:
            with self.store.lock:
                session.log.append({"stream_name": stream, "time": round(len(session.log) / 10, 1), "data": data})

        with self.store.lock:
            session.status = "RUNNING"
            job = self.job(version, folder, rerun=False, timeout=timeout)
        try:
            outcome = self.runner(job, say)
        except Exception as error:  # a broken stand-in must show up in the test, not hang it
            outcome = Outcome("ERROR", f"the stand-in could not run it: {error!r}")
        with self.store.lock:
            output = folder / "output"
            if output.is_dir():
                session.files = sorted(str(one.relative_to(output)) for one in output.rglob("*") if one.is_file())
            session.polls, session.failure, session.seconds = outcome.polls, outcome.failure, outcome.seconds
            session.status = outcome.status
            self.store.world.gpu_seconds += outcome.seconds
            self.store.save()

    def find(self, body: Body) -> tuple[Kernel, KernelVersion]:
        """The version that a read is about: `versionLabel`, or slug/number in the slug, else the newest."""
        slug, _, suffix = body.get("kernelSlug", "").partition("/")
        kernel = self.store.world.kernels.get(f"{body.get('userName', '')}/{slug}")
        label = body.get("versionLabel") or suffix
        version = kernel.version(int(label.lstrip("v")) if label else None) if kernel else None
        if kernel is None or version is None:
            raise ApiError(self.missing, NOT_FOUND[self.missing])
        return kernel, version

    def get_kernel(self, user: str, body: Body, fault: Fault | None) -> Body:
        """GetKernel: metadata and source."""
        kernel, version = self.find(body)
        return {"metadata": self.metadata(kernel, version),
                "blob": {"source": self.store.source(version), "language": version.request.get("language", ""),
                         "kernelType": version.request.get("kernelType", ""), "slug": kernel.slug}}

    def metadata(self, kernel: Kernel, version: KernelVersion) -> Body:
        """ApiKernelMetadata."""
        kept = ("language", "kernelType", "isPrivate", "enableGpu", "enableInternet", "machineShape", "dockerImage")
        return {"id": kernel.id, "ref": f"{kernel.owner}/{kernel.slug}", "title": kernel.title, "author": kernel.owner,
                "slug": kernel.slug, "lastRunTime": version.created, "currentVersionNumber": kernel.versions[-1].number,
                "datasetDataSources": sorted(version.datasets), "competitionDataSources": version.competitions,
                **{name: version.request[name] for name in kept if name in version.request}}

    def list_kernels(self, user: str, body: Body, fault: Fault | None) -> Body:
        """ListKernels, by owner and search text."""
        wanted = body.get("user") or (user if body.get("group") == "PROFILE" else "")
        found = [self.metadata(one, one.versions[-1]) for one in self.store.world.kernels.values()
                 if one.versions and wanted in ("", one.owner) and body.get("search", "") in one.title]
        page, token = paged(found, body)
        return {"kernels": page, "nextPageToken": token}

    def get_kernel_session_status(self, user: str, body: Body, fault: Fault | None) -> Body:
        """GetKernelSessionStatus; a canned session needs its number of questions before it is over."""
        _, version = self.find(body)
        session = version.session
        if session.polls > 0:
            session.polls -= 1
            return {"status": "RUNNING"}
        return {"status": session.status, **({"failureMessage": session.failure} if session.failure else {})}

    def list_kernel_session_output(self, user: str, body: Body, fault: Fault | None) -> Body:
        """ListKernelSessionOutput: urls of the output files, and the log."""
        _, version = self.find(body)
        session = version.session
        urls = [{"fileName": name, "url": f"{BASE}/files/{session.id}/{quote(name)}"} for name in session.files]
        page, token = paged(urls, body)
        return {"files": page, "log": json.dumps(session.log), "nextPageToken": token}

    def list_kernel_files(self, user: str, body: Body, fault: Fault | None) -> Body:
        """ListKernelFiles: names and sizes of the output."""
        _, version = self.find(body)
        output = self.store.session_folder(version.session) / "output"
        files = [{"name": name, "size": (output / name).stat().st_size, "creationDate": version.created}
                 for name in version.session.files]
        page, token = paged(files, body)
        return {"files": page, "nextPageToken": token}

    def cancel_kernel_session(self, user: str, body: Body, fault: Fault | None) -> Body:
        """CancelKernelSession is refused, as practitioners report."""
        raise ApiError(403, "Permission 'kernels.cancel' was denied")

    def get_accelerator_quota_statistics(self, user: str, body: Body, fault: Fault | None) -> Body:
        """Hours used and allowed this week."""
        used = self.store.world.gpu_seconds
        return {"quotaRefreshTime": "2030-01-05T00:00:00.000Z",
                "gpuQuota": {"timeUsed": f"{int(used)}s", "totalTimeAllowed": f"{int(self.gpu_hours * 3600)}s"},
                "tpuQuota": {"timeUsed": "0s", "totalTimeAllowed": "72000s"}}


def paged(items: list, body: Body) -> tuple[list, str]:
    """One page of a list and the token of the next."""
    size, start = body.get("pageSize") or 20, int(body.get("pageToken") or 0)
    following = start + size
    return items[start:following], str(following) if following < len(items) else ""
