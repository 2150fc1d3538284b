"""What a new project and its competition are called."""

from __future__ import annotations

import re
from pathlib import Path

from foldpack.recognise.findings import Findings
from foldpack.recognise.metric import KNOWN

PLAIN = {"data", "input", "inputs", "download", "downloads", "competition", "dataset", "kaggle", "files", "raw"}


def name_project(project: Path, data: Path, slug: str | None, findings: Findings) -> tuple[str, str]:
    """(name, slug on Kaggle): as given, else what the download's folder is called, else the project's."""
    name = plain_name(project.resolve().name)
    if slug is not None:
        findings.recognise("slug", slug, "you said so")
        return name, plain_name(slug)
    folder = data.resolve().name
    if folder in KNOWN:
        findings.recognise("slug", folder, "the download's folder is called so, and that is a competition's")
        return name, folder
    taken = plain_name(folder) if folder.lower() not in PLAIN else name
    findings.guess("slug", taken, f"the {'download' if taken != name else 'project'}'s folder is called so, and Kaggle "
                   "needs the competition's own: see its address")
    return name, taken


def plain_name(text: str) -> str:
    """Letters, digits, `_`, `.` and `-` of a text."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", text).strip("-._") or "project"
