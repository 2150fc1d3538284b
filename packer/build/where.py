"""Which source line a line of a packed script came from, and whether a script still equals what its sources give."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path

from packer.errors import PackError
from packer.flatten.header import read_header, read_provenance
from packer.build.entry import ENTRY, ensemble_layout
from packer.build.pack import WheelSet, pack_layout
from packer.flatten.graph import Layout
from packer.flatten.packed_script import read_embedded_spec, read_line_table
from packer.flatten.script_keys import remove_keys

SHOWN_LINES = 60


def where(script: str, line: int) -> str:
    """`src/room/module.py:12` for a line (from 1) of a packed script's text.

    Raises PackError for a text that is no packed script and for a line that came from no source.
    """
    total = script.count("\n")
    if not 1 <= line <= total:
        raise PackError(f"line {line}: the script has lines 1 to {total}")
    for path, runs in read_line_table(script).items():
        for here, there, count in runs:
            if here <= line < here + count:
                return f"{path}:{there + line - here}"
    raise PackError(f"line {line} is the packer's own: it came from no source file")


@dataclass(frozen=True)
class Verdict:
    """Whether a script is what its sources and spec give. `difference`: a diff from the script to them, or ""."""

    identical: bool
    difference: str


def verify_script(script: str, src: Path, spec: dict[str, object] | None = None, project: Path = Path()) -> Verdict:
    """Pack again as the script's header says and compare; keys are left out of the comparison.

    src: the folder that holds the package. spec: compare with this one instead of the embedded one. project: the
    folder of the user's own files, for the kernel of an ensemble.
    Raises PackError when the text is no packed script or its sources cannot be packed.
    """
    made, rows = read_provenance(script), read_header(script)
    embedded = read_embedded_spec(script)
    used = embedded if spec is None or embedded is None else spec
    added = {"vendor", "wheels"} & set(used or {})
    vendor = [row.split(" ")[0] for row in rows.get("Carries", [])] if "vendor" not in added else []
    wheels = read_wheel_row(rows["Wheels"][0]) if "Wheels" in rows and "wheels" not in added else None
    if made.entry == ENTRY.name and used is not None:
        layout = ensemble_layout(used, src, project)
    else:
        layout = Layout(src, made.package, (src if made.src == "." else src.resolve().parent) / made.entry)
    again = pack_layout(
        layout, spec=used, command=made.command, commit=made.commit, vendor=vendor, wheels=wheels,
    )
    keyless = remove_keys(script)
    if keyless == again.text:
        return Verdict(True, "")
    return Verdict(False, difference(keyless, again.text))


def read_wheel_row(row: str) -> WheelSet:
    """A row of the header -> WheelSet."""
    dataset, _, packages = row.partition(": ")
    return WheelSet(dataset, tuple(packages.split(", ")))


def difference(script: str, again: str) -> str:
    """The first differing parts as a unified diff of at most 60 lines."""
    old, new = script.split("\n"), again.split("\n")
    lines = list(difflib.unified_diff(old, new, "the script", "its sources", n=2, lineterm=""))
    more = [f"... and {len(lines) - SHOWN_LINES} lines more"] if len(lines) > SHOWN_LINES else []
    return "\n".join([*lines[:SHOWN_LINES], *more])
