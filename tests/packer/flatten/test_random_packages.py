"""Random packages print the same packed and unpacked; nothing unreached stays in, nothing reached is missing."""

from __future__ import annotations

import ast
import builtins
import contextlib
import io
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from packing import pack_project, write_project
from random_packages import random_package


def run_in_process(text: str, name: str) -> tuple[object, str]:
    """Exit code and output of a script, run as `__main__` in this process, with tracebacks left as they were."""
    quiet = text.replace("install_true_tracebacks(PACKED_LINES, {})", "pass")
    out = io.StringIO()
    with contextlib.redirect_stdout(out), pytest.raises(SystemExit) as caught:
        exec(compile(quiet, name, "exec"), {"__name__": "__main__", "__builtins__": builtins})
    return caught.value.code, out.getvalue()


def run_package_in_process(root: Path) -> tuple[object, str]:
    """What the unpacked package does; its modules are forgotten afterwards."""
    before = set(sys.modules)
    sys.path[:0] = [str(root / "src")]
    try:
        entry = (root / "kernels" / "go.py").read_text()
        return run_in_process(entry + "\n\nraise SystemExit(main())\n", "entry")
    finally:
        sys.path.remove(str(root / "src"))
        for name in set(sys.modules) - before:
            if name.partition(".")[0] == "toy":
                del sys.modules[name]


def check_package(files: dict[str, str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = write_project(Path(folder), files)
        result = pack_project(root)
        assert run_in_process(result.text, "script") == run_package_in_process(root)
        shaken = result.report.shaken
        tops = [node for node in ast.parse(result.text).body if isinstance(node, (ast.FunctionDef, ast.ClassDef))]
        names = {node.name for node in tops if not node.name.startswith(("Packed", "packed_", "install_"))}
        kept = {name for module, name in shaken.because if not name.isupper()}
        assert names == kept
        for module in result.report.modules:
            for name in module.dropped:
                assert name not in {node.id for node in ast.walk(ast.parse(result.text)) if isinstance(node, ast.Name)}


FILES = random_package()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(FILES)
def test_packed_output_is_the_packages_output(files: dict[str, str]) -> None:
    check_package(files)


@pytest.mark.slow
@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(FILES)
def test_packed_output_is_the_packages_output_500(files: dict[str, str]) -> None:
    check_package(files)
