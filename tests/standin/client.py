"""Processes that start quickly: one that has its imports behind it forks a child for each command.

A test calls the real client dozens of times, and each start of Python costs more than the call. Run as a script this
is the process that forks: it reads one JSON object a line (`module` or `code`, `words`, `environment`, `folder`) and
writes one (`pid`, then `returncode`). Each child is a process of its own with its own environment; the `kaggle` package
itself, which reads the environment while it is imported, is imported only there.
"""

from __future__ import annotations

import importlib
import json
import os
import runpy
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType

KAGGLE_IMPORTS = ("requests", "bleach", "kagglesdk", "tqdm", "dateutil", "slugify", "packaging.version")


class Forker:
    """The parent's side: a forking process with these modules imported. Use as a context manager.

    path: folders, separated as in PYTHONPATH, in which it looks for modules first.
    """

    def __init__(self, imports: tuple[str, ...] = KAGGLE_IMPORTS, path: str = "") -> None:
        environment = {**os.environ, "PYTHONPATH": path}
        self.process = subprocess.Popen([sys.executable, "-P", __file__, *imports], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True, env=environment)

    def __enter__(self) -> Forker:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait(timeout=10)

    def start(self, words: list[str], environment: dict[str, str], folder: Path, *, module: str = "", script: str = "",
              code: str = "") -> Running:
        """Fork a child that runs `python -m module`, `python script` or `python -c code`, with these words."""
        assert self.process.stdin is not None
        out, err = (Path(tempfile.mkstemp(dir=environment.get("TMPDIR"))[1]) for _ in range(2))
        job = {"words": words, "environment": environment, "folder": str(folder), "module": module, "script": script,
               "code": code, "out": str(out), "err": str(err)}
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        return Running(self, self._answer()["pid"], words, out, err)

    def run(self, words: list[str], environment: dict[str, str], folder: Path, *, module: str = "", script: str = "",
            code: str = "") -> subprocess.CompletedProcess:
        """The same, and wait for its end."""
        return self.start(words, environment, folder, module=module, script=script, code=code).wait()

    def _answer(self) -> dict[str, int]:
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())


class Running:
    """A child that was started; ask for its end before the next is started."""

    def __init__(self, forker: Forker, pid: int, words: list[str], out: Path, err: Path) -> None:
        self.forker, self.pid, self.words, self.out, self.err = forker, pid, words, out, err

    def wait(self) -> subprocess.CompletedProcess:
        """Its exit code and what it said."""
        code = self.forker._answer()["returncode"]
        said = [one.read_text(errors="replace") for one in (self.out, self.err)]
        for one in (self.out, self.err):
            one.unlink()
        return subprocess.CompletedProcess(self.words, code, *said)


def serve() -> None:
    """The forking process: one child at a time."""
    for name in sys.argv[1:]:
        importlib.import_module(name)
    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        job = json.loads(line)
        pid = os.fork()
        if pid == 0:
            become(job)
        print(json.dumps({"pid": pid}), file=answers, flush=True)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        print(json.dumps({"returncode": code}), file=answers, flush=True)


def become(job: dict) -> None:
    """In the child: be the process that was asked for. Never returns."""
    os.setsid()
    for number, name in enumerate((os.devnull, job["out"], job["err"])):
        opened = os.open(name, os.O_RDWR)
        os.dup2(opened, number)
        os.close(opened)
    for stream, name in ((1, "stdout"), (2, "stderr")):
        setattr(sys, name, os.fdopen(stream, "w", buffering=1, closefd=False))
    sys.stdin = os.fdopen(0, closefd=False)
    os.environ.clear()
    os.environ.update(job["environment"])
    os.chdir(job["folder"])
    tempfile.tempdir = None
    code = run_job(job)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def run_job(job: dict) -> int:
    """The exit code that Python would end with."""
    sys.argv = [job["module"] or job["script"] or "-c", *job["words"]]
    try:
        if job["module"]:
            runpy.run_module(job["module"], run_name="__main__", alter_sys=True)
        elif job["script"]:
            sys.path.insert(0, str(Path(job["script"]).parent))
            runpy.run_path(job["script"], run_name="__main__")
        else:
            exec(compile(job["code"], "-c", "exec"), {"__name__": "__main__"})
    except SystemExit as end:
        if isinstance(end.code, int) or end.code is None:
            return end.code or 0
        print(end.code, file=sys.stderr)
        return 1
    except BaseException:
        sys.excepthook(*sys.exc_info())
        return 1
    return 0


if __name__ == "__main__":
    serve()
