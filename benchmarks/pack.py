"""The packer against stickytape, cribo and a plain gzip+base64 packer, on the same entry and on the packer's own cases.

    python benchmarks/pack.py [--entry kernels/kernel.py] [--package foldpack] [--pairs 15] [--cases 0]

Printed are, for each packer: time of the packing function and of the whole command as a ratio to ours (medians of pairs
that run in turn, by the clock and by CPU time; above 1 is slower than ours), peak memory, size, how many source lines
stand in the script as lines of code, and how many of the cases in tests/packer/cases still do what the package does.
Peers that are not installed (`make bench-setup`) are named and left out.
"""

from __future__ import annotations

import argparse
import ast
import base64
import gzip
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from peers import find_peer, say_missing

from foldpack.files import write_atomic
from foldpack.settings.strict_yaml import dump_strict
from packer.build.pack import pack_entry
from packer.errors import Violation
from packer.flatten.graph import Layout, read_graph
from packer.flatten.source import read_module

PROJECT = Path(__file__).resolve().parents[1]
CASES = PROJECT / "tests" / "packer" / "cases"
SPEC: dict[str, object] = {"name": "bench"}  # for an entry whose main takes one
GUARD = 'if __name__ == "__main__":'
FUTURE = "from __future__ import annotations\n"
PAYLOAD = 1000  # a string of more characters, or over more lines than the next, holds files, not text to read
PAYLOAD_LINES = 40
SECONDS = 30  # a case that runs longer counts as lost


@dataclass(frozen=True)
class Packer:
    """One packer: its command for (entry, src, package, out), and its function where this process can call it."""

    name: str
    command: Callable[[Path, Path, str, Path], list[str]]
    function: Callable[[Path, Path, str], object] | None = None


@dataclass(frozen=True)
class Cost:
    """What one run cost: seconds by the clock and of CPU; peak memory in MiB (0 when not measured)."""

    clock: float
    cpu: float
    memory: float = 0.0


def ours_command(entry: Path, src: Path, package: str, out: Path) -> list[str]:
    spec = entry.with_suffix(".yml")
    options = ["--src", str(src), "--package", package, "--out", str(out)]
    return [sys.executable, "-m", "packer", str(entry), *options, *(["--spec", str(spec)] if spec.exists() else [])]


def stickytape_command(entry: Path, src: Path, package: str, out: Path) -> list[str]:
    code = "from stickytape.main import main; main()"
    return [sys.executable, "-c", code, str(entry), "--add-python-path", str(src), "--output-file", str(out)]


def cribo_command(entry: Path, src: Path, package: str, out: Path) -> list[str]:
    return [str(find_cribo()), "--entry", str(entry), "--output", str(out)]


def plain_command(entry: Path, src: Path, package: str, out: Path) -> list[str]:
    return [sys.executable, __file__, "--plain", str(entry), str(src), package, str(out)]


def find_cribo() -> str | None:
    return shutil.which("cribo", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")


def plain_pack(entry: Path, src: Path, package: str) -> str:
    """Every file of the package, gzipped and in base64, unpacked into a temporary folder and run from there."""
    files = {path.relative_to(src).as_posix(): path.read_bytes() for path in sorted((src / package).rglob("*.py"))}
    files["__entry__.py"] = entry.read_bytes()
    packed = {name: base64.b64encode(gzip.compress(data, mtime=0)).decode() for name, data in files.items()}
    return (
        "import base64, gzip, os, subprocess, sys, tempfile\n"
        f"FILES = {packed!r}\n"
        "with tempfile.TemporaryDirectory() as folder:\n"
        "    for name, data in FILES.items():\n"
        "        path = os.path.join(folder, name)\n"
        "        os.makedirs(os.path.dirname(path), exist_ok=True)\n"
        "        open(path, 'wb').write(gzip.decompress(base64.b64decode(data)))\n"
        "    code = subprocess.call([sys.executable, os.path.join(folder, '__entry__.py'), *sys.argv[1:]])\n"
        "raise SystemExit(code)\n"
    )


def known_packers() -> list[Packer]:
    """Ours first; missing peers are named on stderr."""
    packers = [Packer("packer", ours_command, lambda entry, src, package: pack_entry(entry, src, package, spec=SPEC))]
    stickytape = find_peer("stickytape", "its row")
    if stickytape is not None:
        packers.append(Packer("stickytape", stickytape_command, lambda entry, src, package: stickytape.script(
            str(entry), add_python_paths=[str(src)])))
    if find_cribo():
        packers.append(Packer("cribo", cribo_command))
    else:
        say_missing("cribo is not installed here", "its row")
    packers.append(Packer("gzip+base64", plain_command, plain_pack))
    return packers


def call_cost(job: Callable[[], object]) -> Cost:
    clock, cpu = time.perf_counter(), time.process_time()
    job()
    return Cost(time.perf_counter() - clock, time.process_time() - cpu)


def command_cost(command: list[str], environment: dict[str, str], folder: Path) -> Cost:
    """Run a command and ask the system what it used. Raises CalledProcessError."""
    clock = time.perf_counter()
    with open(folder / "said.txt", "wb") as said:
        process = subprocess.Popen(command, stdout=said, stderr=said, env=environment, cwd=folder)
        _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command, (folder / "said.txt").read_bytes())
    return Cost(time.perf_counter() - clock, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def ratio_text(ours: list[Cost], theirs: list[Cost]) -> str:
    """Their time over ours: the median of the pairs, by clock and CPU."""
    clock = statistics.median(their.clock / our.clock for our, their in zip(ours, theirs, strict=True))
    cpu = statistics.median(their.cpu / our.cpu for our, their in zip(ours, theirs, strict=True))
    return f"{clock:5.2f} (CPU {cpu:5.2f})"


def runnable_entry(entry: Path, folder: Path, call: str = "main()") -> Path:
    """The entry with a call of main as its end: what other packers need, and ours replaces."""
    folder.mkdir(parents=True, exist_ok=True)
    module = read_module(entry, entry.name, "")
    if isinstance(module, Violation):
        raise SystemExit(str(module))
    guards = [statement for statement in module.statements if statement.kind == "guard"]
    kept = module.lines[: guards[0].start - 1] if guards else module.lines
    text = "\n".join(kept).rstrip("\n") + f"\n\n\n{GUARD}\n    raise SystemExit({call})\n"
    made = folder / entry.name
    made.write_text(text, encoding="utf-8")
    return made


def bench_environment(src: Path, caches: Path) -> dict[str, str]:
    """Compiled modules are cached, as in daily use; cribo finds the package by PYTHONPATH."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    path = os.pathsep.join([str(src), str(PROJECT), str(PROJECT / "src"), kept.get("PYTHONPATH", "")])
    return {**kept, "PYTHONPATH": path.rstrip(os.pathsep), "PYTHONPYCACHEPREFIX": str(caches)}


def readable_lines(script: str, sources: list[str]) -> tuple[int, int]:
    """(source lines that stand in the script as lines of code, source lines in all); blank lines do not count."""
    inside: set[int] = set()
    for node in ast.walk(ast.parse(script)):
        if isinstance(node, ast.Constant) and isinstance(node.value, (str, bytes)):
            end = node.end_lineno or node.lineno
            if len(node.value) > PAYLOAD or end - node.lineno > PAYLOAD_LINES:
                inside.update(range(node.lineno, end + 1))
    shown: dict[str, int] = {}
    for number, line in enumerate(script.split("\n"), 1):
        if number not in inside:
            shown[line.strip()] = shown.get(line.strip(), 0) + 1
    wanted = [line.strip() for source in sources for line in source.split("\n") if line.strip()]
    found = 0
    for line in wanted:
        if shown.get(line):
            shown[line] -= 1
            found += 1
    return found, len(wanted)


def measure(
    packers: list[Packer], entry: Path, options: argparse.Namespace, folder: Path
) -> dict[str, list[list[Cost]]]:
    """For each packer its calls and its commands, run in turn; the first round warms the caches and does not count."""
    environment = bench_environment(options.src.resolve(), folder / "caches")
    costs: dict[str, list[list[Cost]]] = {each.name: [[], []] for each in packers}
    for pair in range(options.pairs + 1):
        for each in packers if pair % 2 else reversed(packers):
            out = folder / f"script_of_{each.name}.py"  # not packer.py, which `-m packer` would run
            command = each.command(entry, options.src.resolve(), options.package, out)
            found = [command_cost(command, environment, folder)]
            if each.function is not None:
                job = each.function
                found.insert(0, call_cost(lambda: job(entry, options.src, options.package)))  # noqa: B023
            for kept, cost in zip(costs[each.name][-len(found) :], found, strict=True):
                kept += [cost] if pair else []
    return costs


def bench_entry(options: argparse.Namespace, packers: list[Packer], folder: Path) -> None:
    """Time, memory, size and readable lines on one entry."""
    entry = runnable_entry(options.entry, folder / "kernels", f"main({SPEC}, {{}})")
    write_atomic(entry.with_suffix(".yml"), dump_strict(SPEC))
    costs = measure(packers, entry, options, folder)
    sources = [module.text for module in read_graph(Layout(options.src, options.package, entry)).modules]
    print(f"\n{options.entry.name}: {len(sources)} files, {sum(map(len, sources))} characters; times: ours is 1\n")
    print(f"{'':12} {'function':>18} {'command':>18} {'MiB':>4} {'bytes':>7} {'lines':>6}  source lines shown")
    calls, commands = costs[packers[0].name]
    for each in packers:
        text = (folder / f"script_of_{each.name}.py").read_text(encoding="utf-8")
        found, total = readable_lines(text, sources)
        function = ratio_text(calls, costs[each.name][0]) if each.function else "-"
        command = ratio_text(commands, costs[each.name][1])
        memory = statistics.median(cost.memory for cost in costs[each.name][1])
        size, lines = len(text.encode()), text.count("\n")
        print(f"{each.name:12} {function:>18} {command:>18} {memory:4.0f} {size:7} {lines:6}  {found} of {total}")
    clock, cpu = (statistics.median(getattr(cost, unit) for cost in calls) * 1000 for unit in ("clock", "cpu"))
    print(f"\nour function: {clock:.0f} ms by the clock, {cpu:.0f} ms of CPU (medians)")


def run_case(command: list[str], folder: Path, environment: dict[str, str]) -> tuple[int, str]:
    """Exit code and output of a case; its workers end with it."""
    process = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                               text=True, start_new_session=True)
    try:
        out, _ = process.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        out = "(no end)"
    try:
        os.killpg(process.pid, 9)
    except ProcessLookupError:
        pass
    return process.wait(), out


def copy_case(name: str, project: Path) -> Path:
    """A copy of a case with its package files; returns an entry that runs by itself."""
    shutil.copytree(CASES / name, project)
    for inner in {path.parent for path in (project / "src").rglob("*.py")}:
        while inner != project / "src":
            (inner / "__init__.py").touch()
            inner = inner.parent
    (project / "empty").mkdir()
    return runnable_entry(project / "kernels" / "go.py", project / "entry")


def bench_cases(packers: list[Packer], folder: Path, limit: int) -> None:
    """How many cases do packed what they do unpacked."""
    names = sorted(path.name for path in CASES.iterdir() if path.is_dir() and not (path / "refused.txt").exists())
    names = names[:limit] if limit else names
    lost: dict[str, list[str]] = {each.name: [] for each in packers}
    for name in names:
        project = folder / "cases" / name
        entry = copy_case(name, project)
        environment = bench_environment(project / "src", folder / "caches")
        expected = run_case([sys.executable, str(entry)], project / "empty", environment)
        plain = runnable_entry(project / "kernels" / "go.py", project / "without_future")
        plain.write_text(plain.read_text(encoding="utf-8").replace(FUTURE, "", 1), encoding="utf-8")
        for each in packers:
            out = project / f"script_of_{each.name}.py"
            given = plain if each.name == "stickytape" else entry  # it indents the entry, where this line is an error
            code, _ = run_case(each.command(given, project / "src", "toy", out), project, environment)
            if code or run_case([sys.executable, "-I", str(out)], project / "empty", environment) != expected:
                lost[each.name].append(name)
    print(f"\n{len(names)} cases of tests/packer/cases, packed and run with `python -I`")
    print("(stickytape gets the entry without its `__future__` import, which it cannot take):\n")
    for each in packers:
        missing = f"; lost: {', '.join(lost[each.name])}" if lost[each.name] else ""
        print(f"{each.name:12} {len(names) - len(lost[each.name])} of {len(names)}{missing}")


def main() -> int:
    if sys.argv[1:2] == ["--plain"]:
        entry, src, package, out = sys.argv[2:]
        Path(out).write_text(plain_pack(Path(entry), Path(src), package), encoding="utf-8")
        return 0
    parser = argparse.ArgumentParser(description="Compare the packer with stickytape, cribo and gzip+base64.")
    parser.add_argument("--entry", type=Path, default=PROJECT / "kernels" / "kernel.py", help="what to pack")
    parser.add_argument("--src", type=Path, default=PROJECT / "src", help="folder of the package")
    parser.add_argument("--package", default="foldpack", help="the package in it")
    parser.add_argument("--pairs", type=int, default=15, help="rounds of every packer in turn")
    parser.add_argument("--cases", type=int, default=0, help="run so many cases only (0: all)")
    options = parser.parse_args()
    packers = known_packers()
    print(f"Python {platform.python_version()}, {os.cpu_count()} CPU cores")
    with tempfile.TemporaryDirectory() as folder:
        bench_entry(options, packers, Path(folder))
        bench_cases(packers, Path(folder), options.cases)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
