"""datasets.DatasetApiService and blobs.BlobApiService of the stand-in."""

from __future__ import annotations

import secrets
from typing import Any
from urllib.parse import quote

from standin.errors import ApiError
from standin.faults import Fault
from standin.kernels import BASE, paged
from standin.state import Blob, Dataset, DatasetVersion, Store

Body = dict[str, Any]
STALE_QUESTIONS = 4  # how many more answers tell of the old version


class Datasets:
    """The routes of datasets. A new version becomes current after `processing` questions about the dataset."""

    def __init__(self, store: Store, missing: int, processing: int) -> None:
        self.store = store
        self.missing = missing
        self.processing = processing

    def start_blob_upload(self, user: str, body: Body, fault: Fault | None) -> Body:
        """StartBlobUpload: a place to put the bytes."""
        token = secrets.token_hex(16)
        self.store.world.blobs[token] = Blob(token=token, name=body["name"], size=body.get("contentLength", 0))
        self.store.blob_path(token).touch()
        self.store.save()
        return {"token": token, "createUrl": f"{BASE}/blobs/{token}"}

    def create_dataset(self, user: str, body: Body, fault: Fault | None) -> Body:
        """CreateDataset: refused in the body when the slug is in use."""
        owner, slug, title = body.get("ownerSlug", user), body["slug"], body["title"]
        if owner != user:
            raise ApiError(403, "Permission 'datasets.create' was denied")
        name = f"{owner}/{slug}"
        if name in self.store.world.datasets:
            return {"status": "error", "error": f'The requested title "{title}" is already in use by a dataset. '
                                                "Please choose another title."}
        dataset = Dataset(id=self.store.world.new_id(), owner=owner, slug=slug, title=title,
                          private=body.get("isPrivate", False), license=body.get("licenseName", ""))
        version, error = self.make_version(1, body, None)
        if error:
            return {"status": "error", "error": error}
        dataset.versions.append(version)
        self.store.world.datasets[name] = dataset
        self.store.save()
        return self.created(dataset)

    def create_dataset_version(self, user: str, body: Body, fault: Fault | None) -> Body:
        """CreateDatasetVersion: 403 for a dataset that is not there, as Kaggle does."""
        dataset = self.store.world.datasets.get(f"{body.get('ownerSlug')}/{body.get('datasetSlug')}")
        if dataset is None or dataset.owner != user:
            raise ApiError(403, "Permission 'datasets.update' was denied")
        version, error = self.make_version(len(dataset.versions) + 1, body.get("body", {}), fault)
        if error:
            return {"status": "error", "error": error}
        dataset.versions.append(version)
        self.store.save()
        return self.created(dataset)

    def make_version(self, number: int, body: Body, fault: Fault | None) -> tuple[DatasetVersion, str]:
        """A version of the uploaded blobs, or what is wrong with them."""
        stale = fault is not None and fault.kind == "stale-dataset"
        version = DatasetVersion(number=number, notes=body.get("versionNotes"), stale=stale,
                                 waiting=STALE_QUESTIONS if stale else self.processing)
        for file in body.get("files", []):
            blob = self.store.world.blobs.get(file.get("token", ""))
            if blob is None or self.store.blob_path(blob.token).stat().st_size != blob.size:
                return version, "The uploaded files could not be found"
            version.files[blob.name], version.blobs[blob.name] = blob.size, blob.token
            version.failed = version.failed or "@" in blob.name
        return version, "" if version.files else "No files were uploaded"

    def created(self, dataset: Dataset) -> Body:
        """The answer to a creation."""
        return {"status": "ok", "ref": f"/{dataset.owner}/{dataset.slug}",
                "url": f"https://www.kaggle.com/datasets/{dataset.owner}/{dataset.slug}"}

    def find(self, body: Body) -> Dataset:
        """The dataset of a read; each question moves its processing on."""
        dataset = self.store.world.datasets.get(f"{body.get('ownerSlug')}/{body.get('datasetSlug')}")
        if dataset is None:
            raise ApiError(self.missing, "Permission 'datasets.get' was denied" if self.missing == 403 else "Not found")
        for version in dataset.versions:
            if version.waiting > 0:
                version.waiting -= 1
                self.store.save()
        return dataset

    def get_dataset_status(self, user: str, body: Body, fault: Fault | None) -> Body:
        """GetDatasetStatus of the newest version; a stale one says READY too early."""
        newest = self.find(body).versions[-1]
        if newest.failed:
            return {"status": "FAILED"}
        return {"status": "READY" if newest.waiting <= 0 or newest.stale else "BLOBS_RECEIVED"}

    def get_dataset(self, user: str, body: Body, fault: Fault | None) -> Body:
        """GetDataset: what is current, and the versions up to it."""
        return self.metadata(self.find(body))

    def metadata(self, dataset: Dataset) -> Body:
        """ApiDataset."""
        current = dataset.current
        number = current.number if current else 0
        versions = [{"versionNumber": one.number, "versionNotes": one.notes or "", "creationDate": one.created,
                     "status": "Ready", "creatorName": dataset.owner}
                    for one in reversed(dataset.versions) if one.number <= number and not one.failed]
        return {"id": dataset.id, "ref": f"{dataset.owner}/{dataset.slug}", "title": dataset.title,
                "ownerRef": dataset.owner, "isPrivate": dataset.private, "licenseName": dataset.license,
                "currentVersionNumber": number, "versions": versions,
                "totalBytes": sum(current.files.values()) if current else 0}

    def get_dataset_metadata(self, user: str, body: Body, fault: Fault | None) -> Body:
        """GetDatasetMetadata."""
        dataset = self.find(body)
        return {"info": {"datasetId": dataset.id, "datasetSlug": dataset.slug, "ownerUser": dataset.owner,
                         "title": dataset.title, "isPrivate": dataset.private,
                         "licenses": [{"name": dataset.license}]}}

    def list_datasets(self, user: str, body: Body, fault: Fault | None) -> Body:
        """ListDatasets, by owner and search text."""
        wanted = body.get("user") or (user if body.get("group") in ("MY", "DATASET_SELECTION_GROUP_MY") else "")
        found = [self.metadata(one) for one in self.store.world.datasets.values()
                 if wanted in ("", one.owner) and body.get("search", "") in one.title]
        page, token = paged(found, body)
        return {"datasets": page, "nextPageToken": token}

    def list_dataset_files(self, user: str, body: Body, fault: Fault | None) -> Body:
        """ListDatasetFiles of the current or the asked version, 20 a page."""
        dataset = self.find(body)
        number = body.get("datasetVersionNumber")
        version = dataset.versions[number - 1] if number else dataset.current
        if version is None:
            return {"datasetFiles": [], "errorMessage": "The dataset is being processed"}
        files = [{"name": name, "totalBytes": size, "creationDate": version.created,
                  "ref": name, "datasetRef": f"{dataset.owner}/{dataset.slug}"}
                 for name, size in sorted(version.files.items())]
        page, token = paged(files, body)
        return {"datasetFiles": page, "nextPageToken": token}

    def download_dataset(self, user: str, body: Body, fault: Fault | None) -> Body:
        """DownloadDataset of one file: a redirect to its bytes."""
        dataset = self.find(body)
        number = body.get("datasetVersionNumber")
        version = dataset.versions[number - 1] if number else dataset.current
        name = body.get("fileName", "")
        if version is None or name not in version.blobs:
            raise ApiError(404, f"there is no file '{name}'")
        return {"redirect": f"{BASE}/stored/{version.blobs[name]}/{quote(name)}"}
