"""A `--notebook` pack in a real Jupyter kernel: the cells write the script, the last one runs it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from packing import pack_project, run_script, write_project

from packer.build.notebook import FOLDER, render_notebook

nbclient = pytest.importorskip("nbclient")
nbformat = pytest.importorskip("nbformat")
pytest.importorskip("ipykernel")

CASES = Path(__file__).parents[1] / "cases"


def run_in_jupyter(notebook: str, folder: Path) -> tuple[str, str]:
    """What the cells print, and the exit code that stopped the last one: "" for none."""
    document = nbformat.reads(notebook.replace(FOLDER, str(folder / "packed")), as_version=4)
    client = nbclient.NotebookClient(document, timeout=120, kernel_name="python3",
                                     resources={"metadata": {"path": str(folder)}})
    code = ""
    try:
        client.execute()
    except nbclient.exceptions.CellExecutionError as failure:
        assert failure.ename == "SystemExit"
        code = failure.evalue
    outputs = document.cells[-1].outputs
    return "".join(out.text for out in outputs if out.output_type == "stream" and out.name == "stdout"), code


@pytest.mark.parametrize("case", ["strings_with_banners", "exit_code", "spawn_workers", "first_part"])
def test_a_notebook_runs_in_jupyter_and_carries_the_exit_code(case: str, tmp_path: Path) -> None:
    project = write_project(Path(shutil.copytree(CASES / case, tmp_path / "project")), {})
    text = pack_project(project).text
    (tmp_path / "script.py").write_text(text)
    ran = run_script(tmp_path / "script.py", tmp_path / "empty")
    (tmp_path / "run").mkdir()
    out, code = run_in_jupyter(render_notebook(text, "best"), tmp_path / "run")
    assert out == ran.out + ran.err
    assert code == (str(ran.code) if ran.code else "")
    assert not (tmp_path / "run" / "packed" / "best.py").exists()
