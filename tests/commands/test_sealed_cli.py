"""The commands about sealed weights, run in one process through `run_app` as the `foldpack` command runs them."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import typer
from safetensors.torch import load_file, save_file

from foldpack.commands.packed import verify
from foldpack.commands.run_app import run_app
from foldpack.commands.seal import register
from foldpack.keyring.keyring import Keyring
from foldpack.sealed.keys import read_keys_file

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def foldpack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    """Runs `foldpack ARGUMENTS` in an empty folder -> exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    app = typer.Typer()
    register(app)
    app.command()(verify)

    def run(*arguments: str) -> tuple[int, str, str]:
        capfd.readouterr()
        code = run_app(app, list(arguments))
        said = capfd.readouterr()
        return code, said.out, said.err

    return run


@pytest.fixture
def weights(tmp_path: Path) -> dict[str, bytes]:
    """`weights/run/fold0.safetensors`, `fold1.safetensors` and a booster -> their bytes by path."""
    folder = tmp_path / "weights" / "run"
    folder.mkdir(parents=True)
    for fold in range(2):
        save_file({"w": torch.randn(300, 300)}, folder / f"fold{fold}.safetensors")
    (folder / "level2.txt").write_text("tree\nversion=v4\n")
    return {path.relative_to(tmp_path / "weights").as_posix(): path.read_bytes() for path in folder.iterdir()}


def passphrase_file(path: Path, text: str = "correct horse\n", mode: int = 0o600) -> str:
    path.write_text(text)
    path.chmod(mode)
    return str(path)


def test_one_file_there_and_back(foldpack: Command, weights: dict[str, bytes], tmp_path: Path) -> None:
    code, out, err = foldpack("seal", "weights/run/fold0.safetensors", "--out", "a.sealed", "--role", "run/fold0")
    assert (code, err) == (0, "")
    assert out.startswith("weights/run/fold0.safetensors -> a.sealed  role run/fold0  header ")
    entry = Keyring.load().entries()[0]
    assert entry.label == "run/fold0" and entry.header_sha256 in out
    assert foldpack("open", "a.sealed", "--out", "b.safetensors")[0] == 0
    assert Path("b.safetensors").read_bytes() == weights["run/fold0.safetensors"]
    assert stat.S_IMODE(os.stat("b.safetensors").st_mode) == 0o600


def test_a_folder_there_and_back(foldpack: Command, weights: dict[str, bytes], tmp_path: Path) -> None:
    assert foldpack("seal", "weights", "--out", "sealed")[0] == 0
    names = os.listdir("sealed")
    assert len(names) == 3 and all(len(name) == 32 + len(".sealed") for name in names)
    code, out, _ = foldpack("verify", "sealed")
    assert code == 0 and out.count("ok  ") == 3
    assert foldpack("open", "sealed", "--out", "opened")[0] == 0
    opened = {path.relative_to("opened").as_posix(): path.read_bytes() for path in Path("opened").rglob("*.*")}
    assert opened == weights


def test_inspect_needs_no_key(foldpack: Command, weights: dict[str, bytes], tmp_path: Path) -> None:
    foldpack("seal", "weights/run/fold0.safetensors", "--out", "a.sealed")
    entry = Keyring.load().entries()[0]
    os.remove(tmp_path / "config" / "foldpack" / "keyring")
    code, out, _ = foldpack("inspect", "a.sealed")
    assert code == 0
    assert all(part in out for part in (entry.file_id, entry.key_id, entry.header_sha256, "360,080 bytes", "1,048,576"))


def test_a_refusal_is_one_line_and_leaves_no_output(foldpack: Command, weights: dict[str, bytes]) -> None:
    foldpack("seal", "weights/run/fold0.safetensors", "--out", "a.sealed")
    data = bytearray(Path("a.sealed").read_bytes())
    data[-1] ^= 1
    Path("a.sealed").write_bytes(data)
    for arguments in (("open", "a.sealed", "--out", "b"), ("verify", "a.sealed")):
        code, out, err = foldpack(*arguments)
        assert (code, out) == (2, "")
        assert err == "error: a.sealed: chunk 0 is damaged or was replaced; copy or download it again\n"
    assert not Path("b").exists()


def test_verify_of_a_folder_goes_on_after_a_refusal(foldpack: Command, weights: dict[str, bytes]) -> None:
    foldpack("seal", "weights", "--out", "sealed")
    Path(sorted(Path("sealed").iterdir())[0]).write_bytes(b"")
    code, out, err = foldpack("verify", "sealed")
    assert code == 2 and out.count("ok  ") == 2 and out.count("refused  ") == 1
    assert "sealed: 1 of 3 sealed files were refused; see the lines above" in err


def test_an_older_version_is_refused_by_its_pin(foldpack: Command, weights: dict[str, bytes]) -> None:
    """The keyring knows the header of what was sealed: a file under the same key with another header does not pass."""
    foldpack("seal", "weights/run/fold0.safetensors", "--out", "a.sealed")
    with Keyring.editing() as ring:
        entry = ring.entries()[0]
        ring.add(entry.file_id, ring.data_key(entry.file_id), entry.label, "0" * 64)
    code, _, err = foldpack("verify", "a.sealed")
    assert code == 2 and "another version than the pinned one" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["seal", "weights", "--out", "s", "--role", "x"], "--role 'x' names one file, but weights is a folder"),
        (["seal", "none.safetensors", "--out", "s"], "none.safetensors: cannot be opened (No such file"),
        (["seal", "empty", "--out", "s"], "empty: nothing to seal; want files that end in .safetensors, "),
        (["seal", "weights/run/fold0.safetensors", "--out", "a.bin"], "a.bin: a sealed file ends in .sealed; name"),
        (["inspect", "empty"], "empty: no file that ends in .sealed; seal some with `foldpack seal`"),
        (["open", "weights/run/fold0.safetensors", "--out", "x"], "fold0.safetensors: not a sealed file"),
        (["convert", "weights/run/fold0.safetensors", "--out", "x"], "is safetensors already; give --fp16"),
        (["keys", "import", "none"], "none: no such file; make one with `foldpack keys export`"),
        (["keys", "export", "--out", "x"], "keyring: no key for anything; see `foldpack keys list`"),
        (["keys", "export", "--out", "weights"], "weights: exists already, and may hold the only copy"),
        (["keys", "list", "--passphrase-file", "x", "--keyring", "locked"], "x: cannot read the passphrase (File"),
        (["keys", "list", "--keyring", "locked"], "a passphrase is needed, and there is no terminal to ask; give"),
    ],
)
def test_refusals(foldpack: Command, weights: dict[str, bytes], arguments: list[str], message: str) -> None:
    Path("empty").mkdir()
    with Keyring.editing(Path("locked")) as ring:
        ring.set_passphrase("x", log2_n=4)
    before = sorted(os.listdir("."))
    code, out, err = foldpack(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("error: ") and message in err and err.count("\n") == 1
    assert sorted(set(os.listdir(".")) - {"config"}) == before


def test_a_role_may_not_lead_out_of_the_folder(foldpack: Command, weights: dict[str, bytes]) -> None:
    for number, role in enumerate(("../outside", "/tmp/outside")):
        foldpack("seal", "weights/run/fold0.safetensors", "--out", f"s{number}", "--role", role)
        code, _, err = foldpack("open", f"s{number}", "--out", "opened")
        assert code == 2 and "would lead out of opened; open this file by itself" in err
    assert not Path("opened").exists()


def test_rotation_uploads_nothing(foldpack: Command, weights: dict[str, bytes]) -> None:
    foldpack("seal", "weights", "--out", "sealed")
    before = {path: path.read_bytes() for path in Path("sealed").iterdir()}
    code, out, _ = foldpack("keys", "rotate")
    assert code == 0 and "new master key, 3 data keys wrapped anew, 0 bytes to upload" in out
    assert {path: path.read_bytes() for path in Path("sealed").iterdir()} == before
    assert foldpack("verify", "sealed")[0] == 0


def test_keys_list_shows_ids_and_no_key(foldpack: Command, weights: dict[str, bytes]) -> None:
    foldpack("seal", "weights", "--out", "sealed")
    code, out, _ = foldpack("keys", "list")
    ring = Keyring.load()
    assert code == 0 and out.splitlines()[0].endswith("3 keys, protected by file mode only")
    for entry in ring.entries():
        assert entry.key_id in out and entry.label in out
        assert bytes(ring.data_key(entry.file_id)).hex() not in out


def test_passphrase_set_used_and_taken_away(foldpack: Command, weights: dict[str, bytes], tmp_path: Path) -> None:
    secret = passphrase_file(tmp_path / "secret")
    foldpack("seal", "weights/run/fold0.safetensors", "--out", "a.sealed")
    assert "protected by passphrase" in foldpack("keys", "passphrase", "--new-passphrase-file", secret)[1]
    code, _, err = foldpack("verify", "a.sealed")
    assert code == 2 and "give --passphrase-file" in err
    assert foldpack("verify", "a.sealed", "--passphrase-file", secret)[0] == 0
    wrong = passphrase_file(tmp_path / "wrong", "wrong")
    code, _, err = foldpack("seal", "weights/run/fold1.safetensors", "--out", "b.sealed", "--passphrase-file", wrong)
    assert code == 2 and "does not open this keyring" in err and not Path("b.sealed").exists()
    out = foldpack("keys", "passphrase", "--passphrase-file", secret, "--no-passphrase")[1]
    assert "protected by file mode only" in out
    assert foldpack("verify", "a.sealed")[0] == 0


@pytest.mark.parametrize(
    ("text", "mode", "message"),
    [
        ("x", 0o644, "others may read the passphrase (mode 0644); run `chmod 600"),
        ("\nx", 0o600, "the first line is empty; write the passphrase there"),
    ],
)
def test_a_bad_passphrase_file(foldpack: Command, tmp_path: Path, text: str, mode: int, message: str) -> None:
    secret = passphrase_file(tmp_path / "secret", text, mode)
    code, _, err = foldpack("keys", "passphrase", "--new-passphrase-file", secret)
    assert code == 2 and message in err


def test_export_and_import(foldpack: Command, weights: dict[str, bytes], tmp_path: Path) -> None:
    secret = passphrase_file(tmp_path / "secret")
    foldpack("seal", "weights", "--out", "sealed")
    code, out, _ = foldpack("keys", "export", "--out", "trip", "run/fold0", "--new-passphrase-file", secret)
    assert code == 0 and "trip: 1 keys, protected by passphrase" in out
    assert foldpack("keys", "export", "--out", "trip", "--no-passphrase")[0] == 2  # never overwritten
    code, out, _ = foldpack("keys", "import", "trip", "--source-passphrase-file", secret, "--keyring", "there")
    assert code == 0 and "there: 1 new keys, 1 in all" in out
    assert [entry.label for entry in Keyring.load(Path("there")).entries()] == ["run/fold0"]
    code, _, err = foldpack("keys", "export", "--out", "no", "run/fold7")
    assert code == 2 and "no key for run/fold7; see `foldpack keys list`" in err


def test_export_for_the_kernel(foldpack: Command, weights: dict[str, bytes]) -> None:
    foldpack("seal", "weights", "--out", "sealed")
    code, out, _ = foldpack("keys", "export", "--out", "keys.json", "--kernel")
    assert code == 0 and "PRIVATE dataset only" in out
    ring = Keyring.load()
    expected = {entry.file_id: ring.data_key(entry.file_id) for entry in ring.entries()}
    assert read_keys_file(Path("keys.json")) == expected
    assert stat.S_IMODE(os.stat("keys.json").st_mode) == 0o600


def test_convert(foldpack: Command, tmp_path: Path) -> None:
    torch.save({"epoch": 3, "state_dict": {"w": torch.tensor([1.0, 2.5])}}, "a.pth")
    code, out, _ = foldpack("convert", "a.pth", "--out", "a.safetensors")
    assert code == 0 and "a.pth -> a.safetensors  1 tensor of state_dict\nleft out: epoch (int)\n" in out
    assert load_file("a.safetensors")["w"].tolist() == [1.0, 2.5]
    code, out, _ = foldpack("convert", "a.safetensors", "--fp16", "--out", "b.safetensors")
    assert code == 0 and "1 tensors rounded, largest error 0 " in out
    assert load_file("b.safetensors")["w"].dtype == torch.float16


def test_convert_asks_which_weights(foldpack: Command, tmp_path: Path) -> None:
    weights = {"module.w": torch.ones(2, 2)}
    torch.save({"model": weights, "ema": {name: 2 * value for name, value in weights.items()}, "args": "x"}, "a.pth")
    code, out, err = foldpack("convert", "a.pth", "--out", "a.safetensors")
    assert (code, out) == (2, "") and err.count("\n") == 1 and not Path("a.safetensors").exists()
    assert "a.pth: holds 2 sets of weights: model (1 tensor), ema (1 tensor); take one with --key NAME" in err
    code, out, _ = foldpack("convert", "a.pth", "--key", "ema", "--out", "a.safetensors")
    assert code == 0 and out == ("a.pth -> a.safetensors  1 tensor of ema\ntaken off every name: module.\n"
                                 "left out: model (1 tensor), args (str)\n")
    assert load_file("a.safetensors")["w"].unique().tolist() == [2]
    code, _, err = foldpack("convert", "a.safetensors", "--fp16", "--key", "ema", "--out", "b.safetensors")
    assert code == 2 and "--key ema names a set of weights in a .pth file; a.safetensors holds one, so" in err
