"""Run a script as Kaggle's kernel process would see the world: no network, no project on the path, Kaggle's folders.

Started as `python -I sandbox.py [--kaggle ROOT INPUT OUTPUT] BLOCKED SCRIPT [ARG ...]`; imports nothing of foldpack.
BLOCKED is a comma-separated list of packages that must not be importable. With `--kaggle` the script finds INPUT,
read-only, at /kaggle/input and OUTPUT at /kaggle/working, where it starts; ROOT is an empty folder that carries this
view. Where the system does not allow such a view (no Linux, no namespaces), the variables FOLDPACK_REHEARSAL_INPUT and
FOLDPACK_REHEARSAL_OUTPUT say where the folders are, and our kernels look there.
"""

from __future__ import annotations

import ctypes
import os
import runpy
import socket
import sys

INPUT_VARIABLE = "FOLDPACK_REHEARSAL_INPUT"
OUTPUT_VARIABLE = "FOLDPACK_REHEARSAL_OUTPUT"
REFUSED = "refused"  # a file in ROOT: the system did not allow the view

# From <sched.h> and <sys/mount.h> of Linux; Python names them only from 3.12 on, or not at all.
NEW_MOUNTS, NEW_USER, NEW_NETWORK = 0x00020000, 0x10000000, 0x40000000
READ_ONLY, REMOUNT, BIND, RECURSIVE, UNBINDABLE, PRIVATE = 1, 32, 4096, 16384, 1 << 17, 1 << 18


class ImportBlocker:
    """A finder that says no to the project's own packages, installed or not."""

    def __init__(self, names: list[str]) -> None:
        self.names = names

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        """Raises ImportError for a blocked package; leaves everything else to the other finders."""
        if name.partition(".")[0] in self.names:
            raise ImportError(f"the packed script must not import '{name}': it is not there on Kaggle")


def refuse_network(event: str, args: tuple) -> None:
    """Audit hook: every socket but a local one (worker processes talk through those) raises, whoever asks for it."""
    if event in ("socket.connect", "socket.getaddrinfo") and not is_local(args[0]):
        raise OSError(f"no network in the rehearsal ({event})")
    if event == "socket.__new__" and args[1] != socket.AF_UNIX:
        raise OSError(f"no network in the rehearsal ({event})")


def is_local(opened: object) -> bool:
    """Whether this is a socket of this machine's own file system."""
    return getattr(opened, "family", None) == socket.AF_UNIX


def system_call(name: str, *arguments: object) -> None:
    """Call a function of the C library. Raises OSError with the system's own words."""
    call = getattr(ctypes.CDLL(None, use_errno=True), name)
    if call(*arguments) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")


def mount(source: str, target: str, kind: str, flags: int) -> None:
    """mount(2)."""
    system_call("mount", source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), None)


def leave_namespaces() -> None:
    """Mounts and network of our own; as a user of our own where we are not the administrator."""
    try:
        system_call("unshare", NEW_MOUNTS | NEW_NETWORK)
    except OSError:
        user, group = os.getuid(), os.getgid()
        system_call("unshare", NEW_USER | NEW_MOUNTS | NEW_NETWORK)
        for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
            with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
                file.write(text)
    mount("none", "/", "", RECURSIVE | PRIVATE)  # nothing of what follows is seen outside


def see_kaggle(root: str, inputs: str, output: str) -> None:
    """Make `root` a view of this machine in which /kaggle/input and /kaggle/working are ours, and stay in it.

    Raises OSError where the system does not allow it.
    """
    leave_namespaces()
    mount("kaggle", root, "tmpfs", 0)
    mount("none", root, "", UNBINDABLE)
    for entry in sorted(os.scandir("/"), key=lambda each: each.name):
        target = f"{root}/{entry.name}"
        if entry.is_symlink():
            os.symlink(os.readlink(entry.path), target)
        elif entry.name != "kaggle" and entry.is_dir():
            os.mkdir(target)
            mount(entry.path, target, "", BIND | RECURSIVE)
    for source, name in ((inputs, "input"), (output, "working")):
        os.makedirs(f"{root}/kaggle/{name}")
        mount(source, f"{root}/kaggle/{name}", "", BIND)
    kept = os.statvfs(inputs).f_flag & (os.ST_NOSUID | os.ST_NODEV | os.ST_NOEXEC | os.ST_NOATIME | os.ST_RELATIME)
    mount("none", f"{root}/kaggle/input", "", BIND | REMOUNT | READ_ONLY | mount_flags(kept))
    os.chroot(root)
    os.chdir("/kaggle/working")


def mount_flags(kept: int) -> int:
    """Flags as statvfs(3) tells them -> as mount(2) takes them; without them a user's remount is refused."""
    named = {os.ST_NOSUID: 2, os.ST_NODEV: 4, os.ST_NOEXEC: 8, os.ST_NOATIME: 1024, os.ST_RELATIME: 1 << 21}
    return sum(flag for told, flag in named.items() if kept & told)


def enter(root: str, inputs: str, output: str) -> None:
    """Kaggle's folders, or the two variables that stand for them. Nothing is half done: a child tries it first."""
    child = os.fork()
    if child == 0:
        try:
            see_kaggle(root, inputs, output)
        except OSError:
            os._exit(1)
        os._exit(0)
    if os.waitpid(child, 0)[1] == 0:
        see_kaggle(root, inputs, output)
    else:
        open(f"{root}/{REFUSED}", "w").close()  # for those who started us
        os.environ[INPUT_VARIABLE], os.environ[OUTPUT_VARIABLE] = inputs, output
        os.chdir(output)


def main() -> None:
    """Take the arguments apart, close the doors, run the script as __main__."""
    arguments = sys.argv[1:]
    if arguments[0] == "--kaggle":
        enter(*arguments[1:4])
        arguments = arguments[4:]
    blocked, sys.argv = arguments[0].split(","), arguments[1:]
    sys.meta_path.insert(0, ImportBlocker(blocked))
    sys.addaudithook(refuse_network)
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
