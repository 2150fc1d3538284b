"""A known key, hundreds of injected failures, and a search: the key must appear in no channel, in no encoding.

Exceptions are raised at single lines of the code that handles keys. Signals hit a process of its own.
"""

from __future__ import annotations

import base64
import io
import logging
import random
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from foldpack.keyring import store as sealed_store
from foldpack.keyring.keyring import Keyring
from foldpack.sealed.container import read_sealed, seal_file, verify_sealed
from foldpack.sealed.format import DataKey
from foldpack.sealed.keys import keys_from_text, keys_to_text, read_keys_file, write_keys_file

CANARY = DataKey(bytes.fromhex("c0a1da7ea5ec4e7ba5eba11decade5ca1ab1e0ddba11c0de5eedfacecafebabe"))
ROLE = "run/fold0"
# Of these, only the frames that handle keys as DataKey are searched with their local variables as well: the others hold
# the key's text for a moment, as they turn it into a file or back.
READER = ("sealed/container.py", "sealed/format.py", "sealed/disk.py", "keyring/store.py")


def encodings(key: bytes) -> list[bytes]:
    """How a key might be written by accident: each half of each text, so that a cut-off one is found too."""
    raw = bytes(key)
    texts = [raw.hex(), raw.hex().upper(), raw.hex(" "), raw.hex(":"), repr(raw)[2:-1], repr(list(raw))[1:-1],
             str(int.from_bytes(raw, "big")), str(int.from_bytes(raw, "little")),
             "".join(f"%{byte:02x}" for byte in raw), "".join(f"\\x{byte:02x}" for byte in raw),
             base64.b32encode(raw).decode(),
             base64.b85encode(raw).decode(), base64.a85encode(raw).decode()]
    for start in range(3):  # base64 looks different at each of the three alignments
        texts.append(base64.b64encode(raw[start:])[:-4].decode())
        texts.append(base64.urlsafe_b64encode(raw[start:])[:-4].decode())
    halves = [text[: len(text) // 2] for text in texts] + [text[len(text) // 2 :] for text in texts]
    return [raw, raw[:16], raw[16:], raw[::-1], *(text.encode() for text in halves)]


NEEDLES = encodings(CANARY)


def assert_clean(haystack: bytes, where: str) -> None:
    found = [needle for needle in NEEDLES if needle in haystack]
    assert not found, f"the key is in {where}"


def test_the_search_finds_what_it_looks_for() -> None:
    for text in (CANARY.hex(), repr(bytes(CANARY)), base64.b64encode(b"x" + CANARY).decode(), str(list(CANARY))):
        with pytest.raises(AssertionError, match="the key is in here"):
            assert_clean(f"some {text} text".encode(), "here")


# ---- what is done while failures are injected ----


def work(folder: Path) -> None:
    """Everything that touches a key: seal, keep, rotate, protect, open, verify, write and read for the kernel."""
    keyring, target = folder / "keyring", folder / "a.sealed"
    _, info = sealed_store.seal_with_keyring(folder / "plain", target, ROLE, keyring=keyring)
    with Keyring.editing(keyring) as ring:
        ring.rotate_master()
        ring.set_passphrase("canary passphrase", log2_n=2)
    ring = Keyring.load(keyring, lambda: "canary passphrase")
    sealed_store.open_with_keyring(target, folder / "opened", ring)
    sealed_store.verify_with_keyring(target, ring)
    key = ring.data_key(info.file_id)
    write_keys_file(folder / "secret" / "keys.json", {info.file_id: key})
    read_keys_file(folder / "secret" / "keys.json")
    keys_from_text(keys_to_text({info.file_id: key}), "here")
    with read_sealed(target, key, ROLE, info.header_sha256) as plaintext:
        plaintext.to_bytes()
    logging.getLogger("foldpack").warning("%s %r %s %s", key, key, ring, info)


def injected_at(number: int, error: BaseException, act: Callable[[], None]) -> tuple[int, Any]:
    """Run `act` and raise `error` at the `number`-th line of foldpack's key code -> lines run, the exception if any."""
    lines = 0

    def at_line(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal lines
        if event == "line":
            lines += 1
            if lines == number:
                raise error
        return at_line

    def at_call(frame: FrameType, event: str, argument: Any) -> Any:
        name = frame.f_code.co_filename
        ours = "foldpack/sealed/" in name or "foldpack/keyring/" in name
        return at_line(frame, event, argument) if ours else None

    sys.settrace(at_call)
    try:
        act()
    except BaseException as failure:
        return lines, failure
    finally:
        sys.settrace(None)
    return lines, None


def everything_said(failure: BaseException) -> str:
    """The exception in all the ways it may get printed, with local variables where the reader is concerned."""
    parts = traceback.format_exception(failure)
    link: BaseException | None = failure
    while link:
        parts += [str(link), repr(link), repr(link.args), repr(vars(link))]
        for frame, _ in traceback.walk_tb(link.__traceback__):
            if frame.f_code.co_filename.endswith(READER):
                parts.append(repr(frame.f_locals))
        link = link.__context__
    return "\n".join(parts)


ERRORS: list[tuple[type[BaseException], tuple[Any, ...]]] = [
    (RuntimeError, ("injected",)), (MemoryError, ()), (OSError, (5, "injected")), (KeyboardInterrupt, ()),
    (ValueError, ("x",)), (SystemExit, (3,)), (UnicodeDecodeError, ("utf-8", b"x", 0, 1, "injected")),
    (AssertionError, ()),
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sealed_store, "new_data_key", lambda: CANARY)
    (tmp_path / "plain").write_bytes(bytes(3000))
    return tmp_path


def run_injections(folder: Path, count: int) -> int:
    """Inject `count` failures, each at another moment -> how many were raised out of the work."""
    (folder / "keyring").unlink(missing_ok=True)
    total, failure = injected_at(0, RuntimeError(), lambda: work(folder))
    assert failure is None and total > 300
    moments = [1 + number * total // count for number in range(count)]
    surfaced = 0
    for number, moment in enumerate(moments):
        (folder / "keyring").unlink(missing_ok=True)
        said = io.StringIO()
        logging.getLogger("foldpack").addHandler(handler := logging.StreamHandler(said))
        with redirect_stdout(said), redirect_stderr(said):
            kind, arguments = ERRORS[number % len(ERRORS)]
            _, failure = injected_at(moment, kind(*arguments), lambda: work(folder))
        logging.getLogger("foldpack").removeHandler(handler)
        if failure is not None:
            surfaced += 1
            said.write(everything_said(failure))
            traceback.clear_frames(failure.__traceback__)  # one of them may hold the keyring's lock
        assert_clean(said.getvalue().encode("utf-8", "backslashreplace"), f"what was said after line {moment}")
        for path in folder.iterdir():
            if path.is_file():
                assert_clean(path.read_bytes(), path.name)
    return surfaced


def test_500_injected_exceptions(folder: Path) -> None:
    surfaced = run_injections(folder, 500)
    assert surfaced > 350  # the others hit a line whose errors are handled, or one run less often


@pytest.mark.slow
def test_5000_injected_exceptions(folder: Path) -> None:
    assert run_injections(folder, 5000) > 3500


def test_no_refusal_shows_a_key(folder: Path) -> None:
    """The named errors of the reader, when the key is right, wrong, too short or too long."""
    seal_file(folder / "plain", folder / "a.sealed", CANARY, ROLE)
    data = (folder / "a.sealed").read_bytes()
    for keys in (CANARY, CANARY[:-1], CANARY + b"x", bytes(32)):
        for changed in (data, data[:-1], data + b"x", data[:90] + b"xx" + data[92:], data[:-1] + b"x", data[:50], b""):
            (folder / "b.sealed").write_bytes(changed)
            for role in (ROLE, "other"):
                try:
                    verify_sealed(folder / "b.sealed", DataKey(keys), role, "0" * 64)
                except Exception as failure:
                    assert_clean(everything_said(failure).encode(), "a refusal")


# ---- signals ----

CHILD = """
import faulthandler, resource, sys
from pathlib import Path
sys.path[:0] = sys.argv[2:]
import test_sealed_canary as canary
faulthandler.enable()
faulthandler.register(canary.signal.SIGUSR1)
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
for ignored in (canary.signal.SIGHUP, canary.signal.SIGQUIT):  # by nohup, or by a shell's job in the background
    canary.signal.signal(ignored, canary.signal.SIG_DFL)
canary.signal.signal(canary.signal.SIGINT, canary.signal.default_int_handler)
canary.sealed_store.new_data_key = lambda: canary.CANARY
print("ready", flush=True)
while True:
    (Path(sys.argv[1]) / "keyring").unlink(missing_ok=True)  # left by the last signal, under a passphrase
    canary.work(Path(sys.argv[1]))
"""

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGABRT, signal.SIGQUIT, signal.SIGSEGV, signal.SIGUSR1, signal.SIGHUP,
           signal.SIGBUS, signal.SIGALRM, signal.SIGKILL]


def signal_once(folder: Path, number: int, delay: float) -> None:
    """Hit a working process, then search all it said, its arguments, its environment and the files it left."""
    command = [sys.executable, "-c", CHILD, str(folder), str(Path(__file__).parent)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=folder)
    assert child.stdout is not None and child.stdout.readline() == b"ready\n"
    time.sleep(delay)
    process = Path("/proc") / str(child.pid)
    shown = [(process / name).read_bytes() for name in ("cmdline", "environ", "comm", "status", "maps")]
    child.send_signal(number)
    if number == signal.SIGUSR1:  # prints the stacks and goes on
        time.sleep(0.05)
        child.kill()
    out, err = child.communicate(timeout=30)
    assert child.returncode != 0
    assert_clean(b"\n".join([*shown, out, err]), f"what was said after signal {number}")
    for path in folder.rglob("*"):
        if path.is_file() and path.parent.name != "secret":  # the keys file of the private dataset holds it on purpose
            assert_clean(path.read_bytes(), path.name)


def test_signals(folder: Path) -> None:
    rng = random.Random(1)
    for number in SIGNALS:
        signal_once(folder, number, rng.uniform(0, 0.1))


@pytest.mark.slow
def test_100_signals(folder: Path) -> None:
    rng = random.Random(2)
    for count in range(100):
        signal_once(folder, SIGNALS[count % len(SIGNALS)], rng.uniform(0, 0.2))
