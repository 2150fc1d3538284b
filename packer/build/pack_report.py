"""What went into a script and what stayed out, for people."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from packer.flatten.script_keys import SIZE_LIMIT
from packer.flatten.shake import Shaken, explain
from packer.flatten.source import statement_imports
from packer.image.image import Image, is_stdlib

SIZE_WARNING = SIZE_LIMIT * 8 // 10


@dataclass(frozen=True)
class ModuleReport:
    """One source file's part of a script."""

    path: str
    size: int  # bytes in the script
    lines: int  # lines in the script
    source_lines: int
    kept: list[str]  # top-level names
    dropped: list[str]


@dataclass(frozen=True)
class PackReport:
    """One script: its size, its parts, the distributions that it imports from, and warnings."""

    size: int  # bytes
    lines: int
    modules: list[ModuleReport]
    packages: list[str]  # distributions of the image, sorted
    warnings: list[str]
    shaken: Shaken

    def explain(self, name: str) -> str:
        """Which chain of names keeps `name` in the script, or why it is left out."""
        return explain(self.shaken, name)


def make_report(shaken: Shaken, table: dict[str, list[tuple[int, int, int]]], text: str, image: Image) -> PackReport:
    """The report on a script. table: its line table."""
    script = text.split("\n")
    modules = []
    for module in shaken.graph.modules:
        runs = table.get(module.shown, [])
        size = sum(len("\n".join(script[here - 1 : here - 1 + count])) + 1 for here, _, count in runs)
        count = sum(count for _, _, count in runs)
        kept, dropped = shaken.kept_names(module), shaken.dropped_names(module)
        modules.append(ModuleReport(module.shown, size, count, len(module.lines) - 1, kept, dropped))
    outside = [each for kept in shaken.outside.values() for each in kept]
    outside += [each for module in shaken.graph.modules for statement in module.statements
                if shaken.keeps(module, statement) for each in statement_imports(statement)  # inside of functions
                if not shaken.graph.layout.owns(each)]
    roots = {each.root for each in outside if not is_stdlib(each.root)}
    packages = sorted({image.distribution(root) or root for root in roots})
    size = len(text.encode("utf-8"))
    report = PackReport(size, len(script) - 1, modules, packages, [], shaken)
    if size > SIZE_WARNING:
        report.warnings.append(f"{size} bytes of at most {SIZE_LIMIT}. {size_breakdown(report)}")
    return report


def size_breakdown(report: PackReport) -> str:
    """The largest parts in one line."""
    parts = sorted(((module.size, module.path) for module in report.modules), reverse=True)
    rest = report.size - sum(size for size, _ in parts)
    shown = [*(part for part in parts[:10] if part[0]), (rest, "SPEC, imports, carried packages and the rest")]
    return "Largest parts: " + ", ".join(f"{path} {size}" for size, path in sorted(shown, reverse=True))


def report_lines(report: PackReport, image: Image) -> Iterator[str]:
    """The report as text."""
    yield f"{report.size} bytes ({report.size / SIZE_LIMIT:.0%} of what Kaggle takes), {report.lines} lines"
    for module in report.modules:
        yield f"{module.path}: {module.lines} of {module.source_lines} lines, {module.size} bytes"
        if module.dropped:
            yield f"  left out: {', '.join(module.dropped)}"
    yield from needs_lines(report, image)
    for warning in report.warnings:
        yield f"warning: {warning}"


def needs_lines(report: PackReport, image: Image) -> Iterator[str]:
    """What the script needs of the Kaggle image, with the versions there."""
    yield f"needs of the Kaggle image of {image.date}:"
    for name in report.packages:
        version = image.versions.get(name)
        yield f"  {name} {'(comes with the script)' if version is None else version or '(version not pinned)'}"
