"""`python -m packer ENTRY.py --src DIR --package NAME --out FILE`: pack any package that keeps the rules."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from foldpack.errors import FoldpackError
from foldpack.files import write_atomic
from packer.build.pack import WheelSet, pack_entry, source_commit
from packer.build.pack_report import needs_lines, report_lines
from packer.errors import PackError
from packer.flatten.script_keys import SIZE_LIMIT
from packer.image.image import kaggle_image


def make_parser() -> argparse.ArgumentParser:
    """The options of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m packer",
        description="Pack an entry and all it reaches into one readable script. Exit codes: 0 done, 1 --verify found a "
        "difference, 2 something is wrong, and nothing was written.",
    )
    parser.add_argument("entry", type=Path, help="the file with a function main; a script for --verify, --where")
    parser.add_argument("--src", type=Path, default=Path("src"), help="folder that holds the package (default: src)")
    parser.add_argument("--package", help="the package's name")
    parser.add_argument("--spec", type=Path, help="YAML that is embedded as SPEC and given to main")
    parser.add_argument("--out", type=Path, help="the script to write; without it nothing is written")
    parser.add_argument("--notebook", action="store_true", help="write an .ipynb that writes and runs the script")
    parser.add_argument("--vendor", action="append", default=[], metavar="NAME",
                        help="carry an installed pure-Python distribution inside the script (repeatable)")
    parser.add_argument("--wheels", metavar="OWNER/SLUG:NAME,...", help="install a dataset's wheels before the imports")
    parser.add_argument("--explain", metavar="NAME", help="say which names keep NAME in the script, and write nothing")
    parser.add_argument("--report", action="store_true", help="say what went into the script and what stayed out")
    parser.add_argument("--needs", action="store_true", help="say what the script needs of the Kaggle image")
    parser.add_argument("--verify", action="store_true", help="pack again from the sources and compare with the script")
    parser.add_argument("--where", type=int, metavar="LINE", help="say which source line a script's line came from")
    return parser


def main(argv: list[str] | None = None) -> int:
    """The command line. Errors that the user can mend are one message on stderr and exit code 2."""
    options = make_parser().parse_args(argv)
    try:
        if options.where is not None:
            from packer.build.where import where  # like the other imports inside functions: slow, and seldom needed

            print(where(read_text(options.entry), options.where))
            return 0
        if options.verify:
            return run_verify(options)
        return run_pack(options, sys.argv[1:] if argv is None else argv)
    except FoldpackError as error:
        print(error, file=sys.stderr)
        return 2


def run_verify(options: argparse.Namespace) -> int:
    """Compare a script with what its sources give. Returns the exit code: 1 when they differ."""
    from packer.build.where import verify_script

    spec = None if options.spec is None else read_spec_data(options.spec)
    verdict = verify_script(read_text(options.entry), options.src, spec)
    print("identical" if verdict.identical else verdict.difference)
    return 0 if verdict.identical else 1


def run_pack(options: argparse.Namespace, argv: list[str]) -> int:
    """Pack, explain or report, as asked. Returns the exit code."""
    if not options.package:
        raise PackError("--package is missing: name the package below --src whose modules may be packed")
    commit = source_commit(options.src, [path for path in (options.src, options.entry, options.spec) if path])
    result = pack_entry(
        options.entry, options.src, options.package,
        spec=None if options.spec is None else read_spec_data(options.spec),
        command=" ".join(["python -m packer", *argv]), commit=commit,
        vendor=options.vendor, wheels=read_wheels_option(options.wheels),
    )
    image = kaggle_image()
    if options.explain:
        print(result.report.explain(options.explain))
        return 0
    if options.out:
        text = result.text
        if options.notebook:
            from packer.build.notebook import render_notebook

            text = render_notebook(result.text, options.out.stem)
        try:
            write_atomic(options.out, text)
        except OSError as error:
            raise PackError(f"{options.out}: cannot be written ({error.strerror}); give another --out") from None
        print(f"{options.out}: {result.report.size} bytes, {result.report.size / SIZE_LIMIT:.0%} of what Kaggle takes")
    if options.report or options.needs:
        print("\n".join((report_lines if options.report else needs_lines)(result.report, image)))
    for warning in [] if options.report else result.report.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    return 0


def read_wheels_option(text: str | None) -> WheelSet | None:
    """`OWNER/SLUG:NAME,...` -> WheelSet."""
    if text is None:
        return None
    dataset, _, packages = text.partition(":")
    return WheelSet(dataset, tuple(package for package in packages.split(",") if package))


def read_spec_data(path: Path) -> dict[str, object]:
    """The mapping in a spec file. Raises PackError for anything else."""
    from foldpack.settings.strict_yaml import load_strict

    data = load_strict(read_text(path), str(path))
    if not isinstance(data, dict):
        raise PackError(f"{path}: a spec is a mapping; this file holds a {type(data).__name__}")
    return data


def read_text(path: Path) -> str:
    """The text of a file. Raises PackError when it cannot be read or is not UTF-8."""
    try:
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError:
        raise PackError(f"{path}: not UTF-8; save it as UTF-8") from None
    except OSError as error:
        raise PackError(f"{path}: cannot be read ({error.strerror}); check the name") from None


if __name__ == "__main__":
    raise SystemExit(main())
