"""The tool around the packer: size guard, report, explain, verify, notebook, bad input, the same bytes everywhere."""

from __future__ import annotations

import ast
import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from packing import pack_project, run_script, write_project

from packer.__main__ import main
from packer.build.notebook import FOLDER, render_notebook
from packer.build.pack import source_commit
from packer.build.where import verify_script
from packer.errors import PackError
from packer.flatten.rules import check_project
from packer.flatten.script_keys import inject_keys, remove_keys
from packer.image.image import is_stdlib, kaggle_image, normal_name

CASES = Path(__file__).parents[1] / "cases"
A = """from __future__ import annotations

import cv2
import numpy as np
import yaml

LIMIT = 3


def used(x: int) -> int:
    return helper(x) + LIMIT


def helper(x: int) -> int:
    return int(np.int64(x))


def unused() -> object:
    return cv2, yaml, deeper_unused()


def deeper_unused() -> int:
    return LIMIT
"""
ENTRY = """from __future__ import annotations

from toy.a import used


def main(spec: dict, keys: dict[str, str]) -> int:
    print(used(spec["x"]))
    return spec["x"]
"""
FAILING = """from __future__ import annotations


def main() -> int:
    return 1 // 0
"""
SPEC = "name: best\nx: 2\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return write_project(tmp_path / "p", {"src/toy/a.py": A, "kernels/go.py": ENTRY, "spec.yml": SPEC})


def call(*arguments: object) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of the command line."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([str(argument) for argument in arguments])
    return code, out.getvalue(), err.getvalue()


def pack_call(project: Path, *more: object) -> tuple[int, str, str]:
    options = ["--src", project / "src", "--package", "toy", "--spec", project / "spec.yml"]
    return call(project / "kernels" / "go.py", *options, *more)


def test_packs_from_the_command_line(project: Path, tmp_path: Path) -> None:
    out = tmp_path / "build" / "best.py"
    code, said, err = pack_call(project, "--out", out)
    assert (code, err) == (0, "") and said == f"{out}: {out.stat().st_size} bytes, 1% of what Kaggle takes\n"
    ran = run_script(out, tmp_path / "empty")
    assert (ran.code, ran.out) == (2, "5\n")
    assert call(out, "--verify", "--src", project / "src") == (0, "identical\n", "")
    line = out.read_text().split("\n").index("    return int(np.int64(x))") + 1
    assert call(out, "--where", line) == (0, "src/toy/a.py:15\n", "")


def test_reports_and_explains(project: Path) -> None:
    code, said, _ = pack_call(project, "--report")
    assert code == 0
    assert "src/toy/a.py: 9 of 23 lines" in said and "left out: unused, deeper_unused" in said
    assert said.endswith(f"needs of the Kaggle image of 2026-05-14:\n  numpy {kaggle_image().versions['numpy']}\n")
    _, said, _ = pack_call(project, "--explain", "helper")
    assert said == "main (kernels/go.py:6)\n  -> used (src/toy/a.py:10)\n    -> helper (src/toy/a.py:14)\n"
    _, said, _ = pack_call(project, "--explain", "deeper_unused")
    assert said == "deeper_unused (src/toy/a.py:22) is left out: only unused name it, and they are left out too\n"
    _, said, _ = pack_call(project, "--explain", "unused")
    assert said == "unused (src/toy/a.py:18) is left out: nothing names it\n"
    code, _, said = pack_call(project, "--explain", "halper")
    assert (code, said) == (2, "no module that the entry reaches defines 'halper'; did you mean 'helper'?\n")


def test_verify_shows_what_differs(project: Path, tmp_path: Path) -> None:
    out = tmp_path / "best.py"
    pack_call(project, "--out", out)
    out.write_text(inject_keys(out.read_text(), {"a": "0" * 64}))
    assert call(out, "--verify", "--src", project / "src")[0] == 0
    (project / "src/toy/a.py").write_text(A.replace("LIMIT = 3", "LIMIT = 4"))
    code, said, _ = call(out, "--verify", "--src", project / "src")
    assert code == 1 and "-LIMIT = 3\n+LIMIT = 4\n" in said and "-# Pack id " in said
    assert "0" * 64 not in said
    (project / "src/toy/a.py").write_text(A)
    (project / "spec.yml").write_text("name: best\nx: 3\n")
    code, said, _ = call(out, "--verify", "--src", project / "src", "--spec", project / "spec.yml")
    assert code == 1 and "-SPEC: dict = {'name': 'best', 'x': 2}\n+SPEC: dict = {'name': 'best', 'x': 3}\n" in said
    code, _, said = call(project / "kernels/go.py", "--verify", "--src", project / "src")
    assert code == 2 and said.startswith("not a packed script: its header names no entry")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--package", "toy"], "kernels/nowhere.py:1: rule 0: the file does not exist; check the name"),
        ([], "--package is missing: name the package below --src"),
        (["--package", "toy", "--spec", "nowhere.yml"], "nowhere.yml: cannot be read (No such file or directory)"),
        (["--package", "toy", "--vendor", "not-installed-xyz"], "vendor: 'not-installed-xyz' is not installed here"),
        (["--where", "1"], "cannot be read (No such file or directory); check the name"),
    ],
)
def test_bad_input_is_one_message_and_exit_code_2(arguments: list[str], message: str, project: Path) -> None:
    code, out, err = call(project / "kernels" / "nowhere.py", "--src", project / "src", *arguments)
    assert (code, out) == (2, "") and message in err and "Traceback" not in err


def test_a_failed_pack_leaves_the_previous_one(project: Path, tmp_path: Path) -> None:
    out = tmp_path / "best.py"
    pack_call(project, "--out", out)
    before = out.read_bytes()
    (project / "src/toy/a.py").write_text(A + "print('hello')\n")
    assert pack_call(project, "--out", out)[0] == 2
    (project / "src/toy/a.py").write_text(A + f"\n\nBIG = '{'x' * 100}'\n")
    (project / "spec.yml").write_text("name: best\nkey: 0123456789abcdef\n")
    code, _, err = pack_call(project, "--out", out)
    assert code == 2 and err.startswith("spec.key: a spec holds no secrets") and "0123" not in err
    (project / "spec.yml").write_text("- a\n")
    assert pack_call(project, "--out", out)[2].endswith("spec.yml: a spec is a mapping; this file holds a list\n")
    (project / "spec.yml").write_text("name: a\nname: b\n")
    assert "spec.yml:2: key 'name' is already set in line 1" in pack_call(project, "--out", out)[2]
    assert out.read_bytes() == before and sorted(path.name for path in tmp_path.iterdir()) == ["best.py", "p"]


def test_an_output_that_cannot_be_written(project: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, _, err = pack_call(project, "--out", tmp_path / "file" / "best.py")
    assert code == 2 and "cannot be written" in err and "give another --out" in err


def test_size_guard(project: Path) -> None:
    rows = "".join(f"    '{number:05d}{'x' * 90}',\n" for number in range(8700))
    (project / "src/toy/a.py").write_text(A.replace("LIMIT = 3", f"TABLE = [\n{rows}]\nLIMIT = len(TABLE)"))
    report = pack_project(project, {"x": 1}).report
    assert len(report.warnings) == 1
    assert f"{report.size} bytes of at most 1000000. Largest parts: src/toy/a.py 8" in report.warnings[0]
    (project / "src/toy/a.py").write_text(A.replace("LIMIT = 3", f"TABLE = [\n{rows}{rows}]\nLIMIT = len(TABLE)"))
    with pytest.raises(PackError, match=r"^18\d{5} bytes; Kaggle takes at most 1000000. Largest parts: src/toy/a.py"):
        pack_project(project, {"x": 1})


@pytest.mark.parametrize(
    "secret", ["KGAT_" + "0a" * 16, '{"username":"me","key":"' + "0a" * 16 + '"}', "-----BEGIN PRIVATE KEY-----"]
)
def test_credentials_in_sources_are_refused(secret: str, project: Path) -> None:
    (project / "src/toy/a.py").write_text(A.replace("LIMIT = 3", f"LIMIT = len({secret!r})"))
    with pytest.raises(PackError) as caught:
        pack_project(project, {"x": 1})
    assert "stands in the text; take it out, and withdraw it where it is valid" in str(caught.value)
    assert secret not in str(caught.value)


def test_keys_that_cannot_go_in(project: Path) -> None:
    text = pack_project(project, {"x": 1, "file": "0123456789abcdef"}).text
    with pytest.raises(PackError, match="the key 'a' already stands outside the script's KEYS line"):
        inject_keys(text, {"a": "0123456789abcdef"})
    with pytest.raises(PackError, match="keys are text by name; 'a' holds a bytes"):
        inject_keys(text, {"a": b"x"})  # type: ignore[dict-item]
    with pytest.raises(PackError, match="with its keys; Kaggle takes at most"):
        inject_keys(text, {"a": "0123" * 300_000})
    with pytest.raises(PackError, match="no KEYS line"):
        inject_keys("x = 1\n", {})
    keyed = inject_keys(text, {"a\n'\"": "\\\u2028\x00é"})
    assert remove_keys(keyed) == text
    scope: dict[str, object] = {"__name__": "other"}
    exec(compile(ast.parse(keyed), "keyed", "exec"), scope)
    assert scope["KEYS"] == {"a\n'\"": "\\\u2028\x00é"}


def run_notebook(notebook: str, folder: Path) -> tuple[object, str]:
    """What a notebook server does with the cells: magics write files, code runs in one namespace."""
    scope: dict[str, object] = {}
    out = io.StringIO()
    code: object = 0
    for cell in json.loads(notebook)["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] != "code":
            continue
        if source.startswith("%%writefile -a "):
            path, _, body = source.removeprefix("%%writefile -a ").partition("\n")
            with open(folder / Path(path).name, "a", encoding="utf-8") as file:
                file.write(body.rstrip("\n") + "\n")
            continue
        try:
            with contextlib.redirect_stdout(out):
                exec(source.replace(FOLDER, str(folder)), scope)
        except SystemExit as stop:
            code = stop.code
    return code, out.getvalue()


@pytest.mark.parametrize("case", ["strings_with_banners", "comments_at_edges", "exit_code", "spawn_workers",
                                  "first_part"])
def test_a_notebook_writes_and_runs_the_script(case: str, tmp_path: Path) -> None:
    project = write_project(Path(shutil.copytree(CASES / case, tmp_path / "project")), {})
    text = pack_project(project).text
    notebook = render_notebook(text, "best")
    json.loads(notebook)
    pytest.importorskip("nbformat").validate(json.loads(notebook))
    written: list[str] = []
    for cell in json.loads(notebook)["cells"]:
        source = "".join(cell["source"])
        if source.startswith("%%writefile"):
            written.append(source.partition("\n")[2])
    assert "\n".join(written) + "\n" == text
    (tmp_path / "script.py").write_text(text)
    ran = run_script(tmp_path / "script.py", tmp_path / "empty")
    (tmp_path / "run").mkdir()
    code, out = run_notebook(notebook, tmp_path / "run")
    assert (code, out) == (ran.code, ran.out + ran.err)
    assert list((tmp_path / "run").iterdir()) == []


def test_a_notebook_from_the_command_line(project: Path, tmp_path: Path) -> None:
    assert pack_call(project, "--out", tmp_path / "best.ipynb", "--notebook")[0] == 0
    titles = [cell["source"][0] for cell in json.loads((tmp_path / "best.ipynb").read_text())["cells"]]
    assert [title.strip() for title in titles if title.startswith("#")] == [
        "# best", "## About this script", "## imports", "## SPEC and KEYS",
        "## PACKED_LINES, where each line came from", "## packer/bootstrap/tracebacks.py, added by the packer",
        "## src/toy/a.py",
        "## kernels/go.py", "## the start", "## Run",
    ]


def test_the_same_bytes_everywhere(project: Path, tmp_path: Path) -> None:
    """Processes with other hash seeds, working folders, locales and project folders, files written in other order."""
    other = tmp_path / "elsewhere" / "deep" / "renamed"
    for path in sorted((each for each in project.rglob("*") if each.is_file()), reverse=True):
        target = other / path.relative_to(project)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    texts = []
    for number, (root, locale) in enumerate([(project, "C"), (other, "C.UTF-8"), (project, "tr_TR.UTF-8")]):
        out = tmp_path / f"out{number}.py"
        folder = root if number else tmp_path
        src = "src" if number else root / "src"
        entry = "kernels/go.py" if number else root / "kernels/go.py"
        code = f"from packer.build.pack import pack_entry; from pathlib import Path; Path({str(out)!r}).write_text("
        code += f"pack_entry(Path({str(entry)!r}), Path({str(src)!r}), 'toy', spec={{'x': 1}}, command='make').text)"
        environment = {**os.environ, "PYTHONHASHSEED": str(number), "LC_ALL": locale, "PYTHONPATH": ""}
        subprocess.run([sys.executable, "-c", code], cwd=folder, env=environment, check=True, timeout=60)
        texts.append(out.read_bytes())
    assert texts[0] == texts[1] == texts[2]


@pytest.mark.parametrize("version", ["3.10", "3.11", "3.12", "3.13"])
def test_scripts_run_on_every_python(version: str, tmp_path: Path) -> None:
    beside = sorted(Path(sys.base_prefix).parent.glob(f"{version}.*/bin/python"))  # where pyenv keeps them
    python = str(beside[-1]) if beside else shutil.which(f"python{version}")
    if not python or subprocess.run([python, "-V"], check=False, capture_output=True).returncode:
        pytest.skip(f"no Python {version} here")
    for case, out in {"fork_workers": "[Task(number=0), Task(num", "match_statement": "circle 2\nsquare 3"}.items():
        project = write_project(Path(shutil.copytree(CASES / case, tmp_path / case)), {})
        (tmp_path / "script.py").write_text(pack_project(project).text)
        ran = run_script(tmp_path / "script.py", tmp_path / "empty", python=python)
        assert (ran.code, ran.out[: len(out)]) == (0, out), ran.err
    fail = pack_project(write_project(tmp_path / "fail", {"kernels/go.py": FAILING, "src/toy/__init__.py": ""}))
    (tmp_path / "script.py").write_text(fail.text)
    assert "in main  (kernels/go.py:5)\n" in run_script(tmp_path / "script.py", tmp_path / "empty", python=python).err


def test_check_project_takes_all_entries_together(project: Path) -> None:
    write_project(project, {
        "src/toy/b.py": "from __future__ import annotations\n\nimport os\n\nLIMIT = 4\nprint(os)\n",
        "kernels/other.py": "from __future__ import annotations\n\nfrom toy.b import LIMIT\n\n\n"
        "def main() -> int:\n    return LIMIT\n",
    })
    found = check_project(project / "src", "toy", [project / "kernels/go.py", project / "kernels/other.py"])
    assert [str(each) for each in found] == [
        "src/toy/b.py:5: rule 3: 'LIMIT' is already defined in src/toy/a.py:7; "
        "rename one of them: all modules share one script",
        "src/toy/b.py:6: rule 4: a call of print in the module body; do it in a function that main calls",
        "src/toy/b.py:6: rule 4: print at import; do it in a function that main calls",
    ]
    assert check_project(project / "src", "toy", [project / "kernels/go.py"]) == []


def test_the_image_list_knows_its_packages() -> None:
    image = kaggle_image()
    assert image.date == "2026-05-14" and len(image.versions) > 800
    for root in ("cv2", "PIL", "yaml", "sklearn", "torch", "torchvision", "timm", "lightgbm", "xgboost", "safetensors"):
        assert image.distribution(root) in image.versions
    assert image.distribution("cv2") == "opencv-python-headless" and image.distribution("iterstrat") is None
    assert set(image.imports.values()) <= set(image.versions)
    assert is_stdlib("tomllib") and not is_stdlib("yaml") and normal_name("A_.b--C") == "a-b-c"


def test_the_report_names_the_packages(project: Path) -> None:
    assert list(pack_project(project, {"x": 1}).report.packages) == ["numpy"]


def test_the_commit_is_named_only_when_clean(project: Path) -> None:
    assert source_commit(project, [project / "src"]) == ""
    git = ["git", "-C", str(project), "-c", "user.name=a", "-c", "user.email=a@b"]
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "one"]):
        subprocess.run([*git, *arguments], check=True)
    commit = source_commit(project, [project / "src", project / "kernels"])
    assert len(commit) == 40
    (project / "other.txt").write_text("beside the sources")
    assert source_commit(project, [project / "src"]) == commit
    (project / "src/toy/new.py").write_text("")
    assert source_commit(project, [project / "src"]) == ""


def test_verify_takes_vendor_and_commit_from_the_header(project: Path) -> None:
    text = pack_project(project, {"x": 1}).text
    assert verify_script(text, project / "src").identical
    assert not verify_script(text.replace("print(used", "print(1, used"), project / "src").identical


@pytest.mark.skipif(sys.version_info < (3, 12), reason="older Pythons refuse these by themselves")
@pytest.mark.parametrize(
    ("line", "refused"),
    [
        ("X = f\"{'a'}\"", False), ("X = 'a' f\"{D['k']}\"", False), ("X = f'{D['k']}'", True),
        ("X = f\"{'\\n'}\"", True),
        ('X = f"""{D["k"]} {\n1}"""', False), ('X = f"{1 # c\n}"', True), ('X = f"{\n1}"', True),
        ("X = f\"{f'{f\"{1}\"}'}\"", True), ("X = f\"{1!r:{'4'}}\"", False),
    ],
)
def test_f_strings_of_newer_grammar_are_refused(line: str, refused: bool, project: Path) -> None:
    (project / "src/toy/a.py").write_text(A.replace("LIMIT = 3", f"D = {{'k': 1}}\n{line}\nLIMIT = 3"))
    if refused:
        with pytest.raises(PackError, match="rule 0: f-string that needs Python 3.12; use a variable"):
            pack_project(project, {"x": 1})
    else:
        assert pack_project(project, {"x": 1}).report.size
