"""Runs a packed kernel again and again: torch is imported once, each run is a forked process of its own.

Started as `python -I fork_server.py SCRIPT`. Each line of its input is a request in JSON: `{"argv", "log",
"environment", "fault"}` starts a run and answers with its process id; `{"wait": pid}` answers with its exit code, below
0 the signal that ended it.
"""

from __future__ import annotations

import ctypes
import errno
import importlib.util
import json
import os
import shutil
import sys
import time
import types


def load(script: str) -> types.ModuleType:
    """The script as a module, without running its main."""
    module = types.ModuleType("packed_kernel")
    module.__file__ = script
    sys.modules[module.__name__] = module
    with open(script, encoding="utf-8") as file:
        exec(compile(file.read(), script, "exec"), module.__dict__)
    return module


def full_after(allowed: int) -> None:
    """From the so-many-th byte on the disk is full: for every way in which the kernel writes."""
    left = [allowed]
    real_pwrite, real_allocate = os.pwrite, os.posix_fallocate

    def take(size: int) -> None:
        if size > left[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        left[0] -= size

    def pwrite(descriptor: int, data: bytes | memoryview, place: int) -> int:
        take(memoryview(data).nbytes)
        return real_pwrite(descriptor, data, place)

    def allocate(descriptor: int, start: int, size: int) -> None:
        take(size)
        real_allocate(descriptor, start, size)

    os.pwrite, os.posix_fallocate = pwrite, allocate  # type: ignore[assignment]


def small_disk(folder: str, size: int) -> None:
    """From now on `folder` is a disk of so many bytes, for this process only. Raises OSError where that is not
    allowed."""
    path = os.path.join(os.path.dirname(__file__), "../../packer/rehearse/sandbox.py")
    assert os.path.isfile(path)  # a file that is not there is no reason to skip
    place = importlib.util.spec_from_file_location("sandbox", path)
    assert place is not None and place.loader is not None
    sandbox = importlib.util.module_from_spec(place)
    place.loader.exec_module(sandbox)
    sandbox.leave_namespaces()
    os.makedirs(folder, exist_ok=True)
    data = f"size={size}".encode()
    sandbox.system_call("mount", b"small", folder.encode(), b"tmpfs", ctypes.c_ulong(0), data)


def hang_at_batch(kernel: types.ModuleType, number: int) -> None:
    """The so-many-th batch of a process never ends; once only. What waits is told to wait a few seconds only."""
    real = kernel.Forward._batch
    seen = [0]
    once = f"hung.{os.getpid()}"
    kernel.FIRST_SECONDS = kernel.HANG_SECONDS = 3.0
    kernel.HANG_FACTOR, kernel.UNKNOWN_SHARE = 1.0, 0.0

    def batch(self: object, pixels: object, *rest: object) -> object:
        seen[0] += 1
        if seen[0] == number and not os.path.exists(once):
            open(once, "w").close()
            time.sleep(3600)
        return real(self, pixels, *rest)

    kernel.Forward._batch = batch


def slow_batches(kernel: types.ModuleType, seconds: float) -> None:
    """Every batch takes so much longer."""
    real = kernel.Forward._batch

    def batch(self: object, pixels: object, *rest: object) -> object:
        time.sleep(seconds)
        return real(self, pixels, *rest)

    kernel.Forward._batch = batch


def out_of_memory(kernel: types.ModuleType, most: int) -> None:
    """More than `most` images do not go through a network at a time."""
    real = kernel.Forward._batch

    def batch(self: object, pixels: list, *rest: object) -> object:
        if len(pixels) > most:
            raise RuntimeError("CUDA out of memory. Tried to allocate 20.00 GiB (made up)")
        return real(self, pixels, *rest)

    kernel.Forward._batch = batch


def error_in_unit(kernel: types.ModuleType, number: int) -> None:
    """Every batch of one unit raises what nobody foresaw."""
    real = kernel.StagePredictor.predict

    def predict(self: object, unit: int, *rest: object) -> object:
        if unit == number:
            raise RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED (made up)")
        return real(self, unit, *rest)

    kernel.StagePredictor.predict = predict


def run(kernel: types.ModuleType, request: dict) -> int:
    """In the child: one run of the kernel, whose workers are forked. Returns its exit code."""
    kernel.START_METHOD = "fork"  # type: ignore[attr-defined]
    kernel.SHARD_BATCHES = 1  # type: ignore[attr-defined]  # three shards a unit: a kill finds halves
    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.environ.update(request.get("environment", {}))
    fault = request.get("fault") or ["", 0]
    if fault[0] == "full":
        full_after(fault[1])
    elif fault[0] == "disk":
        folder = request["argv"][request["argv"].index("--output") + 1]
        try:
            small_disk(folder, fault[1])
        except OSError as failure:
            print(f"no small disk: {failure}", flush=True)
            return 77
        code = run(kernel, {**request, "fault": None})
        shutil.copytree(folder, f"{folder}.kept")
        return code
    elif fault[0]:
        faults = {"hang": hang_at_batch, "slow": slow_batches, "memory": out_of_memory, "error": error_in_unit}
        faults[fault[0]](kernel, fault[1])
    sys.argv = [str(kernel.__file__), *request["argv"]]
    try:
        return kernel.main(kernel.SPEC, kernel.KEYS)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        return 1
    finally:
        sys.stdout.flush()


def main() -> None:
    """Answer requests until the input ends."""
    kernel = load(sys.argv[1])
    print("ready", flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request:
            status = os.waitpid(request["wait"], 0)[1]
            print(-os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status), flush=True)
            continue
        child = os.fork()
        if child == 0:
            os.setsid()
            os._exit(run(kernel, request))
        print(child, flush=True)


if __name__ == "__main__":
    main()
