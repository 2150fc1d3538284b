"""Pack an entry: from source text to one script, or to a PackError that names every place that stands in the way."""

from __future__ import annotations

import gc
import hashlib
import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packer.errors import PackError
from packer.flatten.first_part import has_first_part, script_roots
from packer.flatten.graph import Graph, Layout, read_graph
from packer.flatten.header import Provenance, how_lines, render_header
from packer.flatten.script_keys import SIZE_LIMIT, inject_keys, refuse_secret_fields, refuse_secrets
from packer.flatten.render import Additions, render_script
from packer.flatten.rules import check_graph
from packer.flatten.runtime import RUNTIME_FILES, runtime_module
from packer.flatten.shake import shake
from packer.image.image import kaggle_image, normal_name
from packer.build.pack_report import PackReport, make_report, size_breakdown

if TYPE_CHECKING:
    from packer.carry.vendor import Carried

__all__ = ["PackError", "PackResult", "WheelSet", "inject_keys", "pack_entry", "source_commit"]

PACK_FORMAT = 3  # raise when the same inputs give other bytes
NEVER_REPLACED = re.compile(r"(torch|torchvision|torchaudio|triton|numpy|nvidia-.*|cuda-.*)")


@dataclass(frozen=True)
class WheelSet:
    """Wheels to install offline at the kernel's start: a dataset `owner/slug` and `name` or `name==version` each."""

    dataset: str
    packages: tuple[str, ...]

    @property
    def roots(self) -> frozenset[str]:
        """Import names that they bring: the packages' names, with `_` for `-`."""
        return frozenset(re.split(r"[=<>!~ ]", package)[0].replace("-", "_") for package in self.packages)


@dataclass(frozen=True)
class PackResult:
    """A packed script without keys, its id (hex SHA-256 of its inputs) and the report on it."""

    text: str
    pack_id: str
    report: PackReport


def pack_entry(entry: Path, src: Path, package: str, **options: Any) -> PackResult:
    """Pack `entry` with all it reaches in `src/package` into one script. options, raises: see `pack_layout`."""
    return pack_layout(Layout(src, package, entry), **options)


def pack_layout(
    layout: Layout,
    *,
    spec: dict[str, object] | None = None,
    command: str = "",
    commit: str = "",
    vendor: Sequence[str] = (),
    wheels: WheelSet | None = None,
) -> PackResult:
    """Pack a layout's entry with all it reaches into one script.

    spec: plain data; given, the script calls `main(SPEC, KEYS)`, else `main()`. Its keys `vendor` (a list of
    distributions) and `wheels` ({dataset, packages}) mean the same as the arguments. command: what to say made the
    script. commit: the sources' commit, "" to name none. Nothing is imported or run. Raises PackError.
    """
    image = kaggle_image()
    if spec is not None:
        refuse_secret_fields(spec)
    wheels = wheels or read_wheels(spec or {})
    check_wheels(wheels)
    carried: Sequence[Carried] = []
    archive: list[str] = []
    if wanted := [*vendor, *read_vendor(spec or {})]:
        from packer.carry.vendor import archive_lines, collect_carried  # slow to import, and most packs carry nothing

        carried = collect_carried(wanted, image)
        archive = archive_lines(carried)
    provided = frozenset().union(*(each.roots for each in carried), wheels.roots if wheels else ())
    with uncollected():
        graph = read_graph(layout)
        if violations := check_graph(graph, provided, with_spec=spec is not None):
            raise PackError.from_violations(violations)
        shaken = shake(graph, script_roots(graph))
        pack_id = compute_pack_id(graph, spec, carried, wheels)
        made = Provenance(layout.shown(layout.entry), layout.package, layout.shown_src, " ".join(command.split()), commit)
        wheel_row = f"{wheels.dataset}: {', '.join(wheels.packages)}" if wheels else ""
        header = render_header(made, len(graph.modules), pack_id, spec, [str(each) for each in carried], wheel_row)
        assert graph.entry is not None  # else there were violations
        header += how_lines(graph.entry.tree, has_first_part(graph))
        additions = Additions(archive, *((wheels.dataset, wheels.packages) if wheels else ()))
        text, table = render_script(header, shaken, spec, additions)
        refuse_secrets(text, "the packed script")
        report = make_report(shaken, table, text, image)
    if report.size > SIZE_LIMIT:
        raise PackError(f"{report.size} bytes; Kaggle takes at most {SIZE_LIMIT}. {size_breakdown(report)}")
    return PackResult(text, pack_id, report)


@contextmanager
def uncollected() -> Iterator[None]:
    """No garbage collection inside: syntax trees are many small objects that all stay, and collecting finds nothing.

    Freezing and thawing moves what is there to the oldest generation, so that the next collection passes it over too.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            if not gc.get_freeze_count():
                gc.freeze()
                gc.unfreeze()
            gc.enable()


def read_vendor(spec: dict[str, object]) -> list[str]:
    """The distributions under the spec's `vendor:`."""
    names = spec.get("vendor") or []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise PackError(f"vendor: {names!r} is no list of distribution names; write `vendor: [name, ...]`")
    return names


def read_wheels(spec: dict[str, object]) -> WheelSet | None:
    """The wheels under the spec's `wheels:`."""
    found = spec.get("wheels")
    if not found:
        return None
    good = isinstance(found, dict) and set(found) == {"dataset", "packages"} and isinstance(found["packages"], list)
    if not good or not isinstance(found, dict):
        raise PackError(f"wheels: {found!r}; write `wheels: {{dataset: owner/slug, packages: [name, ...]}}`")
    return WheelSet(str(found["dataset"]), tuple(str(package) for package in found["packages"]))


def check_wheels(wheels: WheelSet | None) -> None:
    """Raises PackError for wheels that must not be installed."""
    if wheels is None:
        return
    if not re.fullmatch(r"[A-Za-z0-9-]+/[A-Za-z0-9-]+", wheels.dataset):
        raise PackError(f"wheels: {wheels.dataset!r} is no dataset; write `owner/slug`")
    if not wheels.packages:
        raise PackError("wheels: no packages named; write `packages: [name, ...]`")
    for package in wheels.packages:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*(==[A-Za-z0-9.+!_-]+)?", package):
            raise PackError(f"wheels: {package!r} is no package; write `name` or `name==version`")
        if NEVER_REPLACED.fullmatch(normal_name(package.partition("==")[0])):
            raise PackError(f"wheels: {package} would replace the image's own, built for its GPUs; leave it out")


def compute_pack_id(
    graph: Graph, spec: dict[str, object] | None, carried: Sequence[Carried], wheels: WheelSet | None
) -> str:
    """Hex SHA-256 over the format, the package's name, the text of every reached module, the spec and what is added."""
    parts = [f"foldpack pack {PACK_FORMAT}", graph.layout.package, repr(spec), repr(wheels)]
    parts += [runtime_module(file).text for file in RUNTIME_FILES]
    for module in sorted(graph.modules, key=lambda each: each.shown):
        parts += [module.shown, module.text]
    data = [part.encode("utf-8", "surrogatepass") for part in parts]
    for each in carried:
        for path, content in each.files.items():
            data += [path.encode("utf-8"), content]
    digest = hashlib.sha256()
    for part in data:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()


def source_commit(project: Path, paths: Sequence[Path]) -> str:
    """The commit that `project` has checked out, "" when it is no checkout or one of the paths has changes."""
    command = ["git", "-C", str(project), "status", "--porcelain=v2", "--branch", "--untracked-files=all", "--"]
    try:
        done = subprocess.run([*command, *map(str, paths)], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    lines = done.stdout.splitlines() if done.returncode == 0 else []
    if any(not line.startswith("#") for line in lines):
        return ""
    commit = next((line.removeprefix("# branch.oid ") for line in lines if line.startswith("# branch.oid ")), "")
    return "" if commit == "(initial)" else commit
