"""Tracebacks of packed scripts: every frame names its source, everywhere, and keys never show."""

from __future__ import annotations

import base64
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packing import Ran, pack_project, run_script, write_project

from foldpack.sealed.container import new_data_key
from packer.bootstrap.tracebacks import PACKED_HIDDEN, PackedTracebacks
from packer.build.pack import inject_keys
from packer.build.where import where
from packer.errors import PackError

KEY = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeefe"
TRAPS = '''"""Ways to fail."""

from __future__ import annotations

import logging
import multiprocessing
import threading
import traceback
from concurrent.futures import ProcessPoolExecutor


def fail(text: str) -> None:
    # The line below is line 14 of its source.
    raise ValueError(text)


def in_thread(text: str) -> None:
    thread = threading.Thread(target=fail, args=(text,))
    thread.start()
    thread.join()


def in_process(method: str, text: str) -> None:
    process = multiprocessing.get_context(method).Process(target=fail, args=(text,))
    process.start()
    process.join()


def in_pool(method: str, text: str) -> None:
    with multiprocessing.get_context(method).Pool(1) as pool:
        pool.apply(fail, (text,))


def in_executor(method: str, text: str) -> None:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context(method)) as executor:
        executor.submit(fail, text).result()


def logged(text: str) -> None:
    try:
        fail(text)
    except ValueError:
        logging.getLogger("trap").exception("went wrong")
        print(traceback.format_exc())


def grouped(text: str) -> None:
    try:
        fail(text)
    except ValueError as error:
        raise KeyError(text) from error


class Unraisable:
    def __init__(self, text: str) -> None:
        self.text = text

    def __del__(self) -> None:
        fail(self.text)


def dropped(text: str) -> None:
    trap = Unraisable(text)
    del trap
'''
ENTRY = '''"""Fail as the spec says."""

from __future__ import annotations

from toy.traps import dropped, fail, grouped, in_executor, in_pool, in_process, in_thread, logged

WAYS = {
    "plain": fail, "thread": in_thread, "logged": logged, "grouped": grouped, "dropped": dropped,
    "process": in_process, "pool": in_pool, "executor": in_executor,
}


def main(spec: dict, keys: dict[str, str]) -> int:
    key = keys["fold0"]
    raw = bytes.fromhex(key)
    shown = [key, raw, raw.hex("-"), key[:20], repr(raw[3:25]), __import_base64(raw), {"keys": keys}]
    text = " | ".join(str(each) for each in shown)
    WAYS[spec["way"]](*spec["arguments"], text)
    return 0


def __import_base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode() + base64.urlsafe_b64encode(raw[4:15]).decode()
'''.replace("from toy.traps", "import base64\n\nfrom toy.traps").replace("__import_base64", "in_base64")
RAW = bytes.fromhex(KEY)
SECRETS = [KEY[:8], KEY[20:32], KEY[-8:], RAW.hex("-")[:12], repr(RAW)[4:20], base64.b64encode(RAW).decode()[:8]]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_project(tmp_path_factory.mktemp("traps"), {"src/toy/traps.py": TRAPS, "kernels/go.py": ENTRY})


def fail_in(project: Path, folder: Path, way: str, *arguments: str) -> Ran:
    text = pack_project(project, {"way": way, "arguments": list(arguments)}).text
    script = folder / "script.py"
    script.write_text(inject_keys(text, {"fold0": KEY}))
    return run_script(script, folder / "empty")


@pytest.mark.parametrize(
    ("way", "code"),
    [
        (("plain",), 1), (("thread",), 0), (("logged",), 0), (("grouped",), 1), (("dropped",), 0),
        (("process", "spawn"), 0), (("pool", "spawn"), 1), (("executor", "spawn"), 1),
        (("process", "fork"), 0), (("pool", "fork"), 1), (("executor", "fork"), 1),
    ],
)
def test_frames_name_their_source_and_hide_keys(way: tuple[str, ...], code: int, project: Path, tmp_path: Path) -> None:
    ran = fail_in(project, tmp_path, *way)
    said = ran.out + ran.err
    assert ran.code == code, said
    assert "in fail  (src/toy/traps.py:14)" in said
    assert PACKED_HIDDEN in said
    for secret in SECRETS:
        assert secret not in said, (secret, said)


def test_where_says_the_same_offline(project: Path, tmp_path: Path) -> None:
    text = pack_project(project, {"way": "plain", "arguments": []}).text
    lines = text.split("\n")
    line = lines.index("    raise ValueError(text)") + 1
    assert where(text, line) == "src/toy/traps.py:14"
    assert where(text, lines.index('"""Fail as the spec says."""') + 1) == "kernels/go.py:1"
    with pytest.raises(PackError, match="line 1 is the packer's own: it came from no source file"):
        where(text, 1)
    with pytest.raises(PackError, match="line 99999: the script has lines 1 to"):
        where(text, 99999)
    with pytest.raises(PackError, match="not a packed script"):
        where("x = 1\n", 1)


def test_every_kept_line_is_mapped_to_its_equal(project: Path) -> None:
    text = pack_project(project, {"way": "plain", "arguments": []}).text
    sources = {"src/toy/traps.py": TRAPS.split("\n"), "kernels/go.py": ENTRY.split("\n")}
    mapped = 0
    for number, line in list(enumerate(text.split("\n")[:-1], 1))[::4]:
        try:
            path, _, there = where(text, number).rpartition(":")
        except PackError:
            continue
        assert sources[path][int(there) - 1] == line
        mapped += 1
    assert mapped > 15


KEYS = st.text(min_size=1, max_size=60) | st.binary(min_size=8, max_size=40).map(bytes.hex)


@settings(max_examples=200, deadline=None)
@given(KEYS, st.text(max_size=30), st.text(max_size=30))
def test_a_key_never_survives_in_any_form(key: str, before: str, after: str) -> None:
    told = PackedTracebacks("script.py", {}, {"a": key})
    for form in (key, repr(key), key.encode("utf-8", "surrogatepass").hex()):
        hidden = told.hide_keys(before + form + after)
        assert key not in hidden.replace(PACKED_HIDDEN, "\x00") or key in "\x00"


def test_a_data_key_is_hidden_in_every_usual_encoding() -> None:
    key = new_data_key()
    raw = bytes(key)
    shown = [raw.hex(), raw.hex().upper(), base64.b64encode(raw).decode(), base64.urlsafe_b64encode(raw).decode(),
             base64.b64encode(raw).decode().rstrip("="), repr(raw), repr(raw)[2:-1]]
    told = PackedTracebacks("script.py", {}, {"fold0": raw.hex()})
    text = told.hide_keys("\n".join(f"before {word} after" for word in shown))
    assert text.count("before ") == text.count(" after") == len(shown) <= text.count(PACKED_HIDDEN)
    pieces = [word[at : at + 8] for word in shown for at in range(len(word) - 7)]
    assert not [piece for piece in pieces if piece in text]


def test_text_without_a_key_stays_as_it_is() -> None:
    told = PackedTracebacks("script.py", {"src/a.py": [(3, 1, 2)]}, {"a": KEY})
    text = 'Traceback (most recent call last):\n  File "script.py", line 4, in f\n    x\n  File "b.py", line 4, in g\n'
    assert told.hide_keys(text) == text
    assert told.add_sources(text) == text.replace("in f\n", "in f  (src/a.py:2)\n")


def test_a_key_is_not_in_the_process_list(project: Path, tmp_path: Path) -> None:
    text = pack_project(project, {"way": "plain", "arguments": []}).text
    script = tmp_path / "script.py"
    script.write_text(inject_keys(text, {"fold0": KEY}))
    shown = subprocess.run([sys.executable, "-I", "-X", "faulthandler", str(script)], capture_output=True, text=True)
    assert KEY[:8] not in shown.stdout + shown.stderr and "[key]" in shown.stderr
