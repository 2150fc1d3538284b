"""Look up known vulnerabilities of what the locks name: `make audit`, a part of `make check`.

pip-audit asks the advisory service of the package index. Where that cannot be reached, one line says so and nothing
fails. A finding fails, unless locks/audit-ignore.txt gives its id and a reason; with --warn it is told and passes.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

LOCKS = Path(__file__).resolve().parent
IGNORED = LOCKS / "audit-ignore.txt"
SECONDS = 180  # for all packages; one answer may take SOCKET_SECONDS
SOCKET_SECONDS = 10


def ask() -> dict | str:
    """pip-audit's report, or why there is none."""
    files = [word for name in ("setup.txt", "bench.txt") for word in ("-r", str(LOCKS / name))]
    command = [sys.executable, "-m", "pip_audit", "--require-hashes", "--disable-pip", "--format", "json",
               "--progress-spinner", "off", "--timeout", str(SOCKET_SECONDS), *files]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return f"no answer within {SECONDS} s"
    try:
        return json.loads(done.stdout)
    except ValueError:
        said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        return said[-1][:200]


def read_ignored(text: str) -> dict[str, str]:
    """Advisory id -> why it is passed over. Raises ValueError for a line without a reason."""
    found = {}
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            advisory, _, reason = line.strip().partition(" ")
            if not reason.strip():
                raise ValueError(f"{IGNORED.name}: {advisory} has no reason; write it after the id")
            found[advisory] = reason.strip()
    return found


def findings(report: dict, ignored: dict[str, str]) -> Iterator[str]:
    """One line for each advisory that is not passed over."""
    for package in report["dependencies"]:
        for one in package.get("vulns", []):
            if not {one["id"], *one.get("aliases", [])} & ignored.keys():
                mended = ", ".join(one.get("fix_versions", [])) or "no version yet"
                yield (f"audit: {package['name']} {package['version']} has {one['id']}, mended in {mended}; run "
                       f"`make lock UPGRADE=1`, or give a reason in locks/{IGNORED.name}")


def audit(report: dict | str, ignored: dict[str, str]) -> tuple[list[str], bool]:
    """(what to print, whether something was found)."""
    if isinstance(report, str):
        return [f"audit: not done, the advisory service cannot be asked from here ({report})"], False
    skipped = [package["name"] for package in report["dependencies"] if "skip_reason" in package]
    count = len(report["dependencies"])
    if len(skipped) == count:
        return [f"audit: not done, the advisory service answers for none of {count} packages from here"], False
    found = list(findings(report, ignored))
    lines = [f"audit: not looked up: {', '.join(skipped)}"] if skipped else []
    return [*lines, *(found or [f"audit: {count - len(skipped)} packages, no open advisory"])], bool(found)


def main() -> int:
    """Print the findings. Exit code 1 for one, 2 for a bad list of ignored advisories."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--warn", action="store_true", help="tell findings, but do not fail")
    warn = parser.parse_args().warn
    try:
        ignored = read_ignored(IGNORED.read_text(encoding="utf-8"))
    except ValueError as failure:
        print(f"error: {failure}", file=sys.stderr)
        return 2
    lines, bad = audit(ask(), ignored)
    print("\n".join(lines))
    return int(bad and not warn)


if __name__ == "__main__":
    sys.exit(main())
