"""What a new project and its competition are called."""

from __future__ import annotations

import re
from difflib import get_close_matches
from pathlib import Path

from foldpack.recognise.findings import Findings
from foldpack.recognise.metric import KNOWN

ADDRESS = re.compile(r"(?:https?://)?(?:www\.)?kaggle\.com/(?:competitions|c)/([^/?#]+).*", re.DOTALL)
DIGITS = re.compile(r"\d+")  # years: the same competition of another year is no slip
PLAIN = {"data", "input", "inputs", "download", "downloads", "competition", "dataset", "kaggle", "files", "raw"}


def name_project(project: Path, data: Path, slug: str | None, findings: Findings) -> tuple[str, str]:
    """(name, slug on Kaggle): as given or in an address, else the download's folder if that says it, or the project."""
    name = plain_name(project.resolve().name)
    if slug is not None:
        return name, given_slug(slug, findings)
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


def given_slug(text: str, findings: Findings) -> str:
    """A slug as said, or of an address; doubted where a known competition is called nearly so."""
    slug = plain_name(ADDRESS.sub(r"\1", text.strip()))
    near = [] if slug in KNOWN else [other for other in get_close_matches(slug, KNOWN, n=1, cutoff=0.85)
                                     if DIGITS.sub("", other) != DIGITS.sub("", slug)]
    if near:
        return findings.settle("slug", "which competition is it?", [(each, each) for each in (slug, *near)],
                               "you said so, and one that is known is called nearly so")
    findings.recognise("slug", slug, "you said so")
    return slug
