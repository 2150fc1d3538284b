"""`make audit` fails on a finding, passes over what has a reason, and says when nobody could be asked."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOUND = {"name": "six", "version": "1.17.0", "vulns": []}
UNKNOWN = {"name": "torch", "skip_reason": "not found"}
BAD = {"name": "jinja2", "version": "3.1.0",
       "vulns": [{"id": "GHSA-1", "aliases": ["CVE-9"], "fix_versions": ["3.1.6"]}]}
FOUND = ("audit: jinja2 3.1.0 has GHSA-1, mended in 3.1.6; run `make lock UPGRADE=1`, or give a reason in "
         "locks/audit-ignore.txt")


def run_audit(folder: Path, said: str, ignored: str = "", *options: str) -> subprocess.CompletedProcess:
    """locks/audit.py with a stand-in of pip-audit that prints `said` and fails as the real one does."""
    (folder / "pip_audit.py").write_text(f"import sys; print({said!r}); sys.exit('no such host: x.invalid')")
    (folder / "locks").mkdir()
    shutil.copy(ROOT / "locks/audit.py", folder / "locks")
    (folder / "locks/audit-ignore.txt").write_text(ignored)
    command = [sys.executable, str(folder / "locks/audit.py"), *options]
    return subprocess.run(command, capture_output=True, text=True, env={"PYTHONPATH": str(folder)})


def report(*packages: dict) -> str:
    return json.dumps({"dependencies": packages})


@pytest.mark.parametrize(("said", "ignored", "options", "code", "lines"), [
    (report(SOUND), "", [], 0, ["audit: 1 packages, no open advisory"]),
    (report(SOUND, BAD), "", [], 1, [FOUND]),
    (report(BAD), "", ["--warn"], 0, [FOUND]),
    (report(BAD), "# why\nGHSA-1 we render no templates of others\n", [], 0, ["audit: 1 packages, no open advisory"]),
    (report(BAD), "CVE-9 known under its other name", [], 0, ["audit: 1 packages, no open advisory"]),
    (report(SOUND, UNKNOWN), "", [], 0, ["audit: not looked up: torch", "audit: 1 packages, no open advisory"]),
    (report(UNKNOWN), "", [], 0,
     ["audit: not done, the advisory service answers for none of 1 packages from here"]),
    ("", "", [], 0,
     ["audit: not done, the advisory service cannot be asked from here (no such host: x.invalid)"]),
])
def test_an_audit_says_what_it_found(tmp_path: Path, said: str, ignored: str, options: list[str], code: int,
                                     lines: list[str]) -> None:
    done = run_audit(tmp_path, said, ignored, *options)
    assert (done.stdout.splitlines(), done.returncode) == (lines, code)


def test_an_advisory_is_passed_over_only_with_a_reason(tmp_path: Path) -> None:
    done = run_audit(tmp_path, report(BAD), "GHSA-1\n")
    assert done.stderr == "error: audit-ignore.txt: GHSA-1 has no reason; write it after the id\n"
    assert done.returncode == 2


def test_the_list_of_the_checkout_is_good() -> None:
    for line in (ROOT / "locks/audit-ignore.txt").read_text().splitlines():
        assert line.startswith("#") or len(line.split(maxsplit=1)) == 2, line
