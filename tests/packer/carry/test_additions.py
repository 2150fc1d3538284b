"""Carried packages and wheels are unpacked before the imports; both are refused where they cannot work."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pytest
from packing import pack_project, run_script, write_project

from packer.build.pack import WheelSet, pack_entry
from packer.build.where import verify_script
from packer.errors import PackError

ENTRY = '''"""Use a package that the image lacks."""

from __future__ import annotations

import importlib.metadata
import importlib.resources
import multiprocessing

import outsider
from outsider.inner import double
from outsider.space.late import LATE


def main() -> int:
    print(double(21), LATE, importlib.metadata.version("outsider"), outsider.__file__.endswith("outsider/__init__.py"))
    data = importlib.resources.files("outsider") / "data" / "words.txt"
    print(data.read_text(), (importlib.resources.files("outsider") / "data").is_dir())
    with importlib.resources.as_file(data) as path, open(path) as file:
        print(file.read(), (importlib.resources.files(outsider) / "plain.bin").read_bytes())
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print(pool.map(double, [4]))
    try:
        outsider.fail()
    except ZeroDivisionError:
        import traceback

        print(next(line.strip() for line in traceback.format_exc().split("\\n") if "fails" in line))
    return 0
'''
OUTSIDER = {
    "outsider/__init__.py": '"""An outsider."""\n\n\ndef fail():\n    return 1 / 0  # fails here\n',
    "outsider/inner.py": "from . import __doc__ as doc\n\n\ndef double(x):\n    return x * 2 + len(doc) * 0\n",
    "outsider/space/late.py": "LATE = 'late'\n",
    "outsider/data/__init__.py": "",
    "outsider/data/words.txt": "wörter",
    "outsider/plain.bin": "\x00\x01",
    "outsider/__pycache__/x.pyc": "no",
}
METADATA = (
    "Metadata-Version: 2.1\nName: outsider\nVersion: 1.5\nLicense: MIT\n"
    "Requires-Dist: numpy\nRequires-Dist: old; python_version<'3'\n"
)


def install(folder: Path, name: str, files: dict[str, str], metadata: str) -> None:
    """A distribution as pip leaves it."""
    info = f"{name}-1.5.dist-info"
    files = {**files, f"{info}/METADATA": metadata}
    files[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
    for path, text in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "site"
    install(folder, "outsider", OUTSIDER, METADATA)
    monkeypatch.syspath_prepend(str(folder))
    return folder


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return write_project(tmp_path / "project", {"kernels/go.py": ENTRY, "src/toy/__init__.py": ""})


def pack_with(project: Path, **options: object):  # type: ignore[no-untyped-def]
    return pack_entry(project / "kernels/go.py", project / "src", "toy", **options)  # type: ignore[arg-type]


def test_a_carried_package_is_imported_and_leaves_nothing(
    site: Path, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(PackError, match=r"'outsider' is not on the Kaggle image .* add `vendor: \[outsider\]`"):
        pack_project(project)
    text = pack_with(project, vendor=["outsider"]).text
    assert "# Carries        outsider 1.5 (MIT)" in text
    script = tmp_path / "script.py"
    script.write_text(text)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    ran = run_script(script, tmp_path / "empty")
    assert ran.err == ""
    assert ran.out.splitlines() == [
        "42 late 1.5 True", "wörter True", "wörter b'\\x00\\x01'", "[8]",
        "return 1 / 0  # fails here",
    ]
    assert list((tmp_path / "empty").iterdir()) == [] == list((tmp_path / "temporary").iterdir())
    assert text == pack_with(project, vendor=["outsider"]).text
    assert verify_script(text, project / "src").identical


def test_what_cannot_be_carried_is_refused(site: Path, project: Path) -> None:
    compiled = {"fast/__init__.py": "", "fast/core.cpython-312-x86_64-linux-gnu.so": "elf"}
    install(site, "fast", compiled, METADATA.replace("outsider", "fast"))
    install(site, "needy", {"needy.py": ""}, METADATA.replace("outsider", "needy").replace("numpy", "not-there>=2"))
    install(site, "placed", {"__editable__.placed.pth": "/src"}, METADATA.replace("outsider", "placed"))
    for name, message in {
        "absent": "vendor: 'absent' is not installed here; run `pip install absent`, then pack again",
        "fast": "vendor: fast has compiled code (fast/core.cpython-312-x86_64-linux-gnu.so), which a script cannot",
        "needy": "vendor: needy needs not-there, which the Kaggle image lacks; vendor it too",
        "placed": "vendor: placed is installed in place (__editable__.placed.pth)",
    }.items():
        with pytest.raises(PackError) as caught:
            pack_with(project, vendor=[name])
        assert message in str(caught.value)


def test_the_spec_may_ask_for_packages(site: Path, tmp_path: Path) -> None:
    entry = ENTRY.replace("def main() -> int:", "def main(spec: dict, keys: dict[str, str]) -> int:")
    project = write_project(tmp_path / "project", {"kernels/go.py": entry, "src/toy/__init__.py": ""})
    spec: dict[str, object] = {"name": "x", "vendor": ["outsider"]}
    text = pack_with(project, spec=spec).text
    assert "# Carries        outsider 1.5 (MIT)" in text and verify_script(text, project / "src").identical
    wrongs = [({"vendor": "outsider"}, "no list of distribution names"), ({"wheels": "a/b"}, "write `wheels:")]
    for wrong, message in wrongs:
        with pytest.raises(PackError, match=message):
            pack_with(project, spec=wrong)


WHEEL_ENTRY = '''"""Use a package from a wheel."""

from __future__ import annotations

import multiprocessing
import os

from outsider import answer


def main() -> int:
    print(answer(), sorted(os.listdir(".")))
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print(pool.apply(answer))
    return 0
'''


def make_wheel(folder: Path) -> None:
    """A real wheel, written by hand."""
    folder.mkdir(parents=True)
    files = {
        "outsider.py": "def answer():\n    return 42\n",
        "outsider-1.5.dist-info/METADATA": METADATA.replace("numpy", "torch>99"),
        "outsider-1.5.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files["outsider-1.5.dist-info/RECORD"] = "".join(f"{name},,\n" for name in files)
    with zipfile.ZipFile(folder / "outsider-1.5-py3-none-any.whl", "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)


def test_wheels_are_installed_offline_before_the_imports(tmp_path: Path) -> None:
    project = write_project(tmp_path / "project", {"kernels/go.py": WHEEL_ENTRY, "src/toy/__init__.py": ""})
    text = pack_with(project, wheels=WheelSet("me/my-wheels", ("outsider==1.5",))).text
    script = tmp_path / "script.py"
    script.write_text(text)
    make_wheel(tmp_path / "input" / "datasets" / "me" / "my-wheels")
    ran = run_script(script, tmp_path / "empty", "--input", str(tmp_path / "input"))
    assert (ran.out, ran.code) == ("42 []\n42\n", 0), ran.err
    assert verify_script(text, project / "src").identical
    os.remove(tmp_path / "input/datasets/me/my-wheels/outsider-1.5-py3-none-any.whl")
    ran = run_script(script, tmp_path / "empty", "--input", str(tmp_path / "input"))
    assert ran.code == 1
    assert f"no wheel of outsider==1.5 below {tmp_path / 'input'}; attach the dataset me/my-wheels" in ran.err


@pytest.mark.parametrize(
    ("dataset", "packages", "message"),
    [
        ("me/w", ("torch",), "wheels: torch would replace the image's own"),
        ("me/w", ("nvidia-cudnn-cu12==9",), "would replace the image's own"),
        ("me/w", ("a; rm -rf",), "wheels: 'a; rm -rf' is no package"),
        ("me/w", (), "wheels: no packages named"),
        ("just-a-name", ("a",), "wheels: 'just-a-name' is no dataset"),
    ],
)
def test_wheels_that_are_refused(dataset: str, packages: tuple[str, ...], message: str, project: Path) -> None:
    with pytest.raises(PackError) as caught:
        pack_with(project, wheels=WheelSet(dataset, packages))
    assert message in str(caught.value)
