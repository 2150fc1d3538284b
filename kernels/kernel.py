"""The entry with all tasks, competitions and readers, for `foldpack check`.

A deploy writes one with what its ensemble names.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from foldpack.competitions.kernel_half import kernel_half
from foldpack.competitions.registry import COMPETITIONS
from foldpack.data.readers.bson_documents import BsonReader
from foldpack.data.readers.dicom import DicomReader
from foldpack.data.readers.json_records import JsonReader
from foldpack.data.readers.numpy_files import NumpyReader
from foldpack.data.readers.tiff import TiffReader
from foldpack.ensemble.level2 import open_level2
from foldpack.kernel.main import run_kernel
from foldpack.kernel.start import begin_kernel
from foldpack.predict.views import views_of_spec
from foldpack.tasks.registry import TASKS

READERS_TO_CHECK = (BsonReader, DicomReader, JsonReader, NumpyReader, TiffReader)  # beside the default


def begin(spec: dict[str, Any], running: bool) -> AbstractContextManager[None]:
    """What the packed script does around the imports of other packages. running: not in a worker process."""
    return begin_kernel(spec, running)


def main(spec: dict, keys: dict[str, str], argv: list[str] | None = None) -> int:
    """Predict, write `submission.csv`, check it. Returns the exit code."""
    return run_kernel(spec, keys, argv, TASKS, kernel_half(COMPETITIONS[spec["competition"]]), views_of_spec(spec),
                      level2=open_level2)
